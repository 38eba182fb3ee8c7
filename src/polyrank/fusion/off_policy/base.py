"""The seam of off-policy estimators: logged decisions in, another policy's mean reward out.

Shapes: N rows, C clusters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.errors import ConfigError, DataError, counted
from polyrank.fusion.off_policy.logged import WHERE, Logged
from polyrank.fusion.off_policy.mean import Mean, kish
from polyrank.schema import Declared

Floats = NDArray[np.float64]
MORE = "Log more rows, explore more in logging, or ask for a policy nearer to the one that logged."
ERRORS_OFF = 5.0
"""So many standard errors may the mean importance stand away from 1 (importances are skewed, and
their errors are told too small where the mean is low),"""
SHARE_OFF = 0.01
"""and this much more, for propensities that were rounded."""


@dataclass(frozen=True)
class Estimate:
    """What the new policy would have earned a row, in the reward's unit."""

    value: float
    lower: float
    """Of the interval that holds the true value with the estimator's ``confidence``."""
    upper: float
    effective_rows: float
    """(sum of weight x importance)² / sum of (weight x importance)² (Kish, 1965): so many rows that
    the new policy logged by itself would tell about as much."""
    rows: int
    """Of positive weight."""
    clipped_share: float
    """Share of the weight in rows whose importance was cut; 0 of estimators that cut none."""
    method: str
    """``kind`` of the estimator."""


@dataclass(frozen=True)
class Difference:
    """What one policy would have earned a row beyond another, on the same log."""

    value: float
    lower: float
    """Of the interval, from the paired moves of the two means; NaN where there is ``reason``."""
    upper: float
    reason: str | None = None
    """Why there is no interval."""


