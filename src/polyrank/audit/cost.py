"""What runs cost: how long they will take, from a few steps on the real log; what scoring takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from polyrank.audit.jobs import Bench
from polyrank.audit.memory import peak_bytes
from polyrank.config import RunConfig
from polyrank.data import EncodedLog
from polyrank.errors import DivergedError
from polyrank.model import RankingModel
from polyrank.training import Observer, Record, RunPlan, train
from polyrank.training.distributed import choose_device
from polyrank.training.validation import BATCH

WARM_UP, STEPS = 3, 12
"""Steps before the clock starts, and those it counts."""
BATCHES = 4
"""Of the part, predicted."""
COMMIT_SECONDS = 0.3
"""To begin a run, and to write a checkpoint, about."""


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What was measured in a process like those that will train."""

    step_seconds: float
    row_seconds: float
    """Of predicting a row and of what validation does with it."""
    peak_bytes: int
    """Of the process."""

    def seconds(self, config: RunConfig, bench: Bench) -> float:
        """Of a run that no early stop ends, alone on its core."""
        training = config.training
        a_epoch = bench.prepared.train.num_batches(training.batch_size)
        steps = a_epoch * training.epochs
        evaluations = -(-steps // (training.select.every or a_epoch))
        rows = evaluations * bench.prepared.validation.num_rows + bench.log.num_rows
        written = (evaluations + 1) * COMMIT_SECONDS
        return steps * self.step_seconds + rows * self.row_seconds + written

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave."""
        return cls(**{key: tree[key] for key in cls.__dataclass_fields__})


class _EnoughError(Exception):
    """Enough steps were measured; training is over."""


class _Clock(Observer):
    """Times some steps, then ends the run.

    Args:
        now: The clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: list[float] = []

    @property
    def step_seconds(self) -> float:
        """The median step, so that an evaluation between two does not count."""
        return float(np.median(np.diff(self._times[WARM_UP if len(self._times) > 5 else 0 :])))

    def begin(self, plan: RunPlan) -> None:
        """The first step starts."""
        self._times.append(self._now())

    def advance(self, step: int, rows: int) -> None:
        """A step was done."""
        self._times.append(self._now())
        if len(self._times) > WARM_UP + STEPS:
            raise _EnoughError

    def record(self, record: Record) -> None:
        """Of no interest."""

    def close(self) -> None:
        """The run is over."""


def measure_cost(config: RunConfig, bench: Bench, folder: Path) -> RunCost:
    """Train a few steps in a folder that is removed, and predict a few batches of the part."""
    now = clock_of(config)
    clock = _Clock(now)
    where = tempfile.TemporaryDirectory(prefix=".timing-", dir=folder)
    with where as work, suppress(_EnoughError, DivergedError):
        train(config, bench.prepared, Path(work), observer=clock)
    return RunCost(
        step_seconds=clock.step_seconds,
        row_seconds=row_seconds(config, bench, now),
        peak_bytes=peak_bytes(),
    )


def clock_of(config: RunConfig) -> Callable[[], float]:
    """What tells how long a run takes on a core that nobody else uses: of one thread its own time,
    which does not pass while others have the core; else that of the wall."""
    single = config.training.threads == 1
    on_cpu = choose_device(config.training.device).type == "cpu"
    return time.process_time if single and on_cpu else time.monotonic


def scoring_seconds(config: RunConfig, bench: Bench) -> float:
    """Of scoring a row on one core: the fastest of five looks, as others may have the machine."""
    return min(row_seconds(config, bench, clock_of(config)) for _ in range(5))


@torch.inference_mode()
def row_seconds(config: RunConfig, bench: Bench, now: Callable[[], float]) -> float:
    """Of predicting a row of the part in batches, whatever the weights."""
    layout = bench.prepared.encoders.layout
    model = RankingModel(config.schema_, layout, config.model, seed=config.seed).eval()
    before, rows = now(), 0
    for batch in _some(bench.log):
        model.predict(batch)
        rows += len(batch)
    return (now() - before) / rows


def _some(log: EncodedLog) -> Sequence[Any]:
    batches = log.batches(batch_size=BATCH, seed=0, epoch=0, shuffle=False)
    return [batch for _, batch in zip(range(BATCHES), batches, strict=False)]


def told_bytes(value: float) -> str:
    """
    >>> told_bytes(3 << 29)
    '1.5 GiB'
    """
    return f"{value / 2**30:.1f} GiB"


def told_seconds(seconds: float) -> str:
    """
    >>> told_seconds(75), told_seconds(7300), told_seconds(3.2)
    ('1 min 15 s', '2 h 1 min', '3 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
