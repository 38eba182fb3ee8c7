"""Intervals that hold at every look: Robbins' normal mixture with an estimated variance.

After t users, with a standard error s, the interval is estimate +- s b, where

    b = sqrt(2 (c + 1) / c  log(sqrt(c + 1) / alpha)),    c = t rho²,

is the Gaussian mixture asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of
Statistics 2024, arXiv 2103.06476, Theorem 2.2), with s² = variance / t. It leaves the truth out at
any t with a probability of about alpha, as t grows. rho is theirs for one planned t*, at which b is
smallest: c = -W(-alpha² / e) - 1 with W the lower branch of Lambert's function (their appendix on
the choice of rho). So b depends on the share t / t* alone.

Where we depart: b is taken as a quantile of the normal and replaced by that of Student's t with
the degrees of freedom of s, so that the sequence is never narrower than the interval of one look.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from polyrank.evaluation.ab.student import beyond, two_sided

_NORMAL = NormalDist()
_LEAST = 1e-290


def boundary(share: float, alpha: float) -> float:
    """b: by how many standard errors the interval reaches to each side.

    Args:
        share: Users so far / users planned, above 0; 1 is where b is smallest.
        alpha: Chance of ever leaving out the truth, within (0, 1).
    """
    c = share * planned(alpha)
    return math.sqrt(2 * (c + 1) / c * (math.log(c + 1) / 2 - math.log(alpha)))


def reach(share: float, alpha: float, degrees: float) -> float:
    """``boundary`` with Student's tail of as much probability in place of the normal's.

    Infinite where that probability is less than a float can hold: a first look, far too early.
    """
    tail = math.erfc(boundary(share, alpha) / math.sqrt(2))
    return beyond(tail, degrees) if tail > _LEAST else math.inf


def always_valid_p(t: float, share: float, alpha: float, degrees: float) -> float:
    """The smallest alpha whose sequence, its rho held fixed, leaves out a value ``t`` errors away.

    Args:
        t: Distance in standard errors.
        share: As in ``boundary``.
        alpha: The level that rho was chosen for.
        degrees: Of freedom of the standard error.
    """
    c = share * planned(alpha)
    tail = two_sided(t, degrees) / 2
    if tail >= 0.5:
        return 1.0
    z = _NORMAL.inv_cdf(tail) if tail > 0 else -math.inf
    return min(1.0, math.sqrt(c + 1) * math.exp(-z * z * c / (2 * (c + 1))))


def planned(alpha: float) -> float:
    """c at the planned end: the root above 0 of c = log((c + 1) / alpha²)."""
    c = -2 * math.log(alpha)
    for _ in range(200):
        before, c = c, math.log1p(c) - 2 * math.log(alpha)
        if c == before:
            break
    return c
