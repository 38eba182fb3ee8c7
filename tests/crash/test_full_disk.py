"""A disk that fills up while a checkpoint is written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.forkserver import ForkServer
from tests.training.runs import lines

STORAGE = 6
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "checkpoint": {"every": 1, "keep": 3},
    "select": {"every": 5, "patience": 0},
}


def mount(*arguments: str) -> bool:
    command = shutil.which("mount")
    if command is None:
        return False
    return subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if not mount("-t", "tmpfs", "-o", "size=160k", "tmpfs", str(tmp_path)):
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_ends_the_run_and_loses_no_checkpoint(
    server: ForkServer, small_disk: Path
) -> None:
    whole, run = server.folder / "roomy", small_disk / "run"
    assert server.wait(server.start(server.order(whole, settings=SETTINGS))) == 0
    assert server.wait(server.start(server.order(run, settings=SETTINGS))) == STORAGE
    folder = run / "checkpoints"
    before = sorted(path.name for path in folder.iterdir())
    assert before
    assert all(name.startswith("step-") for name in before), "nothing half-written is left"
    # Still full: resuming fails the same way, and takes nothing away.
    resumed = server.order(run, settings=SETTINGS, resume="strict")
    assert server.wait(server.start(resumed)) == STORAGE
    assert sorted(path.name for path in folder.iterdir())[-1] >= before[-1]
    assert mount("-o", "remount,size=16m", str(small_disk))
    assert server.wait(server.start(resumed)) == 0
    results = [json.loads((path / "result-0.json").read_text()) for path in (run, whole)]
    assert results[0] == results[1]
    assert lines(run) == lines(whole)
