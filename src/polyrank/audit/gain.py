"""What sharing gains, over paired runs of a few seeds and a sample of users.

The difference of seed s on the users at hand is, to first order,

    d_s = gain + a_s + b + c_s,    variances alpha, beta, gamma,

with a_s of the seed (the same on all users), b of the users (the same for all seeds) and c_s of
both. The estimate is the mean over S seeds, of variance (alpha + gamma) / S + beta. So:

- V = s² / S + beta. The variance s² of the d_s between seeds estimates alpha + gamma with S - 1
  degrees of freedom; it holds no b, which all seeds share.
- beta is the covariance of two seeds' differences over draws of users, the mean over all pairs of
  seeds: c_s of different seeds are independent. From replicates d_sr of a bootstrap of users, that
  is (S Var_r(mean_s d_sr) - mean_s Var_r(d_sr)) / (S - 1), times U / (U - 1), and at least 0.
- (gain's estimate - gain) / sqrt(V) is taken as Student's t with the degrees of freedom that match
  the variance of V (Satterthwaite, Biometrics 1946): V² / ((s²/S)² / (S - 1) + beta² / (U - 1)).

Why not draw seeds in the bootstrap, too: drawing 5 of 5 gives (S - 1) / S of their variance and
nothing of t's tails. Where seeds make most of the difference, such intervals of 95 % hold the truth
in 83 % (`python -m tests.audit.verdict_rates`).

Shapes: S seeds, R replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.audit.plain import Plain
from polyrank.errors import ConfigError
from polyrank.evaluation.ab.student import beyond, two_sided

Floats = NDArray[np.float64]

MAX_UNDEFINED = 0.05
"""Share of replicates that may lack a value, as in the intervals of an evaluation."""
ONE_SEED = "one seed alone has both runs, and what another seed would change is not known"
FEW_UNITS = "fewer than 2 users to draw from"
NO_SEED = "no seed has all runs"
UNDEFINED = "the metric is undefined in a run"


@dataclass(frozen=True, kw_only=True)
class Gain(Plain):
    """An estimated gain, above 0 where sharing is better.

    Args:
        value: Mean over the seeds; None where it is undefined.
        error: Its standard error over seeds and users; None where that is undefined.
        degrees: Of freedom of the error.
        seed_variance: s², of one seed's difference, its users held fixed; None of one seed.
        user_variance: beta; of one seed with gamma.
        seeds: S.
        reason: Why there is no value or no error.
    """

    value: float | None
    error: float | None
    degrees: float | None
    seed_variance: float | None
    user_variance: float | None
    seeds: int
    reason: str | None = None

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """Bounds that leave the gain out with a chance of alpha; None without an error."""
        if self.value is None or self.error is None or self.degrees is None:
            return None
        half = beyond(alpha, self.degrees) * self.error
        return self.value - half, self.value + half

    def p_value(self, null: float = 0.0) -> float | None:
        """Two-sided, of the gain being ``null``; None without an error."""
        if self.value is None or self.error is None or self.degrees is None:
            return None
        distance = self.value - null
        if self.error == 0:
            return 1.0 if distance == 0 else 0.0
        return two_sided(distance / self.error, self.degrees)

    def detectable(
        self, alpha: float, power: float = 0.8, *, seeds: int | None = None
    ) -> float | None:
        """The smallest true gain or loss whose interval leaves out 0 with a chance of ``power``.

        Args:
            alpha: Of the interval.
            power: In [.5, 1).
            seeds: What it would be with so many seeds and the variances seen here, at least 2.

        Raises:
            ConfigError: A setting out of range.
        """
        if not 0.5 <= power < 1:
            raise ConfigError(f"`power` must be at least .5 and below 1, got {power}")
        if seeds is not None and seeds < 2:
            raise ConfigError(f"`seeds` must be at least 2, got {seeds}")
        found = self._error(seeds)
        if found is None:
            return None
        error, degrees = found
        return error * (beyond(alpha, degrees) + beyond(2 * (1 - power), degrees))

    def _error(self, seeds: int | None) -> tuple[float, float] | None:
        if self.error is None or self.degrees is None:
            return None
        if seeds is None:
            return self.error, self.degrees
        if self.seed_variance is None or self.user_variance is None:
            return None
        return combine(self.seed_variance / seeds, seeds - 1, self.user_variance, math.inf)


def gain_of(differences_S: Floats, draws_SR: Floats, units: int) -> Gain:
    """The gain of paired runs.

    Args:
        differences_S: By seed, of the metric on all users; above 0 is better.
        draws_SR: The same on draws of users, of which all seeds see the same.
        units: Users that were drawn from.
    """
    seeds = len(differences_S)
    if seeds == 0 or np.isnan(differences_S).any():
        return _without_error(None, seeds, UNDEFINED if seeds else NO_SEED)
    value = float(differences_S.mean())
    if seeds < 2:
        return _without_error(value, seeds, ONE_SEED)
    reason, kept_SR = defined(draws_SR, units)
    if reason is not None:
        return _without_error(value, seeds, reason)
    between = float(differences_S.var(ddof=1))
    of_mean = float(kept_SR.mean(axis=0).var(ddof=1))
    of_each = float(kept_SR.var(axis=1, ddof=1).mean())
    users = max(0.0, (seeds * of_mean - of_each) / (seeds - 1)) * units / (units - 1)
    error, degrees = combine(between / seeds, seeds - 1, users, units - 1)
    return Gain(
        value=value,
        error=error,
        degrees=degrees,
        seed_variance=between,
        user_variance=users,
        seeds=seeds,
    )


def gain_of_users(difference: float, draws_R: Floats, units: int) -> Gain:
    """What one seed gained, with the error of users alone: too small, as another seed may gain
    something else.

    Args:
        difference: As in ``gain_of``.
        draws_R: Of one seed.
        units: Users that were drawn from.
    """
    if math.isnan(difference):
        return _without_error(None, 1, UNDEFINED)
    reason, kept_SR = defined(draws_R[None, :], units)
    if reason is not None:
        return _without_error(difference, 1, reason)
    users = float(kept_SR.var(ddof=1)) * units / (units - 1)
    return Gain(
        value=difference,
        error=math.sqrt(users),
        degrees=units - 1,
        seed_variance=None,
        user_variance=users,
        seeds=1,
    )


def defined(draws_SR: Floats, units: int) -> tuple[str | None, Floats]:
    """Replicates that have a value for every seed, or the reason why they are too few."""
    if units < 2:
        return FEW_UNITS, draws_SR
    kept_R = np.atleast_1d(~np.isnan(draws_SR).any(axis=0))
    missing = len(kept_R) - int(kept_R.sum())
    if missing > MAX_UNDEFINED * len(kept_R) or len(kept_R) - missing < 2:
        return f"undefined in {missing} of {len(kept_R)} draws of users", draws_SR
    return None, draws_SR[:, kept_R]


def combine(one: float, degrees: float, other: float, others: float) -> tuple[float, float]:
    """Standard error of two independent parts, and Satterthwaite's degrees of freedom."""
    total = one + other
    slack = one * one / degrees + other * other / others
    return math.sqrt(total), total * total / slack if slack > 0 else degrees


def _without_error(value: float | None, seeds: int, reason: str) -> Gain:
    return Gain(
        value=value,
        error=None,
        degrees=None,
        seed_variance=None,
        user_variance=None,
        seeds=seeds,
        reason=reason,
    )