class Estimator(Declared, ABC):
    """How importances become an estimate, and when there is too little to say anything.

    Refused are a log on which the importances rest on fewer than ``min_effective`` rows, or
    clusters where they are given; one on which the value itself does (hardly any event among the
    rows that the new policy would choose); and one whose importances do not average 1. They do
    wherever the log may take each action that the new policy may: else the part of the new policy
    that lies outside of the log has no rows at all, and no weight makes up for them. Where rows
    are of several places (``Logged.place_N``), each of them has to pass by itself.
    """

    kind: str
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Of the interval, which is normal: it needs ``min_effective``."""
    min_effective: Annotated[float, Field(ge=2)] = 100.0
    """The least effective rows, or clusters, that anything is said from."""

    def estimate(self, logged: Logged) -> Estimate:
        """The new policy's mean reward a row.

        Raises:
            ConfigError: The estimator needs what ``logged`` lacks.
            DataError: The overlap is too small to say anything; the message has the numbers.
        """
        importance_N = self._importance(logged)
        for told, here_N in logged.by_place():
            effective = kish(logged.sums(logged.weights_N * importance_N * here_N))
            self._refuse_few(effective, f"importances{told} rest")
        refuse_uncovered(logged)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._mean(logged)
            lower, upper = self._interval(found, *self._ends(logged))
            effective = found.effective
        if not np.isfinite([found.value, lower, upper]).all():
            raise DataError(
                f"the estimate is not finite: {found.value:g} ({lower:g} to {upper:g})",
                where=WHERE,
                hint="Give rewards in a larger unit.",
            )
        self._refuse_few(effective, "differences in reward rest")
        cut_N = importance_N < logged.importance_N
        return Estimate(
            value=found.value,
            lower=lower,
            upper=upper,
            effective_rows=kish(logged.weights_N * importance_N),
            rows=len(logged),
            clipped_share=float(np.average(cut_N, weights=logged.weights_N)),
            method=self.kind,
        )

    def difference(self, new: Logged, old: Logged | None = None) -> Difference:
        """What the policy of ``new`` would have earned a row beyond that of ``old``.

        Both see the same rows, so what makes a request rich under either is not in the interval.
        Neither is checked for overlap again: ``estimate`` does that.

        Args:
            new: The rows with the chances of one policy.
            old: The same rows with those of the other; null: the policy that logged, whose value is
                the mean logged reward.

        Raises:
            ConfigError: They are not the same rows, or the estimator needs what they lack.
        """
        if old is not None:
            _require_same(new, old)
        base = Mean.of(new, new.reward_N)
        found = self._mean(new).less(base if old is None else self._mean(old))
        lowest, highest = self._ends(new)
        low, high = (base, base) if old is None else self._ends(old)
        if 0 < found.effective < self.min_effective:
            reason = (
                f"the policies differ in reward on {found.effective:.1f} effective rows or "
                f"clusters, fewer than `min_effective` {self.min_effective:g}"
            )
            return Difference(found.value, math.nan, math.nan, reason)
        lower, upper = self._interval(found, lowest.less(high), highest.less(low))
        return Difference(found.value, lower, upper)

    def logged_mean(self, logged: Logged) -> Estimate:
        """The mean logged reward a row, with an interval of this confidence; nothing is refused."""
        mean = Mean.of(logged, logged.reward_N)
        lower, upper = self._interval(mean, mean, mean)
        return Estimate(
            value=mean.value,
            lower=lower,
            upper=upper,
            effective_rows=kish(logged.weights_N),
            rows=len(logged),
            clipped_share=0.0,
            method="logged",
        )

    @abstractmethod
    def _mean(self, logged: Logged) -> Mean:
        """The value."""

    def _importance(self, logged: Logged) -> Floats:
        """(N,) the importances that it uses."""
        return logged.importance_N

    def _ends(self, logged: Logged) -> tuple[Mean, Mean]:
        """What the value is at least, and at most, but for noise."""
        found = self._mean(logged)
        return found, found

    def _interval(self, found: Mean, lowest: Mean, highest: Mean) -> tuple[float, float]:
        """Normal ones around both ends, and all between; it holds the value itself."""
        reach = NormalDist().inv_cdf((1 + self.confidence) / 2)
        return (
            min(found.value, lowest.value - reach * lowest.error),
            max(found.value, highest.value + reach * highest.error),
        )

    def _refuse_few(self, effective: float, what: str) -> None:
        if effective < self.min_effective:
            raise DataError(
                f"{what} on {effective:.1f} effective rows or clusters, fewer than "
                f"`min_effective` {self.min_effective:g}",
                where=f"{WHERE}: {self.kind}",
                hint=MORE,
            )


def refuse_uncovered(logged: Logged) -> None:
    """Refuse importances that do not average 1, at any place.

    Raises:
        DataError: They stand more than 5 standard errors and 0.01 away from it.
    """
    for told, here_N in logged.by_place():
        mean = Mean.of(logged, logged.importance_N * here_N, here_N)
        if abs(mean.value - 1) > ERRORS_OFF * mean.error + SHARE_OFF:
            _refuse(mean, told, int(here_N.sum()))


def _refuse(mean: Mean, told: str, num_rows: int) -> None:
    numbers = f"{mean.value:.3f} (standard error {mean.error:.3f}) over {counted(num_rows, 'row')}"
    if mean.value < 1:
        what = f"the new policy lies partly outside of the log: importances{told} average {numbers}"
        hint = "Explore more in logging, or ask for a policy that takes only what the log may take."
    else:
        what = f"rows are missing: importances{told} average {numbers}"
        hint = "Give every decision, also those that the new policy would never take."
    raise DataError(
        f"{what}, where the average must be 1",
        where=WHERE,
        hint=f"{hint} Or are the propensities not those of the policy that logged?",
    )


def _require_same(new: Logged, old: Logged) -> None:
    same = all(
        np.array_equal(getattr(new, name), getattr(old, name))
        for name in ("reward_N", "weights_N", "cluster_N", "place_N")
    )
    if not same:
        raise ConfigError(
            "the two policies are given on different rows",
            where=WHERE,
            hint="Give the same rewards, weights, clusters and places in the same order.",
        )
