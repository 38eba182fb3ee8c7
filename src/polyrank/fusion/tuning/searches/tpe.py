"""The tree-structured Parzen estimator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from polyrank.fusion.tuning.searches._optuna import asking
from polyrank.fusion.tuning.searches.base import Asking, Problem, Search, Told


class TPE(Search):
    """Points where good ones are dense and others are not (Bergstra et al., NeurIPS 2011), for
    several objectives by Ozaki et al. (GECCO 2020); Optuna's. Needs the extra ``tune``.

    It takes tens of milliseconds to think of a point, longer the more there are: for few trials.
    """

    kind: Literal["tpe"] = "tpe"
    trials: PositiveInt = 300
    startup: Annotated[int, Field(ge=1)] = 30
    """Points anywhere before it begins."""

    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        yield from asking(
            "TPE",
            problem,
            start,
            1,
            lambda samplers: samplers.TPESampler(n_startup_trials=self.startup, seed=seed),
        )
