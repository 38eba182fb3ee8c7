"""A log as a trained model sees it: one pass of predictions, and what a page shows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyrank.audit.page.scored import Seen, bars, places
from polyrank.audit.reliability import reliability
from polyrank.evaluation import Observations, evaluate
from polyrank.schema import Schema
from polyrank.scoring import Scorer
from polyrank.scoring.evaluation import observe_log

AS_IT_IS = "the bundle's own, included in what is shown"


def look(
    scorer: Scorer,
    log: Any,
    *,
    part: str = "all",
    slices: Sequence[str] = (),
    resamples: int = 200,
) -> Seen:
    """Score a log and measure.

    Args:
        scorer: Of the bundle.
        log: With labels; a path, glob, folder or table.
        part: The part of it by the split of the bundle's run.
        slices: Columns of single values.
        resamples: Bootstrap draws over users.

    Raises:
        DataError: The log is refused.
        ConfigError: An unknown column or part.
    """
    schema = scorer.bundle.schema
    column = schema.keys.named().get("position")
    wanted = [*slices, *([column] if column is not None and column not in slices else [])]
    observations = observe_log(scorer, log, wanted, part=part)
    evaluation = evaluate(
        dataclasses.replace(
            observations, slices={name: observations.slices[name] for name in slices}
        ),
        schema.tasks,
        slices=tuple(slices),
        resamples=resamples,
    )
    return Seen(
        on="the log" if part == "all" else f"the {part} part of the log",
        evaluation=evaluation,
        reliability={
            task.name: dataclasses.replace(reliability(observations, task, None), method=AS_IT_IS)
            for task in schema.tasks
        },
        scores={task: bars(_observed(observations, task)) for task in schema.task_names},
        positions=_positions(observations, schema, column),
    )


def _observed(observations: Observations, task: str) -> np.ndarray:
    return np.asarray(observations.predictions[task])[observations.masks[task]]


def _positions(observations: Observations, schema: Schema, column: str | None) -> dict[str, Any]:
    if column is None:
        return {}
    positions_N = np.asarray(observations.slices[column]).astype(np.float64)
    found = {}
    for task in schema.task_names:
        seen_N = observations.masks[task] & ~np.isnan(positions_N)
        found[task] = places(
            positions_N[seen_N],
            np.asarray(observations.predictions[task])[seen_N],
            np.asarray(observations.labels[task])[seen_N],
        )
    return found
