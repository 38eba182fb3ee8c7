"""Killed at any moment, a run that resumes ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.training.forkserver import ForkServer
from tests.training.runs import lines
from tests.training.worker import Order

NIGHTLY = pytest.mark.nightly
KILLS = [16, pytest.param(80, marks=NIGHTLY)]
TERMINATIONS = [8, pytest.param(40, marks=NIGHTLY)]
GRACE_SECONDS = 30.0
INTERRUPTED = 75
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "checkpoint": {"every": 3, "keep": 2},
    "select": {"every": 5, "patience": 0},
}


def result(run: Path) -> Any:
    return json.loads((run / "result-0.json").read_text())


@dataclass(frozen=True)
class Whole:
    """A run that was left alone."""

    result: Any
    log: list[dict[str, Any]]
    seconds: float


@pytest.fixture(scope="module")
def whole(server: ForkServer) -> Whole:
    run = server.folder / "whole"
    pid = server.start_ready(order(server, run))
    begun = time.monotonic()
    assert server.wait(pid) == 0, (run / "error-0.txt").read_text()
    return Whole(result(run), lines(run), time.monotonic() - begun)


def order(server: ForkServer, run: Path, resume: str = "never") -> Order:
    return server.order(run, settings=SETTINGS, resume=resume)


def finish(server: ForkServer, run: Path, whole: Whole) -> None:
    """Resume, and compare with the run that was left alone."""
    status = server.wait(server.start(order(server, run, "auto")))
    assert status == 0, (run / "error-0.txt").read_text()
    assert result(run) == whole.result
    assert lines(run) == whole.log


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", KILLS)
def test_kill_at_any_moment(server: ForkServer, whole: Whole, kills: int) -> None:
    rng = random.Random(kills)
    killed = number = 0
    while killed < kills:
        run = server.folder / f"kill-{kills}-{number}"
        number += 1
        resume = "never"
        # Up to three kills in one run, the later ones while it resumes.
        for _ in range(rng.randint(1, 3)):
            pid = server.start_ready(order(server, run, resume))
            time.sleep(rng.uniform(0, 0.9) * whole.seconds)
            os.kill(pid, signal.SIGKILL)
            status = server.wait(pid)
            assert status in (-signal.SIGKILL, 0)
            killed += status == -signal.SIGKILL
            resume = "auto"
        finish(server, run, whole)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("terminations", TERMINATIONS)
def test_terminate_at_any_moment(server: ForkServer, whole: Whole, terminations: int) -> None:
    rng = random.Random(terminations)
    stopped = number = 0
    while stopped < terminations:
        run = server.folder / f"term-{terminations}-{number}"
        number += 1
        pid = server.start_ready(order(server, run))
        time.sleep(rng.uniform(0.1, 0.7) * whole.seconds)
        os.kill(pid, rng.choice([signal.SIGTERM, signal.SIGINT]))
        begun = time.monotonic()
        status = server.wait(pid)
        assert time.monotonic() - begun < GRACE_SECONDS
        # A signal before the handlers stand, or after the run, acts as it always does.
        assert status in (INTERRUPTED, 0, -signal.SIGTERM, 1)
        if status == INTERRUPTED:
            stopped += 1
            assert "InterruptedRun: stopped by SIG" in (run / "error-0.txt").read_text()
        finish(server, run, whole)


def test_a_second_signal_ends_the_run_at_once(server: ForkServer, whole: Whole) -> None:
    run = server.folder / "twice"
    pid = server.start_ready(order(server, run))
    time.sleep(whole.seconds / 4)
    os.kill(pid, signal.SIGSTOP)
    # Both are pending when the process goes on: the second comes before any step boundary.
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    assert server.wait(pid) == -signal.SIGTERM
    finish(server, run, whole)


def test_two_trainers_in_one_folder(server: ForkServer, whole: Whole) -> None:
    run = server.folder / "both"
    first = server.start_ready(order(server, run))
    while not (run / "log.jsonl").exists():
        time.sleep(0.001)
    os.kill(first, signal.SIGSTOP)
    assert server.wait(server.start(order(server, run, "auto"))) == 2
    message = (run / "error-0.txt").read_text()
    assert f"another trainer holds this run directory: pid {first}" in message
    os.kill(first, signal.SIGCONT)
    assert server.wait(first) == 0
    assert result(run) == whole.result
