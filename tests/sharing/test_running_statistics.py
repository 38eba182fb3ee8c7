"""The running statistics of batch norm through a whole run and its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyrank.training import train
from tests.training.runs import Recorder, config, digest, prepared

HOME: dict[str, Any] = {
    "kind": "home",
    "groups": {"reaction": ["click", "like"], "time": ["watch"]},
    "meta_widths": [16],
    "widths": [16],
}


class Stopped(Exception):
    """The end of a process, as a test sees it."""


class Bomb(Recorder):
    def advance(self, step: int, rows: int) -> None:
        super().advance(step, rows)
        if step == 14:
            raise Stopped


def test_a_run_resumes_and_loads_with_its_statistics(tmp_path: Path) -> None:
    run = config(model={"sharing": HOME}, checkpoint={"every": 4, "keep": 2}, select={"every": 7})
    log = prepared(tmp_path / "cache")
    whole = train(run, log, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, log, tmp_path / "cut", observer=Bomb())
    resumed = train(run, log, tmp_path / "cut", resume="strict")
    assert digest(resumed.model) == digest(whole.model)
    assert resumed.history == whole.history
    moved = [value for name, value in whole.model.named_buffers() if "running" in name]
    assert moved
    assert all(value.isfinite().all() and value.unique().numel() > 2 for value in moved)
    loaded = train(run, log, tmp_path / "whole", resume="strict")
    assert digest(loaded.model) == digest(whole.model)
