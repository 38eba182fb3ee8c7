"""Killed at any moment, a run that resumes ends with the bits of one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash.server import ForkServer, result_of
from tests.training.runs import lines

KILLS = 40
TERMINATIONS = 20
GRACE_SECONDS = 30.0
INTERRUPTED = 75


@pytest.fixture(scope="module")
def whole(server: ForkServer) -> tuple[dict[str, Any], list[dict[str, Any]], float]:
    """The result and the log of a run that is left alone, and how long its loop takes."""
    run = server.folder / "first"
    assert server.wait(server.start(run, "never")) == 0, (run / "error.txt").read_text()
    run = server.folder / "whole"
    pid = started(server, run, "never")
    begun = time.monotonic()
    assert server.wait(pid) == 0
    seconds = time.monotonic() - begun
    assert result_of(run) == result_of(server.folder / "first")
    return result_of(run), lines(run), seconds


def started(server: ForkServer, run: Path, resume: str) -> int:
    """A trainer that is about to train."""
    (run / "ready").unlink(missing_ok=True)
    pid = server.start(run, resume)
    while not (run / "ready").exists():
        time.sleep(0.001)
    return pid


def finish(server: ForkServer, run: Path, whole: Any) -> None:
    """Resume, and compare with the run that was left alone."""
    status = server.wait(server.start(run, "auto"))
    assert status == 0, (run / "error.txt").read_text()
    result, log, _ = whole
    assert result_of(run) == result
    assert lines(run) == log


@pytest.mark.timeout(300)
def test_kill_at_any_moment(server: ForkServer, whole: Any) -> None:
    rng = random.Random(1)
    killed = 0
    number = 0
    while killed < KILLS:
        run = server.folder / f"kill-{number}"
        number += 1
        resume = "never"
        # Up to three kills in one run, the later ones while it resumes.
        for _ in range(rng.randint(1, 3)):
            pid = started(server, run, resume)
            time.sleep(rng.uniform(0, whole[2]))
            os.kill(pid, signal.SIGKILL)
            status = server.wait(pid)
            assert status in (-signal.SIGKILL, 0)
            killed += status == -signal.SIGKILL
            resume = "auto"
        finish(server, run, whole)


@pytest.mark.timeout(300)
def test_terminate_at_any_moment(server: ForkServer, whole: Any) -> None:
    rng = random.Random(2)
    stopped = number = 0
    while stopped < TERMINATIONS:
        run = server.folder / f"term-{number}"
        number += 1
        pid = started(server, run, "never")
        time.sleep(rng.uniform(0.1, 0.7) * whole[2])
        os.kill(pid, rng.choice([signal.SIGTERM, signal.SIGINT]))
        begun = time.monotonic()
        status = server.wait(pid)
        assert time.monotonic() - begun < GRACE_SECONDS
        # A signal before the handlers stand, or after the run, acts as it always does.
        assert status in (INTERRUPTED, 0, -signal.SIGTERM, 1)
        if status == INTERRUPTED:
            stopped += 1
            assert "stopped by SIG" in (run / "error.txt").read_text()
        finish(server, run, whole)


def test_a_second_signal_ends_the_run_at_once(server: ForkServer, whole: Any) -> None:
    run = server.folder / "twice"
    pid = started(server, run, "never")
    time.sleep(whole[2] / 4)
    os.kill(pid, signal.SIGSTOP)
    # Both are pending when the process goes on: the second comes before any step boundary.
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    assert server.wait(pid) == -signal.SIGTERM
    finish(server, run, whole)


def test_two_trainers_in_one_folder(server: ForkServer, whole: Any) -> None:
    run = server.folder / "both"
    first = started(server, run, "never")
    time.sleep(0.1)
    second = server.start(run, "auto")
    statuses = sorted([server.wait(first), server.wait(second)])
    assert statuses in ([0, 2], [0, 0])
    if statuses == [0, 2]:
        assert "another trainer holds" in (run / "error.txt").read_text()
    assert result_of(run) == whole[0]
