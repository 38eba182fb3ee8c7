"""Evaluating a bundle on a log, through the same path that scores.

Shapes: N rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.config import EvaluationConfig
from polyrank.data import Batch, Source, in_unit, open_log, values_observed
from polyrank.errors import ConfigError
from polyrank.evaluation import (
    Comparison,
    Evaluation,
    Observations,
    StreamingEvaluator,
    compare,
    evaluate,
)
from polyrank.schema import Schema, Task
from polyrank.scoring.held_out import split_of
from polyrank.scoring.labels import labelled
from polyrank.scoring.scorer import Scorer
from polyrank.scoring.shown import shown
from polyrank.scoring.slices import slice_values


def evaluate_log(
    scorer: Scorer,
    log: Any,
    config: EvaluationConfig,
    *,
    part: str = "all",
    max_quarantine_share: float | None = None,
    observed_until: int | str | None = None,
) -> Evaluation:
    """Metrics of ``scorer`` on ``log``, by task and slice, with intervals.

    Negatives of a task with a ``keep_rate`` weigh 1 / keep_rate, as if none had been dropped; those
    of a served log do not (``labelled``).
    Labels that are lower bounds (``censored``) are left out: see ``values_observed``.

    Args:
        scorer: What predicts.
        log: A path, glob, folder or Arrow-compatible table, with labels; of what was served, the
            rows that were shown (``shown``).
        config: Metrics, slices and draws.
        part: The part of the log by the split of the bundle's run; "all": every row.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        observed_until: When late labels were looked at, as in ``Maturity``; null: when the training
            log was cut.

    Raises:
        DataError: The log is refused.
        ConfigError: An unknown metric, slice or part, or ``observed_until`` of another kind than
            the windows.
    """
    check_evaluation(scorer.bundle.schema, config)
    source = shown(open_log(log))
    scorer = labelled(scorer, source.schema().names, observed_until)
    chunks = _labelled(scorer, source, config.slices, part, max_quarantine_share)
    return evaluate_rows(scorer, chunks, config)


def check_evaluation(schema: Schema, config: EvaluationConfig) -> None:
    """Refuse metrics and draws that no log could be evaluated by, before a row is read.

    Raises:
        ConfigError: An unknown metric, one that fits none of the tasks, or too few draws.
    """
    value = {task: np.zeros(1) for task in schema.task_names}
    unobserved = {task: np.zeros(1, dtype=np.bool_) for task in schema.task_names}
    nothing = Observations(predictions=value, labels=value, masks=unobserved)
    metrics = list(config.metrics) or None
    evaluate(nothing, schema.tasks, metrics=metrics, resamples=config.resamples)


def evaluate_rows(scorer: Scorer, chunks: Iterator[Any], config: EvaluationConfig) -> Evaluation:
    """``evaluate_log`` for tables as a ``Reader`` gives them."""
    schema = scorer.bundle.schema
    parts: list[Observations] = []
    held = 0
    for part in observe(scorer, chunks, config.slices):
        parts.append(part)
        held += part.num_rows
        if held > config.exact_rows:
            return _streamed(schema, parts, observe(scorer, chunks, config.slices), config)
    return _exact(schema, Observations.concatenate(parts), config)


def observe_log(
    scorer: Scorer,
    log: Any,
    slices: Sequence[str] = (),
    *,
    part: str = "all",
    max_quarantine_share: float | None = None,
) -> Observations:
    """Predictions and labels of the rows of ``log``, in memory; see ``evaluate_log``."""
    source = shown(open_log(log))
    scorer = labelled(scorer, source.schema().names)
    chunks = _labelled(scorer, source, slices, part, max_quarantine_share)
    return Observations.concatenate(list(observe(scorer, chunks, slices)))


def observe_rows(
    scorer: Scorer, chunks: Iterator[Any], tasks: Sequence[str]
) -> Iterator[Observations]:
    """Predictions and labels of some tasks, for tables as a ``Reader`` gives them."""
    for found in observe(scorer, chunks, ()):
        yield only(found, tasks)


def compare_scorers(
    a: Scorer,
    b: Scorer,
    log: Any,
    *,
    metrics: Sequence[str] = (),
    resamples: int = 500,
    part: str = "all",
    max_quarantine_share: float | None = None,
) -> Comparison:
    """Paired differences b - a over the tasks that both have.

    Args:
        a: One side.
        b: The other.
        log: As in ``evaluate_log``.
        metrics: Names; empty: all.
        resamples: Paired bootstrap draws.
        part: As in ``evaluate_log``; both bundles' runs must have divided their logs alike.
        max_quarantine_share: Null: the greater one of the two runs.

    Raises:
        ConfigError: They have no task in common, it means something else in each, or they hold
            out other rows.
    """
    tasks = _common_tasks(a.bundle.schema, b.bundle.schema)
    _check_thresholds(a, b)
    names = [task.name for task in tasks]
    if split_of(a.bundle, part) != split_of(b.bundle, part):
        raise ConfigError(
            f"the two bundles hold out other rows as {part!r}",
            hint="Give a log that neither was trained on, and no part.",
        )
    if max_quarantine_share is None:
        max_quarantine_share = max(a.max_quarantine_share, b.max_quarantine_share)
    first, second = (
        only(observe_log(scorer, log, part=part, max_quarantine_share=max_quarantine_share), names)
        for scorer in (a, b)
    )
    return compare(first, second, tasks, metrics=list(metrics) or None, resamples=resamples)


def _labelled(
    scorer: Scorer,
    source: Source,
    slices: Sequence[str],
    part: str,
    max_quarantine_share: float | None,
) -> Iterator[pa.Table]:
    reader = scorer.reader(
        source,
        extra=slices,
        labels=True,
        split=split_of(scorer.bundle, part),
        max_quarantine_share=max_quarantine_share,
    )
    return reader.chunks(part)  # type: ignore[arg-type]  # ``split_of`` knows the parts


def _common_tasks(a: Schema, b: Schema) -> list[Task]:
    common = [task for task in a.tasks if task.name in b.task_names]
    if not common:
        raise ConfigError(
            "the two bundles have no task in common",
            hint=f"A has {', '.join(a.task_names)}; B has {', '.join(b.task_names)}.",
        )
    for task in common:
        if task != b.task(task.name):
            raise ConfigError(
                f"task {task.name!r} means something else in each bundle",
                hint="Compare bundles whose schemas declare the task alike.",
            )
    return common


def _check_thresholds(a: Scorer, b: Scorer) -> None:
    """Refuse labels that are made by other thresholds in each bundle."""
    ours, theirs = a.bundle.encoders.thresholds, b.bundle.encoders.thresholds
    for task in ours.keys() & theirs.keys():
        if ours[task] != theirs[task]:
            raise ConfigError(
                f"what counts as 1 of task {task!r} was fitted on other rows in each bundle",
                hint="Train one from the other (`--from` keeps thresholds), or evaluate each.",
            )


def observe(scorer: Scorer, chunks: Iterator[Any], slices: Sequence[str]) -> Iterator[Observations]:
    """Predictions and labels of all tasks, for tables as a ``Reader`` gives them."""
    encoders = scorer.bundle.encoders
    for chunk in chunks:
        batch = encoders.encode(chunk, bias=False)
        yield _observations(
            scorer.bundle.schema,
            batch,
            scorer.predict(chunk),
            {name: slice_values(chunk, name) for name in slices},
        )


def _observations(
    schema: Schema,
    batch: Batch,
    predictions: Mapping[str, NDArray[np.float64]],
    slices: Mapping[str, NDArray[Any]],
) -> Observations:
    assert batch.labels_BT is not None
    assert batch.weight_B is not None
    labels_BT = batch.labels_BT.numpy()
    value_BT = values_observed(batch, schema)
    return Observations(
        predictions=predictions,
        labels={
            task.name: in_unit(task, labels_BT[:, place]) for place, task in enumerate(schema.tasks)
        },
        masks={task: value_BT[:, place] for place, task in enumerate(schema.task_names)},
        weights=batch.weight_B.double().numpy(),
        keep_rates=schema.keep_rates,
        groups={key: codes.numpy() for key, codes in (batch.groups or {}).items()},
        slices=slices,
    )


def only(observations: Observations, tasks: Sequence[str]) -> Observations:
    """The same rows with these tasks alone."""
    return dataclasses.replace(
        observations,
        predictions={task: observations.predictions[task] for task in tasks},
        labels={task: observations.labels[task] for task in tasks},
        masks={task: observations.masks[task] for task in tasks},
    )


def _exact(schema: Schema, observations: Observations, config: EvaluationConfig) -> Evaluation:
    return evaluate(
        observations,
        schema.tasks,
        metrics=list(config.metrics) or None,
        slices=config.slices,
        resamples=config.resamples,
    )


def _streamed(
    schema: Schema,
    held: Sequence[Observations],
    rest: Iterator[Observations],
    config: EvaluationConfig,
) -> Evaluation:
    if config.slices:
        raise ConfigError(
            f"slices need all rows in memory, and there are more than {config.exact_rows:,}",
            hint="Raise `exact_rows` (--exact-rows), or evaluate a part.",
        )
    evaluator = StreamingEvaluator(schema.tasks, list(config.metrics) or None)
    for part in chain(held, rest):
        evaluator.update(part)
    return evaluator.result()
