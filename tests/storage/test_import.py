"""The room is cheap to enter."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.child import ROOT

PROGRAM = """
import json, sys, time
start = time.process_time()
import polyrank.storage
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""


def test_it_imports_in_50_ms_and_without_numpy(tmp_path: Path) -> None:
    """The best of six, compiled by the first: processor time on a machine with other work."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", PROGRAM], capture_output=True, check=True, env=environment
            ).stdout
        )
        for _ in range(6)
    ]
    modules = set(runs[0][1])
    assert not modules & {"numpy", "pyarrow", "torch", "safetensors", "ctypes", "pickle", "shutil"}
    assert min(seconds for seconds, _ in runs) < 0.05


@pytest.mark.parametrize("module", ["", ".jsonio", ".arrays", ".tables", ".lock"])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    found = importlib.import_module(f"polyrank.storage{module}")
    result = doctest.testmod(found, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
