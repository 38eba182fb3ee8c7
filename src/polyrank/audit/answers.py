"""The verdicts of an audit from what its runs predict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean

from polyrank.audit.config import AuditConfig
from polyrank.audit.resampling import Draws, Pair, draws_of
from polyrank.audit.rows import Loaded
from polyrank.audit.verdict import Verdicts, Warnings, judge
from polyrank.schema import Schema

IN_UNITS = ("mae", "rmse")
"""Metrics in the label's own unit."""


def verdicts_of(
    loaded: Loaded, schema: Schema, metrics: Mapping[str, str], audit: AuditConfig
) -> Verdicts | Warnings | None:
    """Of every task that a seed has both runs of; None where there is none.

    Args:
        loaded: The observations of finished runs.
        schema: Of the run.
        metrics: By task, what it is judged by.
        audit: With the margins.
    """
    draws = [own for name in metrics for own in _draws(loaded, schema, name, metrics[name])]
    if not draws:
        return None
    whole = [own for own in draws if own.slice is None]
    return judge(draws, {own.task: margin_of(own, audit) for own in whole})


def margin_of(draws: Draws, audit: AuditConfig) -> float:
    """The difference that matters, in the metric's unit."""
    if draws.task in audit.margins:
        return audit.margins[draws.task]
    level = abs(fmean(draws.twin_S)) if draws.metric in IN_UNITS else 1.0
    return audit.margin * (level if math.isfinite(level) else 1.0)


def _draws(loaded: Loaded, schema: Schema, task: str, metric: str) -> Iterator[Draws]:
    seeds = sorted({seed for _, seed in loaded})
    pairs = {
        seed: Pair(loaded["joint", seed], loaded[f"twin {task}", seed])
        for seed in seeds
        if ("joint", seed) in loaded and (f"twin {task}", seed) in loaded
    }
    if pairs:
        slices = [*next(iter(pairs.values())).joint.slices]
        yield from draws_of(schema.task(task), metric, pairs, slices=slices)
