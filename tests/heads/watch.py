"""Watch times: what the training split shows of them, and labels cut off at random.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data import TargetStats
from polyrank.data.encoding.distribution import quantiles_of
from polyrank.data.layout import LengthGroups
from polyrank.schema import Duration

DAY = 86_400.0
Floats = NDArray[np.float64]


def quantiles(steps: int, shift: float = 0.0) -> tuple[float, ...]:
    """One in eight is 0, one in eight 30 s, and there is a long tail up to a day."""
    ranks = [(step + 0.5) / (steps + 1) for step in range(steps + 1)]
    tail = [float(np.exp(2 + shift + 1.2 * NormalDist().inv_cdf(rank))) for rank in ranks]
    found = sorted(
        0.0 if rank < 1 / 8 else 30.0 if 1 / 2 <= rank < 5 / 8 else time
        for rank, time in zip(ranks, tail, strict=True)
    )
    return (*found[:-1], DAY)


SHOWN = TargetStats(
    mean=2.0,
    std=1.5,
    count=5000,
    quantiles=quantiles(512),
    groups=LengthGroups(
        edges=(10.0, 60.0), quantiles=(quantiles(128, -1), quantiles(128), quantiles(128, 1))
    ),
)
TASK = Duration(name="t", unit="ms", length="length")
CUT = Duration(name="t", unit="ms", censored="cut")
WATCH_CASES: dict[str, tuple[Any, TargetStats, list[float], tuple[float, float]]] = {
    kind: (task, SHOWN, [0.0, 30_000.0, 61_802.0, 1000 * DAY], (0.0, 1000 * DAY))
    for kind, task in (("d2q", TASK), ("tpm", CUT), ("cread", CUT))
}
"""For the contract of heads: task, what training shows, valid labels, range of predictions."""


def stats_of_bounds(seconds: Floats, censored: NDArray[np.bool_]) -> TargetStats:
    """As the encoders have it of labels some of which are lower bounds."""
    logs = np.log1p(seconds)
    at = quantiles_of(seconds, np.ones(len(seconds)), censored, 512)
    return TargetStats(
        mean=float(logs.mean()),
        std=float(logs.std()),
        count=len(seconds),
        quantiles=tuple(at.tolist()),
    )


def slow_ranks(knots: Sequence[float], time: float) -> tuple[float, float]:
    """The shares below a time and up to it, read off the quantiles one by one."""
    last = len(knots) - 1
    at = [place for place, knot in enumerate(knots) if knot == time]
    if at:
        return at[0] / last, at[-1] / last
    if time < knots[0] or time > knots[-1]:
        return (0.0, 0.0) if time < knots[0] else (1.0, 1.0)
    for place, (low, high) in enumerate(pairwise(knots)):
        if low < time < high:
            rank = (place + (time - low) / (high - low)) / last
            return rank, rank
    raise AssertionError(f"{time} is nowhere")


def slow_time(knots: Sequence[float], rank: float) -> float:
    """The time at a rank."""
    last = len(knots) - 1
    place = min(int(rank * last), last - 1)
    return knots[place] + (knots[place + 1] - knots[place]) * (rank * last - place)


def slow_mean(knots: Sequence[float], low: float, high: float) -> float:
    """The mean time of the ranks between, by many small steps."""
    steps = 4000
    inside = (low + (high - low) * (step + 0.5) / steps for step in range(steps))
    return sum(slow_time(knots, rank) for rank in inside) / steps
