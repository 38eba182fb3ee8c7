"""From trials to the result.

Shapes: P trials, F points of the front, W searched weights, K goals, M objectives, J guardrails.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyrank.fusion.tuning.gains import gains_of
from polyrank.fusion.tuning.goals import Goals
from polyrank.fusion.tuning.pareto import course, front_of, knee_of, told_course
from polyrank.fusion.tuning.ranking import Ranking, refuse_unscored
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.fusion.tuning.result import (
    Gains,
    Hypervolume,
    Later,
    Log,
    Point,
    Sensitivity,
    Trial,
    Tuned,
    declaration,
)
from polyrank.fusion.tuning.tune import Searched

Floats = NDArray[np.float64]
FACTORS = (0.0, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)
"""Times a weight at the point whose sensitivity is told."""


def told(found: Searched) -> Tuned:
    """All that is told of a search."""
    found.goals.check_primary(found.settings.primary)
    points = _Points(found)
    champion, knee = points.champion, points.knee
    lower, upper = found.space.ends()
    return Tuned(
        bundle=found.task.bundle,
        kind=found.task.model.kind,
        model=declaration(found.ranking.model),
        log=_log(found.task.log),
        search=found.settings.search.kind,
        settings=found.settings.model_dump(mode="json"),
        seed=found.settings.seed,
        seconds=found.seconds,
        weights=found.space.names,
        lower=lower,
        upper=upper,
        objectives=found.goals.objectives,
        guardrails=found.goals.guardrails(),
        primary=found.settings.primary,
        trials=points.trials(),
        front=tuple(points.front_F.tolist()),
        hypervolume=points.hypervolume(),
        today=points.today(),
        start=points.trial(0, "where the search began"),
        knee=knee,
        champion=champion,
        nearest=None if champion else points.nearest(),
        sensitivity=sensitivity(found, champion or points.trial(0, "the start")),
        gains=gains(found, champion),
        complete=found.complete,
    )


class _Points:
    """The trials that have a name."""

    def __init__(self, found: Searched) -> None:
        self._found, self._goals = found, found.goals
        self._raised_PM = found.goals.raised(found.value_PK)
        self._slack_PJ = found.goals.slacks(found.value_PK)
        self._feasible_P = np.asarray((self._slack_PJ >= 0).all(axis=1))
        feasible_F = np.flatnonzero(self._feasible_P)
        self.front_F = feasible_F[front_of(self._raised_PM[feasible_F])]

    def trials(self) -> tuple[Trial, ...]:
        """All, in the order in which they were tried."""
        num_objectives = len(self._goals.objectives)
        rows = zip(
            self._found.weight_PW.tolist(),
            self._found.value_PK[:, :num_objectives].tolist(),
            self._slack_PJ.tolist(),
            strict=True,
        )
        return tuple(
            Trial(number=number, weights=weights, objectives=values, slacks=slacks)
            for number, (weights, values, slacks) in enumerate(rows)
        )

    def trial(self, number: int, told: str) -> Point:
        """One of them."""
        value_K, weight_W = self._found.value_PK[number], self._found.weight_PW[number]
        return _point(self._found, value_K, told, weights=weight_W.tolist(), trial=number)

    def today(self) -> Point:
        """What the bundle ranks by."""
        weights = self._found.task.today_weights
        names = self._found.space.names
        known = None if weights is None else [weights[name] for name in names]
        return _point(self._found, self._goals.today_K, "what the bundle ranks by", weights=known)

    @property
    def knee(self) -> Point | None:
        """Of the front."""
        if not len(self.front_F):
            return None
        number = int(self.front_F[knee_of(self._raised_PM[self.front_F])])
        return self.trial(number, "the front's knee")

    @property
    def champion(self) -> Point | None:
        """The best by the primary objective, else the knee."""
        primary = self._found.settings.primary
        knee = self.knee
        if knee is None or knee.trial is None or primary is None:
            return knee
        names = [goal.name for goal in self._goals.objectives]
        value_F = self._raised_PM[self.front_F, names.index(primary)]
        number = int(self.front_F[int(value_F.argmax())])
        return self.trial(number, f"the best {primary} that holds every guardrail")

    def nearest(self) -> Point:
        """Of those that miss a guardrail, the one that misses least."""
        number = int(self._goals.missed_P(self._found.value_PK).argmin())
        return self.trial(number, "misses the guardrails least")

    def hypervolume(self) -> Hypervolume:
        """Above a random order."""
        nothing_N = np.zeros(len(self._found.task.log))
        value_K = self._found.ranking.meter.of_scores(nothing_N[None])[0]
        reference_M = self._goals.raised(value_K[None])[0]
        today_M = self._goals.raised(self._goals.today_K[None])
        course_P = course(self._raised_PM, self._feasible_P, reference_M)
        told_P = told_course(course_P)
        return Hypervolume(
            value=float(course_P[-1]),
            reference=tuple(value_K[: len(reference_M)].tolist()),
            today=float(np.maximum(today_M - reference_M, 0.0).prod()),
            trials=tuple((told_P + 1).tolist()),
            values=tuple(course_P[told_P].tolist()),
        )


def sensitivity(found: Searched, at: Point) -> tuple[Sensitivity, ...]:
    """Each weight times the factors, the others as at the point."""
    assert at.weights is not None
    weight_W = np.array(at.weights)
    alone = np.count_nonzero([*weight_W, *_others(found)]) == 1
    factors = [each for each in FACTORS if each or (found.ranking.fast and not alone)]
    rows = []
    for place, name in enumerate(found.space.names):
        weight_BW = np.tile(weight_W, (len(factors), 1))
        weight_BW[:, place] *= factors
        value_BK = found.values(weight_BW)
        rows.append(
            Sensitivity(
                weight=name,
                factors=tuple(factors),
                objectives=tuple(map(tuple, value_BK[:, : len(found.goals.objectives)].tolist())),
                slacks=tuple(map(tuple, found.goals.slacks(value_BK).tolist())),
            )
        )
    return tuple(rows)


def gains(found: Searched, champion: Point | None) -> Gains | None:
    """Of the champion over today's, where there is one and draws are asked for."""
    if champion is None or not found.settings.resamples:
        return None
    return gains_of(
        found.ranking.meter,
        found.task.today_N,
        found.ranking.scores(_weights(found, champion)),
        of="champion",
        resamples=found.settings.resamples,
        seed=found.settings.seed,
    )


