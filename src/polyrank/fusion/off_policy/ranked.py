"""Lists that were drawn with known chances, and what they tell of another ranking.

Shapes: N rows, M of them within the places asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy.lists import Lists, PlackettLuce
from polyrank.fusion.off_policy.logged import WHERE, Logged

Floats = NDArray[np.float64]
Over = Literal["prefix", "place"]
LARGEST = 600.0
"""Log of the largest importance that is kept apart: no estimate rests on one such row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedLog:
    """Whole lists with the chance of each item in its place given those above it.

    A row of the estimate is a place of a list; a value is the mean reward of such a place. With
    ``over="prefix"`` its importance is the product of the ratios of chances from place 1 to its
    own (per-decision importance sampling, Precup et al., ICML 2000; of ranked lists RIPS, McInerney
    et al., KDD 2020). It is unbiased where the reward of a place depends on what stands there and
    above, and not on what stands below.

    With ``over="place"`` it is the ratio of the place alone. That tells of lists which the policy
    that logged fills down to a place and the new one at that place: the value of one change at a
    time, and of the new policy only at place 1. It has far less noise.

    With ``model_N`` the doubly robust estimate of a place adds to the residual, times the
    importance of the place, the model's mean over what the new policy could put there given those
    above, times their importance (Jiang and Li, ICML 2016; Cascade-DR of Kiyohara et al., WSDM
    2022, with a model of a place's own reward): unbiased whatever the model.

    Raises:
        ConfigError: ``places`` is below 1.
        DataError: A list is not whole, lengths differ, a propensity is outside of (0, 1], or a
            reward within the places is unknown.
    """

    request_N: NDArray[np.int64]
    place_N: Floats
    """From 1."""
    propensity_N: Floats
    reward_N: Floats
    """Beyond ``places`` it may be NaN."""
    places: int = 1
    """The first ones of a list, whose rewards count."""
    over: Over = "prefix"
    weight_N: Floats | None = None
    cluster_N: NDArray[Any] | None = None
    """Users; null: the lists."""
    model_N: Floats | None = None
    """A reward model's prediction for every row, fitted on other rows."""

    def __post_init__(self) -> None:
        if self.places < 1:
            raise ConfigError(f"`places` must be at least 1, got {self.places}", where=WHERE)
        for name in ("place", "propensity", "reward", "weight", "cluster", "model"):
            column_N = getattr(self, f"{name}_N")
            if column_N is not None and np.shape(column_N) != self.request_N.shape:
                raise DataError(
                    f"`{name}_N` has shape {np.shape(column_N)}, but there are "
                    f"{len(self.request_N):,} rows",
                    where=WHERE,
                    hint="Give one value for each row.",
                )
        good_N = (self.propensity_N > 0) & (self.propensity_N <= 1)
        if not good_N.all():
            raise DataError(
                f"propensities must be above 0 and at most 1, got "
                f"{self.propensity_N[~good_N][0]:g} in {int((~good_N).sum()):,} of "
                f"{len(good_N):,} rows",
                where=WHERE,
                hint="Leave their lists out, or log the chance of each item in its place.",
            )
        assert self.lists.num_rows == len(self.request_N)

    @cached_property
    def lists(self) -> Lists:
        """The rows by list and place."""
        return Lists.of(self.request_N, self.place_N)

    @property
    def inside_N(self) -> NDArray[np.bool_]:
        """(N,) the M rows whose rewards count."""
        return np.asarray(self.place_N <= self.places)

    def under(self, score_N: Floats, policy: PlackettLuce) -> Logged:
        """The M rows with their importance under a ranking by ``score_N``.

        The ratio stands as ``target_N``, a density in units of the policy that logged, since the
        chance of a long list is no float64.
        """
        log_chance_N = self.lists.log_chances(policy.utilities(self.lists, score_N))
        log_ratio_N = log_chance_N - np.log(self.propensity_N)
        whole_N = log_ratio_N if self.over == "place" else self.lists.summed(log_ratio_N)
        model_N = model_target_N = None
        if self.model_N is not None:
            mean_N = self.lists.expected(log_chance_N, self.model_N)
            model_N = self.model_N
            model_target_N = self._above(log_ratio_N) * mean_N
        return self._logged(_importance(whole_N), model_N, model_target_N)

    def as_logged(self) -> Logged:
        """The M rows under the policy that logged."""
        return self._logged(np.ones(len(self.request_N)), None, None)

    def _above(self, log_ratio_N: Floats) -> Floats:
        """(N,) importance of what stands above a row."""
        if self.over == "place":
            return np.ones(len(log_ratio_N))
        above_N = np.zeros(len(log_ratio_N))
        total_N = self.lists.summed(log_ratio_N)
        for rows_RL in self.lists.blocks:
            rows_RM = rows_RL[:, 1:]
            inside_RM = rows_RM >= 0
            above_N[rows_RM[inside_RM]] = total_N[rows_RL[:, :-1][inside_RM]]
        return _importance(above_N)

    def _logged(
        self, importance_N: Floats, model_N: Floats | None, model_target_N: Floats | None
    ) -> Logged:
        inside_N = self.inside_N
        cluster_N = self.request_N if self.cluster_N is None else self.cluster_N
        return Logged(
            reward_N=self.reward_N[inside_N],
            propensity_N=np.ones(int(inside_N.sum())),
            target_N=importance_N[inside_N],
            weight_N=None if self.weight_N is None else self.weight_N[inside_N],
            cluster_N=cluster_N[inside_N],
            model_N=None if model_N is None else model_N[inside_N],
            model_target_N=None if model_target_N is None else model_target_N[inside_N],
            place_N=self.place_N[inside_N].astype(np.int64),
            densities=True,
        )


def _importance(log_N: Floats) -> Floats:
    return np.asarray(np.exp(np.minimum(log_N, LARGEST)))
