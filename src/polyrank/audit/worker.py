"""A process that trains one run after another, as its parent tells it.

Lines of JSON come in on standard input and go out on what was standard output; what libraries print
goes to standard error. The end of the input is the end of the parent: the process ends at once,
wherever it is, which a checkpoint and a committed result both survive.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from polyrank.audit.cost import RunCost, measure_cost
from polyrank.audit.jobs import Bench, Job, part_of, result_of, run_job
from polyrank.audit.results import Result, Store
from polyrank.audit.variants import Variant
from polyrank.config import RunConfig
from polyrank.errors import InterruptedRun, PolyrankError, StorageError
from polyrank.schema import parse
from polyrank.training import Observer, Record, RunPlan, reopen
from polyrank.training.malloc import tune_allocator
from polyrank.training.validation import Truth

PROGRESS_SECONDS = 0.2
"""Between two messages of how far a run is."""

Say = Callable[[dict[str, Any]], None]


def main() -> None:
    """The process."""
    began = time.monotonic()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message).encode() + b"\n")

    tune_allocator()
    setup = inbox.get()
    try:
        bench, folder = _open(setup)
    except PolyrankError as error:
        say({"kind": "refused", "message": str(error)})
        return
    say({"kind": "ready", "seconds": time.monotonic() - began})
    while True:
        message = inbox.get()
        try:
            _do(message, bench, folder, say)
        except InterruptedRun:
            say({"kind": "stopped"})
            return
        except StorageError as error:
            say({"kind": "refused", "message": str(error)})
            return


def _listen(inbox: queue.Queue[dict[str, Any]]) -> None:
    """Not through ``sys.stdin``, which could not be closed while a thread reads it."""
    rest = b""
    while chunk := os.read(0, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            inbox.put(json.loads(line))
    os._exit(1)


def setup_message(config: RunConfig, bench: Bench, folder: Path, cache: Path) -> dict[str, Any]:
    """The first line that a process gets."""
    return {
        "config": config.tree(),
        "cache": str(cache),
        "folder": str(folder),
        "part": bench.part,
        "metrics": dict(bench.metrics),
        "data": bench.prepared.fingerprint,
    }


def job_message(job: Job, work: Path) -> dict[str, Any]:
    """The line that asks for a run."""
    variant = job.variant
    return {
        "kind": "run",
        "variant": {"kind": variant.kind, "tasks": list(variant.tasks), "name": variant.name},
        "seed": job.seed,
        "config": job.config.tree(),
        "looked_at": job.looked_at,
        "look_every": job.look_every,
        "work": str(work),
    }


def cost_message(config: RunConfig) -> dict[str, Any]:
    """The line that asks for how long runs take."""
    return {"kind": "measure", "config": config.tree()}


def _open(setup: dict[str, Any]) -> tuple[Bench, Path]:
    config = parse(RunConfig, setup["config"])
    prepared = reopen(config, Path(setup["cache"]))
    assert prepared.fingerprint == setup["data"], "the parent prepared another log"
    truth = Truth.of(part_of(prepared, setup["part"]), config.schema_)
    bench = Bench(prepared=prepared, part=setup["part"], metrics=setup["metrics"], truth=truth)
    return bench, Path(setup["folder"])


def _do(message: dict[str, Any], bench: Bench, folder: Path, say: Say) -> None:
    config = parse(RunConfig, message["config"])
    if message["kind"] == "measure":
        found: RunCost = measure_cost(config, bench, folder)
        say({"kind": "measured", **found.to_json()})
        return
    given = message["variant"]
    variant = Variant(kind=given["kind"], tasks=tuple(given["tasks"]), name=given["name"])
    job = Job(
        variant=variant,
        seed=message["seed"],
        config=config,
        looked_at=message["looked_at"],
        look_every=message["look_every"],
    )
    work = Path(message["work"])
    result = _result(job, bench, folder, work, say)
    with suppress(FileNotFoundError):
        shutil.rmtree(work)
    say({"kind": "done", "status": result.status})


def _result(job: Job, bench: Bench, folder: Path, work: Path, say: Say) -> Result:
    """Made and committed; a run that diverged leaves its reason."""
    store = Store(folder)
    try:
        result, predictions = run_job(job, bench, work, _Progress(say))
    except (InterruptedRun, StorageError):
        raise
    except PolyrankError as error:
        result = failure(job, bench, error.code, str(error))
        store.write(result)
    else:
        store.write(result, predictions)
    return result


def failure(job: Job, bench: Bench, code: str, reason: str) -> Result:
    """What a run leaves that came to nothing."""
    return result_of(job, bench, status="failed", code=code, reason=reason)


class _Progress(Observer):
    """Tells the parent how far a run is, not more often than it could be shown."""

    def __init__(self, say: Say) -> None:
        self._say, self._last, self._total = say, 0.0, 0

    def begin(self, plan: RunPlan) -> None:
        """The run starts, or goes on."""
        self._total = plan.total_steps
        self._tell(plan.start_step)

    def advance(self, step: int, rows: int) -> None:
        """A step was done."""
        del rows
        if time.monotonic() - self._last >= PROGRESS_SECONDS:
            self._tell(step)

    def record(self, record: Record) -> None:
        """The log of the run keeps them."""

    def close(self) -> None:
        """The result says so."""

    def _tell(self, step: int) -> None:
        self._last = time.monotonic()
        self._say({"kind": "step", "step": step, "of": self._total})


if __name__ == "__main__":
    main()
