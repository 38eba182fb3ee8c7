"""A task's metric in paired runs: on the rows as they are, and on draws of their users.

Shapes: N rows, S seeds, R replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError
from polyrank.evaluation import (
    NO_GROUP,
    EvaluatedTask,
    Observations,
    compare,
    evaluate,
    find_metric,
    resample,
)
from polyrank.evaluation._evaluate import split_by
from polyrank.evaluation._observations import GROUP_KEYS

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Predictions of two runs of one seed on the same rows; both have the task."""

    joint: Observations
    twin: Observations


Kept = dict[tuple[object, ...], tuple[float, Floats]]
"""By run, task, metric and slice: the metric, and (R,) on draws. Twins stand beside many roles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """One metric of one task, on all rows or on those of a slice.

    Args:
        task: The task.
        metric: Its metric.
        slice: ``"column=value"``, or ``None`` for all rows.
        seeds: S of them.
        joint_S: (S,) of the runs with several tasks; NaN where it is undefined.
        twin_S: (S,) of the runs with this task alone.
        joint_SR: (S, R) the same on draws of users, of which all runs see the same.
        twin_SR: (S, R).
        rows: Observed rows.
        positives: Those with a label of 1; ``None`` for a task that is not binary.
        units: Users among them (else requests, else rows).
        reason: Why a value is undefined, if one is.
    """

    task: str
    metric: str
    slice: str | None
    seeds: tuple[int, ...]
    joint_S: Floats
    twin_S: Floats
    joint_SR: Floats
    twin_SR: Floats
    rows: int
    positives: int | None
    units: int
    reason: str | None = None

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, else -1."""
        return 1 if find_metric(self.metric).higher_is_better else -1


def draws_of(
    task: EvaluatedTask,
    metric: str,
    pairs: Mapping[int, Pair],
    *,
    slices: Sequence[str] = (),
    resamples: int = 100,
    seed: int = 0,
    roles: tuple[str, str] = ("joint", "twin"),
    kept: Kept | None = None,
) -> tuple[Draws, ...]:
    """The metric of all rows, then of each value of each slice.

    Args:
        task: The task.
        metric: A metric that is defined for it and has a better end.
        pairs: By seed. All runs saw the same rows, in the same order.
        slices: Columns of the observations.
        resamples: R; they give a variance, which 100 draws give within 15 %.
        seed: Of the draws: two tasks with one seed see the same users.
        roles: What tells the runs of a seed apart, from those of other calls, too.
        kept: What earlier calls found with these settings of the same rows; more is put into it.

    Raises:
        ConfigError: No pairs, a metric without a better end, or as ``evaluation.resample``.
        DataError: The runs are not of the same rows.
    """
    if find_metric(metric).higher_is_better is None:
        message = f"{metric} has no better end, so nothing can help or harm it"
        raise ConfigError(message, where=f"task '{task.name}'", hint="judge by another metric")
    if not pairs:
        raise ConfigError("no seed has both runs", where=f"task '{task.name}'")
    first = next(iter(pairs.values())).joint
    for run in (run for pair in pairs.values() for run in pair):
        if run is not first:
            compare(first, run, [task], metrics=[metric], resamples=0)  # refuses other rows
    sampler = _Sampler(task, metric, resamples, seed, roles, {} if kept is None else kept)
    found = [_draws(sampler, None, pairs, np.True_)]
    for column in slices:
        for name, rows_N in _classes(first, column):
            found.append(_draws(sampler, name, pairs, rows_N))
    return tuple(found)


class _Sampler(NamedTuple):
    """A metric of one task, and what is known of it by run."""

    task: EvaluatedTask
    metric: str
    resamples: int
    seed: int
    roles: tuple[str, str]
    kept: Kept

    def of(self, run: Observations, *name: object) -> tuple[float, Floats]:
        """On all rows, and (R,) on draws; a run is known by its name."""
        key = (*name, self.task.name, self.metric)
        if key not in self.kept:
            found = resample(
                run,
                [self.task],
                metrics=[self.metric],
                resamples=self.resamples,
                seed=self.seed,
            )
            own = (self.task.name, self.metric)
            self.kept[key] = found.points[own], found.draws[own]
        return self.kept[key]


def _classes(observations: Observations, column: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    names, codes_N = split_by(observations, column)
    for code, name in enumerate(names):
        yield f"{column}={name}", codes_N == code


def _draws(
    sampler: _Sampler,
    slice_: str | None,
    pairs: Mapping[int, Pair],
    rows_N: NDArray[np.bool_] | np.bool_,
) -> Draws:
    task, metric = sampler.task, sampler.metric
    names = [(role, seed, slice_) for seed in pairs for role in sampler.roles]
    runs = [_only(run, task.name, rows_N) for pair in pairs.values() for run in pair]
    entry = evaluate(runs[0], [task], metrics=[metric], resamples=0).row(task.name, metric)
    points = np.full(len(runs), np.nan)
    draws = np.full((len(runs), sampler.resamples), np.nan)
    for place, run in enumerate(runs if entry.reason is None else ()):
        points[place], draws[place] = sampler.of(run, *names[place])
    return Draws(
        task=task.name,
        metric=metric,
        slice=slice_,
        seeds=tuple(pairs),
        joint_S=points[::2],
        twin_S=points[1::2],
        joint_SR=draws[::2],
        twin_SR=draws[1::2],
        rows=entry.rows,
        positives=entry.positives,
        units=_units(runs[0], task.name),
        reason=entry.reason,
    )


def _only(run: Observations, task: str, rows_N: NDArray[np.bool_] | np.bool_) -> Observations:
    """One task of a run, observed on some of the rows alone."""
    return replace(
        run,
        predictions={task: run.predictions[task]},
        labels={task: run.labels[task]},
        masks={task: run.masks[task] & rows_N},
        keep_rates={name: rate for name, rate in run.keep_rates.items() if name == task},
        slices={},
    )


def _units(run: Observations, task: str) -> int:
    """Users that have an observed row; a row whose user is not known is one by itself."""
    index_N = run.select(task).index_N
    for key in GROUP_KEYS:
        if key in run.groups:
            codes_N = np.asarray(run.groups[key])[index_N]
            alone = int(np.count_nonzero(codes_N == NO_GROUP))
            return len(np.unique(codes_N[codes_N != NO_GROUP])) + alone
    return len(index_N)
