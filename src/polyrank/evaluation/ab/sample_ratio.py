"""Did each arm get its share of the users? If not, the arms differ in more than what is tested.

>>> round(sample_ratio([5_100, 4_900], [0.5, 0.5]).p_value, 4)
0.0455
>>> sample_ratio([5_200, 4_800], [0.5, 0.5]).mismatch
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from polyrank.errors import ConfigError, DataError

LEVEL = 0.001
"""Below this p-value nothing is concluded: one sound experiment in a thousand is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Pearson's chi-square test of the counts of users.

    Args:
        counts: Users by arm.
        expected: Users by arm if each got its share.
        p_value: Chance of counts at least as far from the shares.
    """

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float

    @property
    def mismatch(self) -> bool:
        """Whether the p-value lies below ``LEVEL``."""
        return self.p_value < LEVEL


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Compare counts of users with the shares they were to have.

    Args:
        counts: Users by arm, two arms at least.
        shares: Positive, in any unit: (1, 1) and (.5, .5) are the same.

    Raises:
        ConfigError: Not one positive share for each arm.
        DataError: No users at all.
    """
    if len(shares) != len(counts) or len(shares) < 2:
        raise ConfigError(f"`shares` must be one for each of {len(counts)} arms, got {shares}")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise ConfigError(f"`shares` must be finite and above 0, got {shares}")
    users = sum(counts)
    if users == 0:
        raise DataError("no arm has a user", hint="give each arm the users assigned to it")
    expected = tuple(users * share / sum(shares) for share in shares)
    chi2 = sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))
    p_value = _tail(chi2, len(counts) - 1)
    return SampleRatio(counts=tuple(counts), expected=expected, p_value=p_value)


def _tail(chi2: float, degrees: int) -> float:
    """P(X >= chi2): for whole degrees of freedom a finite sum (Abramowitz and Stegun 26.4.4-5)."""
    half = chi2 / 2
    odd = degrees % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    power = 0.5 if odd else 0.0
    while power < degrees / 2:
        if half > 0:
            total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
        elif power == 0:
            total += 1.0
        power += 1
    return min(1.0, total)
