"""Whether two distributions differ, by more than chance and by more than one cares about.

The population stability index of shares p (reference) and q (now) is sum (q - p) ln(q / p), the
symmetrised Kullback-Leibler divergence. Without any change, PSI / (1/n + 1/m) is about chi-square
with B - 1 degrees of freedom (Yurdakul, "Statistical properties of the population stability index",
2018), so on average it is (B - 1)(1/n + 1/m): in ten bins of 100 rows each way 0.18, more than the
0.1 at which many start to worry. n and m here are numbers of independent rows
(``Distribution.effective``), not of rows.

Shapes: B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from polyrank.bundle import Distribution, Rate
from polyrank.monitoring.thresholds import LEVELS, Level, Thresholds

LEAST = 5.0
"""Rows expected in a bin, in the smaller of two samples, for it to stand by itself."""
_FAR = 4.0  # standard deviations of a count
_HALF = 0.5  # added to each bin, so that an empty one has a logarithm

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a column has moved."""

    name: str
    part: str
    psi: float
    """Of bins of which each has some rows; NaN: ``reason`` says why."""
    noise: float
    """What it would be on average without any change."""
    bound: float
    """What it would exceed by chance in a share ``chance`` of logs, over all columns."""
    largest: float
    """The largest change of a bin's share (L-infinity)."""
    where: str
    """That bin, in words."""
    level: Level = "quiet"
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rise:
    """A share of missing or unseen values, before and now."""

    name: str
    part: str
    what: str
    """``missing`` or ``unseen``."""
    before: float
    now: float
    bound: float
    """A rise that chance may explain."""
    level: Level = "quiet"


def psi(p_B: Floats, q_B: Floats) -> float:
    """sum (q - p) ln(q / p) of positive shares.

    >>> import numpy as np
    >>> round(psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)  # 0.25 ln 2 + 0.25 ln 1.5
    0.2747
    """
    return float(np.sum((q_B - p_B) * np.log(q_B / p_B)))


def compare(before: Distribution, now: Distribution, limits: Thresholds, tests: int) -> Drift:
    """The change from one distribution to another in the same bins.

    Args:
        before: The reference.
        now: What is watched.
        limits: When a change is called one.
        tests: How many such questions are asked of the log, which share ``limits.chance``.
    """
    count_2B, names = _bins(before, now)
    size_2 = np.array([_effective(before), _effective(now)])
    if count_2B.sum(axis=1).min() == 0 or size_2.min() < 2:
        return _silent(now, "no value to compare with")
    share_2B = count_2B / count_2B.sum(axis=1, keepdims=True)
    change_B = share_2B[1] - share_2B[0]
    place = int(np.abs(change_B).argmax())
    merged_2B = share_2B @ _merging(share_2B, size_2, before.kind)
    num_bins = merged_2B.shape[1]
    if num_bins < 2:
        return _silent(now, "all rows are in one bin, or too few to tell bins apart")
    scale = float((1 / size_2).sum())
    smooth_2B = (merged_2B * size_2[:, None] + _HALF) / (size_2[:, None] + _HALF * num_bins)
    value = psi(smooth_2B[0], smooth_2B[1])
    noise = (num_bins - 1) * scale
    bound = chi_square(num_bins - 1, limits.chance / tests) * scale
    found = value - noise if value > bound else 0.0
    return Drift(
        name=now.name,
        part=now.part,
        psi=value,
        noise=noise,
        bound=bound,
        largest=float(np.abs(change_B).max()),
        where=names[place],
        level=level(found, limits.psi_note, limits.psi_alarm),
    )


def rise(
    column: Distribution, what: str, before: Rate, now: Rate, limits: Thresholds, tests: int
) -> Rise:
    """How a share of missing or unseen values rose; a fall is none."""
    num_before, num_now = max(before.effective, 1.0), max(now.effective, 1.0)
    change = now.share - before.share
    pooled = (before.share * num_before + now.share * num_now) / (num_before + num_now)
    spread = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / num_before + 1 / num_now))
    z = -NormalDist().inv_cdf(limits.chance / tests)
    bound = z * spread + _HALF * (1 / num_before + 1 / num_now)
    return Rise(
        name=column.name,
        part=column.part,
        what=what,
        before=before.share,
        now=now.share,
        bound=bound,
        level=level(change if change > bound else 0.0, limits.rate_note, limits.rate_alarm),
    )


