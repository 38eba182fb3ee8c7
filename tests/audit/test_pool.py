"""The parent's side of workers: real processes, which speak as a worker does and train nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from polyrank.audit.jobs import Job
from polyrank.audit.pool import Pool, Watch
from polyrank.errors import PolyrankError
from tests.audit.bench import job, run_config, twin

SPEAK = """
import json, os, signal, sys, time
setup = json.loads(sys.stdin.readline())
def say(kind, **more):
    print(json.dumps({"kind": kind, **more}), flush=True)
"""
OBEDIENT = """
say("ready")
for line in sys.stdin:
    asked = json.loads(line)
    say("step", step=1, of=2)
    with open(os.path.join(setup["folder"], f"{asked['seed']}-{os.getpid()}"), "w"):
        pass
    if asked["seed"] == setup.get("dies at"):
        os.kill(os.getpid(), signal.SIGKILL)
    if asked["seed"] == setup.get("stops at") and len(os.listdir(setup["folder"])) < 3:
        say("stopped")
        break
    time.sleep(setup.get("seconds", 0))
    def beside():
        return len({name.split("-")[1] for name in os.listdir(setup["folder"])})
    while beside() < setup.get("beside", 0):
        time.sleep(0.01)
    say("done", status="done")
"""


class Told(Watch):
    """What a pool tells."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.ended: list[tuple[int, str]] = []
        self.steps = 0

    def begin(self, worker: int, job: Job) -> None:
        self.begun.append((worker, job.seed))

    def step(self, worker: int, step: int, of: int) -> None:
        self.steps += 1

    def end(self, worker: int, job: Job, status: str) -> None:
        self.ended.append((job.seed, status))


def pool(folder: Path, told: Watch | None = None, workers: int = 1, **setup: Any) -> Pool:
    return Pool(
        {"folder": str(folder), **setup},
        workers,
        1,
        lambda asked: {"kind": "run", "seed": asked.seed},
        told,
        SPEAK + OBEDIENT,
    )


def jobs(count: int) -> list[Job]:
    config = run_config()
    return [job(config, twin("like"), seed) for seed in range(count)]


def forbidden(job: Job, how: str) -> None:
    raise AssertionError(how)


def test_runs_are_taken_in_order_by_as_many_processes_as_there_may_be(tmp_path: Path) -> None:
    told = Told()
    assert pool(tmp_path, told, workers=2, beside=2).run(jobs(5), forbidden)
    assert [seed for _, seed in told.begun] == [0, 1, 2, 3, 4]
    assert {worker for worker, _ in told.begun} == {0, 1}
    assert sorted(told.ended) == [(seed, "done") for seed in range(5)]
    assert told.steps == 5
    assert len({path.name.split("-")[1] for path in tmp_path.iterdir()}) == 2
    assert pool(tmp_path).run([], forbidden)


def test_a_process_that_dies_takes_one_run_with_it(tmp_path: Path) -> None:
    told, lost = Told(), []
    done = pool(tmp_path, told, **{"dies at": 1}).run(
        jobs(3), lambda job, how: lost.append((job.seed, how))
    )
    assert done
    assert told.ended == [(0, "done"), (1, "died"), (2, "done")]
    ((seed, how),) = lost
    assert (seed, "killed by SIGKILL" in how) == (1, True)


def test_a_run_that_somebody_else_stopped_is_taken_up_by_the_next_process(tmp_path: Path) -> None:
    told = Told()
    assert pool(tmp_path, told, **{"stops at": 1}).run(jobs(3), forbidden)
    assert [seed for _, seed in told.begun] == [0, 1, 1, 2]
    assert told.ended == [(0, "done"), (1, "done"), (2, "done")]


def test_a_signal_ends_all_processes(tmp_path: Path) -> None:
    slow = pool(tmp_path, workers=2, seconds=60)

    def interrupt() -> None:
        while len([*tmp_path.iterdir()]) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    began = time.monotonic()
    assert not slow.run(jobs(4), forbidden)
    assert time.monotonic() - began < 30
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.split("-")[1]), 0)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("sys.exit(3)", "could not begin.*exit code 3"),
        ("say('refused', message='the cache is gone')", "the cache is gone"),
    ],
)
def test_a_worker_that_cannot_begin_ends_the_audit(tmp_path: Path, program: str, told: str) -> None:
    broken = pool(tmp_path)
    broken._program = SPEAK + program
    with pytest.raises(PolyrankError, match=told):
        broken.run(jobs(2), forbidden)


def test_a_worker_that_measures_is_asked_once(tmp_path: Path) -> None:
    program = """
say("ready")
asked = json.loads(sys.stdin.readline())
if asked["kind"] == "measure":
    say("measured", step_seconds=0.5, row_seconds=0.1, peak_bytes=7)
sys.stdin.readline()
"""
    measuring = pool(tmp_path)
    measuring._program = SPEAK + program
    assert measuring.measure({"kind": "measure"}).step_seconds == 0.5
    broken = pool(tmp_path)
    broken._program = SPEAK + "sys.exit(1)"
    with pytest.raises(PolyrankError, match="nothing could be measured: .*exit code 1"):
        broken.measure({"kind": "measure"})
