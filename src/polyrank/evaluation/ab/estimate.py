"""A number with its standard error: intervals, p-values and what it could have found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polyrank.errors import ConfigError
from polyrank.evaluation.ab.sequential import always_valid_p, reach
from polyrank.evaluation.ab.student import beyond, two_sided

NOT_PLANNED = "no planned number of users was given"
TOO_EARLY = "too few of the planned users are there yet"
NO_SPREAD = "no user differs from another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Lower and upper bound; both NaN if and only if ``reason`` says why there are none."""

    lower: float
    upper: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated effect.

    Args:
        value: NaN if and only if ``reason`` is set.
        standard_error: 0 where no user differs from another, which gives no interval; NaN with
            ``value``.
        degrees: Of freedom of the standard error.
        alpha: 1 - confidence.
        share: Users so far / users planned; ``None`` without a plan, and there is no interval for
            every look.
        reason: Why there is no estimate.
    """

    value: float
    standard_error: float
    degrees: float
    alpha: float
    share: float | None
    reason: str | None = None

    @property
    def fixed(self) -> Interval:
        """Welch's interval: holds for one look, at a time chosen before."""
        return self._around(self._reach(always=False))

    @property
    def always(self) -> Interval:
        """The interval that holds at all looks together; see ``ab.sequential``."""
        return self._around(self._reach(always=True))

    def interval(self, *, always: bool) -> Interval:
        """``always`` or ``fixed``."""
        return self.always if always else self.fixed

    def p_value(self, null: float = 0.0, *, always: bool) -> float:
        """Two-sided, of the true effect being ``null``; NaN where there is no interval."""
        if isinstance(self._reach(always=always), str):
            return math.nan
        t = (self.value - null) / self.standard_error
        if always and self.share is not None:
            return always_valid_p(t, self.share, self.alpha, self.degrees)
        return two_sided(t, self.degrees)

    def detectable(self, power: float = 0.8, *, always: bool = False) -> float:
        """The smallest true effect whose interval leaves out 0 with a chance of ``power``.

        With ``always``: at this look alone. NaN where there is no interval.

        Raises:
            ConfigError: ``power`` is not within [.5, 1).
        """
        if not 0.5 <= power < 1:
            raise ConfigError(f"`power` must be at least .5 and below 1, got {power}")
        reaches = self._reach(always=always)
        if isinstance(reaches, str):
            return math.nan
        # Of a noncentral t, to 2 % of the effect from 2 degrees on.
        return self.standard_error * (reaches + beyond(2 * (1 - power), self.degrees))

    def _reach(self, *, always: bool) -> float | str:
        """Standard errors to each side, or the reason why there are none."""
        if self.reason is not None:
            return self.reason
        if self.standard_error == 0:
            return NO_SPREAD
        if not always:
            return beyond(self.alpha, self.degrees)
        if self.share is None:
            return NOT_PLANNED
        reaches = reach(self.share, self.alpha, self.degrees)
        return reaches if math.isfinite(reaches) else TOO_EARLY

    def _around(self, reaches: float | str) -> Interval:
        if isinstance(reaches, str):
            return Interval(lower=math.nan, upper=math.nan, reason=reaches)
        half = reaches * self.standard_error
        return Interval(lower=self.value - half, upper=self.value + half)


def no_estimate(reason: str, alpha: float, share: float | None) -> Estimate:
    """Nothing, and why."""
    return Estimate(
        value=math.nan,
        standard_error=math.nan,
        degrees=math.nan,
        alpha=alpha,
        share=share,
        reason=reason,
    )
