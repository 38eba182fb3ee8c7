"""Joint runs beside twins: gains, absolute and relative, a task at a time and over all.

Shapes: S seeds, R replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyrank.audit.gain import Floats, Gain, gain_of, gain_of_users
from polyrank.audit.plain import Plain
from polyrank.audit.resampling import Draws

CHANCE: Mapping[str, float] = {"auc": 0.5, "gauc": 0.5, "xauc": 0.5, "gxauc": 0.5}
"""What a metric is without skill; of others 0 is what gains are relative to."""
NO_SKILL = "a twin is no better than chance"


@dataclass(frozen=True, kw_only=True)
class Compared(Plain):
    """One metric of one task in paired runs, on all rows or on a slice.

    Args:
        task: The task.
        metric: What it is judged by.
        slice: ``"column=value"``, or None for all rows.
        joint: Mean over the seeds of the runs with several tasks; None where undefined.
        twin: Mean of those with this task alone.
        margin: The loss that matters, in the metric's unit.
        gain: Joint less twin, turned so that above 0 is better.
        low: Lower bound of the gain; None where there is none.
        high: Upper bound.
        relative: The gain as a share of the twin's lead over chance (.5 of AUC, else 0), seed by
            seed: of AUC the RelaImpr.
        rows: Observed rows.
        positives: Those with a label of 1; None for a task that is not binary.
        units: Users among them.
    """

    task: str
    metric: str
    slice: str | None
    joint: float | None
    twin: float | None
    margin: float
    gain: Gain
    low: float | None
    high: float | None
    relative: Gain
    rows: int
    positives: int | None
    units: int


@dataclass(frozen=True, kw_only=True)
class DeltaM(Plain):
    """The mean over tasks of (joint - twin) / twin, turned so that above 0 is better.

    Maninis, Radosavovic and Kokkinos, "Attentive Single-Tasking of Multiple Tasks" (CVPR 2019),
    section 4; it hides a harmed task behind helped ones, so the least of its terms stands beside.

    Args:
        gain: The mean, with the error of paired seeds and users.
        low: Lower bound; None where there is none.
        high: Upper bound.
        by_task: Its terms.
        worst: The task of the least.
        least: That term; None with ``worst`` where a task has none.
    """

    gain: Gain
    low: float | None
    high: float | None
    by_task: Mapping[str, float | None]
    worst: str | None
    least: float | None


def compared_of(own: Draws, margin: float, alpha: float, *, one_seed: bool = False) -> Compared:
    """Joint runs and twins of a task.

    Args:
        own: Their metric.
        margin: The loss that matters.
        alpha: 1 - confidence.
        one_seed: Take the error from users alone, as of one seed nothing else is known.
    """
    gain = _gain(_turned(own), own, one_seed=one_seed)
    bounds = gain.interval(alpha) or (None, None)
    return Compared(
        task=own.task,
        metric=own.metric,
        slice=own.slice,
        joint=_mean(own.joint_S),
        twin=_mean(own.twin_S),
        margin=margin,
        gain=gain,
        low=bounds[0],
        high=bounds[1],
        relative=_gain(_shares(own, CHANCE.get(own.metric, 0.0)), own, one_seed=one_seed),
        rows=own.rows,
        positives=own.positives,
        units=own.units,
    )


_Points = tuple[Floats, Floats]
"""(S,) on all users and (S, R) on draws of them."""


def _turned(own: Draws) -> _Points:
    """The differences, above 0 where sharing is better."""
    return own.sign * (own.joint_S - own.twin_S), own.sign * (own.joint_SR - own.twin_SR)


def _shares(own: Draws, chance: float) -> _Points:
    """The differences as shares of the twin's lead over ``chance``; NaN where it has none."""
    leads = (np.where(twin > chance, twin - chance, np.nan) for twin in (own.twin_S, own.twin_SR))
    points, draws = (turned / lead for turned, lead in zip(_turned(own), leads, strict=True))
    return points, draws


def _gain(points: _Points, own: Draws, *, one_seed: bool) -> Gain:
    found = _estimate(points, own.units, one_seed=one_seed)
    if found.value is not None:
        return found
    undefined = np.isnan(own.joint_S).any() or np.isnan(own.twin_S).any()
    return replace(found, reason=own.reason or (found.reason if undefined else NO_SKILL))


def _estimate(points: _Points, units: int, *, one_seed: bool) -> Gain:
    differences_S, draws_SR = points
    if one_seed:
        return gain_of_users(float(differences_S[0]), draws_SR[0], units)
    return gain_of(differences_S, draws_SR, units)


def _mean(values_S: Floats) -> float | None:
    return None if np.isnan(values_S).any() else float(values_S.mean())


def delta_m_of(draws: Sequence[Draws], alpha: float, *, one_seed: bool = False) -> DeltaM:
    """Over the seeds that all tasks have; ``one_seed`` as in ``compared_of``."""
    seeds = [seed for seed in draws[0].seeds if all(seed in own.seeds for own in draws)]
    shares = []
    for own in draws:
        points_S, draws_SR = _shares(own, 0.0)
        kept = [own.seeds.index(seed) for seed in seeds]
        shares.append((points_S[kept], draws_SR[kept]))
    by_task = {own.task: _mean(share[0]) for own, share in zip(draws, shares, strict=True)}
    there = {task: share for task, share in by_task.items() if share is not None}
    worst = min(there, key=lambda task: there[task]) if len(there) == len(by_task) else None
    mean_S, mean_SR = (np.mean([share[part] for share in shares], axis=0) for part in (0, 1))
    units = min(own.units for own in draws)
    gain = _estimate((mean_S, mean_SR), units, one_seed=one_seed)
    bounds = gain.interval(alpha) or (None, None)
    return DeltaM(
        gain=gain,
        low=bounds[0],
        high=bounds[1],
        by_task=by_task,
        worst=worst,
        least=None if worst is None else there[worst],
    )