def check_later(found: Searched, tuned: Tuned, log: Replayed, today_N: Floats) -> Later:
    """The same rankings on rows on which nothing was chosen.

    Args:
        found: The search.
        tuned: Its result.
        log: Those rows.
        today_N: How the bundle scores them by now.

    Raises:
        DataError: A goal is undefined there, or rows have no score.
    """
    refuse_unscored(log, today_N)
    ranking = Ranking(log, found.ranking.model, found.task.demotion, found.goals.measures)
    goals = found.goals.measured(ranking.meter.of_scores(today_N[None])[0])

    def there(point: Point | None) -> Point | None:
        if point is None or point.weights is None:
            return None
        value_BK = ranking.values(found.space.names, np.array([point.weights]), found.held)
        return _measured(goals, value_BK[0], point)

    champion, measured_gains = there(tuned.champion), None
    if tuned.champion is not None and found.settings.resamples:
        measured_gains = gains_of(
            ranking.meter,
            today_N,
            ranking.scores(_weights(found, tuned.champion)),
            of="champion",
            resamples=found.settings.resamples,
            seed=found.settings.seed,
        )
    return Later(
        on=log.on,
        rows=len(log),
        requests=log.num_requests,
        limits=goals.limit_J,
        today=_measured(goals, goals.today_K, tuned.today),
        champion=champion,
        knee=there(tuned.knee),
        gains=measured_gains,
    )


def _measured(goals: Goals, value_K: Floats, point: Point) -> Point:
    return point.model_copy(
        update={
            "objectives": tuple(value_K[: len(goals.objectives)].tolist()),
            "slacks": tuple(goals.slacks(value_K[None])[0].tolist()),
        }
    )


def _point(
    found: Searched,
    value_K: Floats,
    told: str,
    *,
    weights: Sequence[float] | None,
    trial: int | None = None,
) -> Point:
    return Point(
        objectives=tuple(value_K[: len(found.goals.objectives)].tolist()),
        slacks=tuple(found.goals.slacks(value_K[None])[0].tolist()),
        weights=None if weights is None else tuple(weights),
        trial=trial,
        told=told,
    )


def _weights(found: Searched, point: Point) -> dict[str, float]:
    assert point.weights is not None
    return found.held | dict(zip(found.space.names, point.weights, strict=True))


def _others(found: Searched) -> list[float]:
    """Weights that are not searched."""
    return [weight for name, weight in found.held.items() if name not in found.space.names]


def _log(log: Replayed) -> Log:
    return Log(on=log.on, rows=len(log), requests=log.num_requests, fingerprint=log.fingerprint)