def level(value: float, note: float, alarm: float) -> Level:
    """How loud a value is; 0 is quiet."""
    if value <= 0:
        return LEVELS[0]
    return LEVELS[(value >= note) + (value >= alarm)]


def chi_square(degrees: int, tail: float) -> float:
    """The value that chi-square exceeds with probability ``tail``; from 3 degrees of freedom on
    within 8 % for tails from 1e-6 to 0.1, 1 % from 1e-3 (Wilson and Hilferty, PNAS 17, 1931).

    >>> round(chi_square(9, 0.05), 1), round(chi_square(9, 0.001), 1)
    (16.9, 28.1)
    """
    if degrees == 1:
        return NormalDist().inv_cdf(tail / 2) ** 2
    if degrees == 2:
        return -2 * math.log(tail)
    z = -NormalDist().inv_cdf(tail)
    ninth = 2 / (9 * degrees)
    return float(degrees * (1 - ninth + z * math.sqrt(ninth)) ** 3)


def bin_names(column: Distribution) -> list[str]:
    """What each bin holds, in words; the last is of missing values."""
    if column.kind == "category":
        return [*column.values, "other", "missing"]
    if not column.edges:
        return ["any", "missing"]
    told = [f"{edge:.4g}" for edge in column.edges]
    between = [f"{low} to {high}" for low, high in pairwise(told)]
    return [f"up to {told[0]}", *between, f"above {told[-1]}", "missing"]


def shares(column: Distribution) -> Floats:
    """(B,) of rows by bin, missing ones last where a row has one value; of values else."""
    count_B = np.array([*column.counts, _missing(column)], dtype=np.float64)
    share_B: Floats = count_B / max(float(count_B.sum()), 1.0)
    return share_B


def _bins(before: Distribution, now: Distribution) -> tuple[Floats, list[str]]:
    """(2, B) counts, with a bin of missing values."""
    rows = [[*each.counts, _missing(each)] for each in (before, now)]
    return np.array(rows, dtype=np.float64), bin_names(before)


def _missing(column: Distribution) -> int:
    """None of columns whose rows have several values: of those a missing row is no value."""
    one_each = column.missing.of == column.total + column.missing.count
    return column.missing.count if one_each else 0


def _effective(column: Distribution) -> float:
    """Of all bins together: rows times how much one of them tells."""
    if not column.total:
        return column.missing.effective
    return column.effective * (1 + _missing(column) / column.total)


def _merging(share_2B: Floats, size_2: Floats, kind: str) -> Floats:
    """(B, B') which bins become which, so that each has enough rows.

    Numbers: neighbours go together, from the left. Categories: small ones join the others. Bins
    that are empty on both sides are left out.
    """
    used = [int(place) for place in np.flatnonzero(share_2B.max(axis=0))]
    groups: list[list[int]] = []
    if kind == "category":
        alone = [place for place in used if _is_enough(share_2B[:, place], size_2)]
        rest = [place for place in used if place not in alone]
        groups = [[place] for place in alone]
        groups += [rest] if rest else []
    else:
        for place in used:
            if not groups or _is_enough(share_2B[:, groups[-1]].sum(axis=1), size_2):
                groups.append([])
            groups[-1].append(place)
    if len(groups) > 1 and not _is_enough(share_2B[:, groups[-1]].sum(axis=1), size_2):
        last = groups.pop()
        groups[-1] += last
    matrix = np.zeros((share_2B.shape[1], len(groups)))
    for column, places in enumerate(groups):
        matrix[places, column] = 1.0
    return matrix


def _is_enough(share_2: Floats, size_2: Floats) -> bool:
    """Whether a bin can stand by itself: ``LEAST`` rows are expected without a change, or one side
    has so many more than the other that chance does not explain it.

    That a bin has many rows on one side alone says nothing: those would be chosen that came out
    large by chance.
    """
    size = float(size_2.min())
    if float(share_2 @ size_2) / float(size_2.sum()) * size >= LEAST:
        return True
    few, many = sorted(float(share) * size for share in share_2)
    return many >= max(LEAST, few + _FAR * math.sqrt(few) + _FAR)


def _silent(column: Distribution, reason: str) -> Drift:
    nan = math.nan
    return Drift(
        name=column.name,
        part=column.part,
        psi=nan,
        noise=nan,
        bound=nan,
        largest=nan,
        where="",
        reason=reason,
    )
