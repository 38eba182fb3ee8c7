"""Student's t: how far out a value lies, and which value lies so far out.

>>> round(beyond(0.05, 10), 4)
2.2281
>>> round(two_sided(2.2281, 10), 4)
0.05
"""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_MANY = 20
"""Degrees of freedom from which Hill's expansion is used."""
_TINY = 1e-300
_TERMS = 10_000


def two_sided(t: float, degrees: float) -> float:
    """P(|T| >= |t|), in [0, 1].

    Within 1e-8 of itself for |t| up to 5, 1e-3 for |t| up to 30.

    Args:
        t: Any finite number.
        degrees: Degrees of freedom, above 0; infinity is the normal distribution.
    """
    if degrees >= _MANY:
        return math.erfc(_as_normal(t, degrees) / math.sqrt(2))
    return _incomplete_beta(degrees / 2, 0.5, degrees, t * t)


def beyond(tail: float, degrees: float) -> float:
    """The t >= 0 of which ``two_sided`` is ``tail``, within (0, 1]; ``degrees`` as there."""
    t = -_NORMAL.inv_cdf(tail / 2)
    if math.isinf(degrees) or tail == 1:
        return abs(t)
    # The tail is convex and falls: from the left, where the normal's value lies, Newton's steps
    # only ever go right.
    for _ in range(_TERMS):
        step = (two_sided(t, degrees) - tail) / (2 * _density(t, degrees))
        t += step
        if step <= 1e-14 * t:
            break
    return t


def _as_normal(t: float, degrees: float) -> float:
    """The normal value with as much beyond it: G. W. Hill, Algorithm 395 (CACM 13, 1970)."""
    if math.isinf(degrees):
        return abs(t)
    a = degrees - 0.5
    b = 48 * a * a
    z2 = a * math.log1p(t * t / degrees)
    second = (((4 * z2 + 33) * z2 + 240) * z2 + 855) / (10 * b * (b + 0.8 * z2 * z2 + 100))
    return math.sqrt(z2) * (1 + (z2 + 3) / b - second)


def _density(t: float, degrees: float) -> float:
    log_front = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    log_front -= math.log(degrees * math.pi) / 2
    return math.exp(log_front - (degrees + 1) / 2 * math.log1p(t * t / degrees))


def _incomplete_beta(a: float, b: float, degrees: float, square: float) -> float:
    """I_x(a, b) at x = degrees / (degrees + square), which cancels nothing for small squares."""
    x, rest = degrees / (degrees + square), square / (degrees + square)
    if rest == 0:
        return 1.0
    if x == 0:
        return 0.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta, DLMF 8.17.22, by Lentz's method."""
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            value *= c * d
        if abs(value - before) <= 1e-15 * abs(value):
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
