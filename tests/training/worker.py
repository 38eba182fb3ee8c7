"""One training process of a test: on its own, forked by the fork server, or under torchrun.

``torchrun ... tests/training/worker.py '{"run": FOLDER, "cache": FOLDER, "settings": {...}}'``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import torch

from polyrank.errors import PolyrankError
from polyrank.training import processes, train
from polyrank.training.checkpoint import arrays_of
from tests.training.runs import config, digest, open_prepared, prepared


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process shall do."""

    run: str
    """The run's folder; results and errors go beside its log."""
    cache: str
    """Of the encoded log; made, if it is missing."""
    settings: dict[str, Any] = field(default_factory=dict)
    resume: Any = "never"
    environment: dict[str, str] = field(default_factory=dict)
    patience: float | None = None
    """Seconds that a process waits for the others, instead of the default."""
    call: str = ""
    """``module:function``, called with ``arguments`` instead of training as above."""
    arguments: list[Any] = field(default_factory=list)

    @classmethod
    def parse(cls, line: str) -> Self:
        return cls(**json.loads(line))

    def dump(self) -> str:
        return json.dumps(vars(self))


def work(order: Order) -> int:
    """Train; the exit code."""
    rank = os.environ.get("RANK", "0")
    run = Path(order.run)
    run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if order.patience is not None:
        processes.COLLECTIVE_TIMEOUT = timedelta(seconds=order.patience)
    try:
        if order.call:
            module, _, name = order.call.partition(":")
            getattr(importlib.import_module(module), name)(*order.arguments)
        else:
            _train(order, run, rank)
    except PolyrankError as error:
        (run / f"error-{rank}.txt").write_text(f"{type(error).__name__}: {error}")
        return error.exit_code
    except BaseException:  # noqa: BLE001  # a child must never go on in its parent's place
        (run / f"error-{rank}.txt").write_text(traceback.format_exc())
        return 1
    return 0


def _train(order: Order, run: Path, rank: str) -> None:
    cache = Path(order.cache)
    log = open_prepared(cache) if cache.exists() else prepared(cache)
    (run / f"ready-{rank}").touch()
    result = train(config(**order.settings), log, run, resume=order.resume)
    told = {
        "digest": digest(result.model),
        "weights": {name: value.tolist() for name, value in arrays_of(result.model).items()},
        "counts": [result.steps, result.best_step, result.best_score, result.skipped_empty],
        "history": [[entry.step, entry.score, dict(entry.metrics)] for entry in result.history],
    }
    (run / f"result-{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    sys.exit(work(Order.parse(sys.argv[1])))
