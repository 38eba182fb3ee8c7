"""The verdicts of an audit from what its runs predict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean

from polyrank.audit.compared import Compared, compared_of
from polyrank.audit.config import AuditConfig
from polyrank.audit.resampling import Draws, Kept, Pair, draws_of
from polyrank.audit.rows import Loaded
from polyrank.audit.verdict import Verdicts, Warnings, judge
from polyrank.schema import Schema

ALPHA = 0.05
"""1 - confidence of the intervals."""
IN_UNITS = ("mae", "rmse")
"""Metrics in the label's own unit."""


def verdicts_of(
    loaded: Loaded,
    schema: Schema,
    metrics: Mapping[str, str],
    audit: AuditConfig,
    *,
    role: str = "joint",
    sliced: bool = True,
    kept: Kept | None = None,
) -> Verdicts | Warnings | None:
    """Of every task that a seed has both runs of; None where there is none.

    Args:
        loaded: The observations of finished runs.
        schema: Of the run.
        metrics: By task, what it is judged by.
        audit: With the margins.
        role: Of the runs that stand beside twins, which all learn the tasks of ``metrics``.
        sliced: By slice, too.
        kept: What was drawn of these runs before.
    """
    draws = [
        own
        for name, metric in metrics.items()
        for own in _draws(loaded, schema, name, metric, (role, f"twin {name}"), sliced, kept)
    ]
    if not draws:
        return None
    whole = [own for own in draws if own.slice is None]
    return judge(draws, {own.task: margin_of(own, audit) for own in whole})


def compared_with(
    loaded: Loaded,
    schema: Schema,
    metrics: Mapping[str, str],
    audit: AuditConfig,
    role: str,
    kept: Kept | None = None,
) -> tuple[Compared, ...]:
    """What a role gains on the joint run, a task at a time; no verdict."""
    draws = [
        own
        for name, metric in metrics.items()
        for own in _draws(loaded, schema, name, metric, (role, "joint"), sliced=False, kept=kept)
    ]
    return tuple(
        compared_of(own, margin_of(own, audit), ALPHA, one_seed=len(own.seeds) == 1)
        for own in draws
    )


def margin_of(draws: Draws, audit: AuditConfig) -> float:
    """The difference that matters, in the metric's unit."""
    if draws.task in audit.margins:
        return audit.margins[draws.task]
    level = abs(fmean(draws.twin_S)) if draws.metric in IN_UNITS else 1.0
    return audit.margin * (level if math.isfinite(level) else 1.0)


def _draws(
    loaded: Loaded,
    schema: Schema,
    task: str,
    metric: str,
    roles: tuple[str, str],
    sliced: bool,
    kept: Kept | None,
) -> Iterator[Draws]:
    seeds = sorted({seed for _, seed in loaded})
    pairs = {
        seed: Pair(loaded[roles[0], seed], loaded[roles[1], seed])
        for seed in seeds
        if all((role, seed) in loaded for role in roles)
    }
    if pairs:
        slices = [*next(iter(pairs.values())).joint.slices] if sliced else []
        yield from draws_of(schema.task(task), metric, pairs, slices=slices, roles=roles, kept=kept)
