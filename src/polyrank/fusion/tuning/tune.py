"""The search itself: ask, replay, remember, and tell what was found.

Shapes: B trials of a batch, P trials, W searched weights, K goals, M objectives, J guardrails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.fusion.base import ValueModel
from polyrank.fusion.demotion import Demotion
from polyrank.fusion.tuning.goals import Goals
from polyrank.fusion.tuning.memo import FILE as MEMO
from polyrank.fusion.tuning.memo import Memo
from polyrank.fusion.tuning.ranking import Ranking, refuse_unscored
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.fusion.tuning.searches import Problem, Told
from polyrank.fusion.tuning.settings import Settings
from polyrank.fusion.tuning.space import Space
from polyrank.storage import RunLock

Floats = NDArray[np.float64]
Progress = Callable[[int], None]
"""Called with the number of trials that are done."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is tuned on what."""

    log: Replayed
    model: ValueModel
    """With the weights to start from."""
    demotion: Demotion | None
    today_N: Floats
    """(N,) how the bundle scores the log by now."""
    today_weights: Mapping[str, float] | None
    """Its weights, where it ranks by a model that has those of ``model``."""
    settings: Settings
    bundle: str
    """Its version."""

    def with_settings(self, settings: Settings) -> Task:
        """The same with others."""
        return replace(self, settings=settings)

    def check_defined(self, log: Replayed) -> None:
        """Refuse rows on which a goal of resolved settings is undefined.

        Raises:
            DataError: One is.
        """
        for each in Goals.of(self.settings, log.schema).measures:
            each.credits(log)


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """Trials, and all that they were measured by."""

    task: Task
    settings: Settings
    """Resolved."""
    space: Space
    ranking: Ranking
    goals: Goals
    weight_PW: Floats
    value_PK: Floats
    seconds: float
    complete: bool

    @property
    def held(self) -> dict[str, float]:
        """Every weight at the start."""
        return dict(self.space.start)

    def values(self, weight_BW: Floats) -> Floats:
        """(B, K) of other weights."""
        return self.ranking.values(self.space.names, weight_BW, self.held)


def search(
    task: Task,
    folder: Path | None = None,
    progress: Progress = lambda done: None,
    *,
    restart: bool = False,
) -> Searched:
    """Try as many weight vectors as the settings say.

    Args:
        task: What is tuned.
        folder: Where trials are kept as they are made, and from which a search goes on that was
            stopped; null: nowhere. It exists.
        progress: Told after each batch.
        restart: Forget the folder's trials, once nothing refuses this search.

    Raises:
        ConfigError: An objective, guardrail or weight that is not there, settings other than those
            of the folder's trials, or a search whose library is not installed.
        DataError: Groups or scores are missing, or an objective is undefined on the log.
    """
    settings = task.settings.resolved(task.log)
    goals = Goals.of(settings, task.log.schema)
    space = Space.of(task.model.tunable, settings)
    model = task.model.tuned(space.start)
    refuse_unscored(task.log, task.today_N)
    ranking = Ranking(task.log, model, task.demotion, goals.measures)
    goals = goals.measured(ranking.meter.of_scores(task.today_N[None])[0])
    trials = _Trials(settings, space, ranking, goals, progress)
    began = time.perf_counter()
    complete = True
    with _memo(folder, task, settings, restart) as memo:
        try:
            trials.run(memo)
        except KeyboardInterrupt:
            complete = False
            if not trials.weights:
                raise
    return Searched(
        task=task,
        settings=settings,
        space=space,
        ranking=ranking,
        goals=goals,
        weight_PW=np.array(trials.weights),
        value_PK=np.array(trials.values),
        seconds=time.perf_counter() - began,
        complete=complete,
    )


class _Trials:
    """Trials as they are made."""

    def __init__(
        self,
        settings: Settings,
        space: Space,
        ranking: Ranking,
        goals: Goals,
        progress: Progress,
    ) -> None:
        self._settings, self._space, self._ranking = settings, space, ranking
        self._goals, self._progress = goals, progress
        self.weights: list[list[float]] = []
        self.values: list[list[float]] = []

    def run(self, memo: Memo | None) -> None:
        """All of them."""
        problem = Problem(
            weights=self._space.names,
            objectives=tuple(goal.name for goal in self._goals.objectives),
            guardrails=tuple(hold.name for hold in self._goals.holds),
            start_W=self._space.start_W,
        )
        asking = self._settings.search.ask(problem, self._settings.seed)
        point_BW = next(asking)
        while True:
            left = self._settings.search.trials - len(self.weights)
            value_BK = self._tried(point_BW[:left], memo)
            self._progress(len(self.weights))
            if len(self.weights) >= self._settings.search.trials:
                return
            point_BW = asking.send(
                Told(self._goals.raised(value_BK), self._goals.relative_slacks(value_BK))
            )

    def _tried(self, point_BW: Floats, memo: Memo | None) -> Floats:
        """(B, K) the values of a batch, from the memo as far as it goes."""
        weight_BW = self._space.weights(point_BW)
        if not self.weights:  # to the bit, whatever rounding says
            weight_BW[0] = [self._space.start[name] for name in self._space.names]
        weights: list[list[float]] = weight_BW.tolist()
        known = []
        if memo is not None:
            first = len(self.weights)
            for place, weight in enumerate(weights):
                values = memo.recall(first + place, weight)
                if values is None:
                    break
                known.append(values)
        fresh = self._fresh(weight_BW[len(known) :])
        if memo is not None:
            for weight, values in zip(weights[len(known) :], fresh, strict=True):
                memo.add(weight, values)
            memo.flush()
        self.weights += weights
        self.values += known + fresh
        return np.array(known + fresh)

    def _fresh(self, weight_BW: Floats) -> list[list[float]]:
        if not len(weight_BW):
            return []
        found: list[list[float]] = self._ranking.values(
            self._space.names, weight_BW, self._space.start
        ).tolist()
        return found


@contextmanager
def _memo(
    folder: Path | None, task: Task, settings: Settings, restart: bool
) -> Iterator[Memo | None]:
    if folder is None:
        yield None
        return
    header: dict[str, Any] = {
        "format": 2,
        "bundle": task.bundle,
        "log": {"rows": len(task.log), "fingerprint": task.log.fingerprint},
        "model": task.model.model_dump(mode="json"),
        "demotion": None if task.demotion is None else task.demotion.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
    }
    with RunLock(folder):
        if restart:
            (folder / MEMO).unlink(missing_ok=True)
        with Memo(folder, header) as memo:
            yield memo
