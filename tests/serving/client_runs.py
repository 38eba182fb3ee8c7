"""Runs the inference clients of other people, unmodified, against a server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".clients" / "bin" / "python"
CLIENTS = ("triton", "kserve", "open_inference")

Cases = list[dict[str, Any]]


def run_client(name: str, url: str, model: str, cases: Cases) -> dict[str, Any]:
    """What one of ``CLIENTS`` made of ``cases``: see ``clients/triton_client.py`` for both."""
    if not PYTHON.exists():
        pytest.skip("the clients are not installed: make clients")
    script = Path(__file__).parent / "clients" / f"{name}_client.py"
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", str(script), url, model],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        check=False,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_clients(url: str, model: str, cases: Mapping[str, Cases]) -> dict[str, dict[str, Any]]:
    """What each client made of its cases; they run side by side."""
    with ThreadPoolExecutor(len(cases)) as pool:
        running = {
            name: pool.submit(run_client, name, url, model, own) for name, own in cases.items()
        }
        return {name: future.result() for name, future in running.items()}
