"""What a task is worth without the network: boosted trees of its own, and a constant.

Both predict the rows that the network is judged on, so that every metric stands beside theirs.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.audit.plain import Plain
from polyrank.audit.trees import Columns, Fitted, Known, fit, known_rows, predict
from polyrank.data import EncodedLog, Encoders
from polyrank.schema import Binary, Duration, Schema, Task

NOT_INSTALLED = "LightGBM is not installed: pip install 'polyrank[benchmark]'"
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Baseline(Plain):
    """How one task's was made."""

    kind: str
    """``trees`` or ``constant``."""
    told: str
    """In words: settings, rounds and rows, or the constant."""
    value: float | None = None
    """The constant, in the label's unit."""
    seconds: float | None = None
    """To fit."""
    reason: str | None = None
    """Why there is none."""


@dataclass(frozen=True, kw_only=True)
class BaselineRun:
    """A baseline of every task."""

    predictions: Mapping[str, Floats]
    """(N,) by task that has one, in the label's unit, in the order of the part."""
    told: Mapping[str, Baseline]
    """By task."""


def constants(schema: Schema, encoders: Encoders, train: EncodedLog, rows: int) -> BaselineRun:
    """The training rate of a binary task, as if no negative had been dropped; the training median
    of a duration or regression, which are judged by their absolute error; else the training mean.

    Args:
        schema: The tasks.
        encoders: They know the medians.
        train: Whose weighted means count, of a million rows evenly taken if there are more.
        rows: N, of the part.
    """
    known = known_rows(train, schema, encoders, features=False)
    told, predictions = {}, {}
    for task in schema.tasks:
        told[task.name] = found = _constant(task, encoders, known)
        if found.value is not None:
            predictions[task.name] = np.full(rows, found.value)
    return BaselineRun(predictions=predictions, told=told)


def _constant(task: Task, encoders: Encoders, known: Known) -> Baseline:
    labels_N, weights_N = known.of(task.name)
    if not weights_N.sum() > 0:
        return Baseline(kind="constant", told="none", reason="no label in training")
    mean = float(np.average(labels_N, weights=weights_N))
    quantiles = encoders.layout.targets[task.name].quantiles
    if isinstance(task, Binary):
        kept = task.keep_rate
        rate = mean * kept / (mean * kept + 1.0 - mean)
        return Baseline(kind="constant", told=f"the training rate, {rate:.4g}", value=rate)
    if quantiles:
        scale = task.seconds_per_unit if isinstance(task, Duration) else 1.0
        median = quantiles[len(quantiles) // 2] / scale
        return Baseline(kind="constant", told=f"the training median, {median:.4g}", value=median)
    return Baseline(kind="constant", told=f"the training mean, {mean:.4g}", value=mean)


def boosted_trees(
    schema: Schema,
    encoders: Encoders,
    parts: Mapping[str, EncodedLog],
    part: str,
    *,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
) -> BaselineRun:
    """LightGBM, one model a task, on what the network reads: encoded ids, numbers, lists, vectors.

    Defaults: 31 leaves, learning rate .05, 20 rows a leaf at least, 8 in 10 rows and columns a
    round, at most 2,000 rounds, until validation has not improved for 50; once with and once
    without the columns of more than 1,000 ids, whichever does better on validation. Binary tasks
    by log loss; durations on log(1 + seconds) and regressions by absolute error; others by square
    error. Row weights count; of negatives that the log dropped, predictions are corrected as the
    network's are. More than a million training rows are thinned evenly.

    Args:
        schema: The tasks.
        encoders: Of the log.
        parts: ``train``, ``validation``, which ends the fit, and ``part``.
        part: What is predicted.
        tasks: Those wanted; null: all.
        seed: Of rows and columns a round.
    """
    names = schema.task_names if tasks is None else tasks
    try:
        importlib.import_module("lightgbm")
    except ModuleNotFoundError:
        none = Baseline(kind="trees", told="none", reason=NOT_INSTALLED)
        return BaselineRun(predictions={}, told=dict.fromkeys(names, none))
    train = known_rows(parts["train"], schema, encoders)
    held = known_rows(parts["validation"], schema, encoders)
    seen = held if part == "validation" and held.whole else None
    if seen is None:
        seen = known_rows(parts[part], schema, encoders, thinned=False)
    told, predictions = {}, {}
    for name in names:
        began = time.monotonic()
        made = _best(schema.task(name), train, held, seed)
        seconds = time.monotonic() - began
        told[name] = _told(made, train, seconds)
        if isinstance(made, Fitted):
            predictions[name] = predict(schema.task(name), made, seen.x_NC)
    return BaselineRun(predictions=predictions, told=told)


def _best(task: Task, train: Known, held: Known, seed: int) -> Fitted | str:
    """The better one of several sets of columns, or why there is none."""
    for known, where in ((train, "training"), (held, "validation")):
        labels_N, weights_N = known.of(task.name)
        if not weights_N.sum() > 0:
            return f"no label in {where}"
        if isinstance(task, Binary) and np.ptp(labels_N[weights_N > 0]) == 0:
            return f"labels of one class only in {where}"
    tried = [fit(task, places, train, held, seed=seed) for places in _choices(train.columns)]
    return min(tried, key=lambda fitted: fitted.score)


def _choices(columns: Columns) -> Iterator[list[int]]:
    every = list(range(len(columns.names)))
    yield every
    closed = [place for place in every if columns.names[place] not in columns.open]
    if closed and len(closed) < len(every):
        yield closed


def _told(made: Fitted | str, train: Known, seconds: float) -> Baseline:
    if isinstance(made, str):
        return Baseline(kind="trees", told="none", reason=made)
    ids = "" if not train.columns.open else ", without ids" if made.without_ids else ", with ids"
    told = f"LightGBM, {made.rounds:,} rounds on {len(train.x_NC):,} rows{ids}"
    assert math.isfinite(made.score), "validation has labels"
    return Baseline(kind="trees", told=told, seconds=seconds)


def as_json(run: BaselineRun) -> dict[str, Any]:
    """What is told, by task, as plain JSON values; predictions are arrays of their own."""
    return {task: own.to_json() for task, own in run.told.items()}
