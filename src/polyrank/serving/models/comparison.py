"""How two versions answer the same requests, in memory that does not grow.

Shapes: N candidates of a request.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.serving.models.drift import spearman

Floats = NDArray[np.float64]
MAX_KINDS = 16
"""Kinds of errors that are told apart."""
CROWDED = "too many wait"
_PER_DECADE, _LEAST_SECONDS, _BUCKETS = 20, 1e-6, 180


class Mean:
    """A running mean and its least value; NaN is counted as undefined.

    >>> mean = Mean()
    >>> for value in (1.0, 0.5, float("nan")):
    ...     mean.add(value)
    >>> mean.summary()
    {'mean': 0.75, 'least': 0.5, 'count': 2, 'undefined': 1}
    """

    def __init__(self) -> None:
        self._count, self._undefined, self._mean, self._least = 0, 0, 0.0, math.inf

    def add(self, value: float) -> None:
        """One more."""
        if math.isnan(value):
            self._undefined += 1
            return
        self._count += 1
        self._mean += (value - self._mean) / self._count
        self._least = min(self._least, value)

    def summary(self) -> dict[str, Any]:
        """As JSON values; null where nothing was defined."""
        some = self._count > 0
        return {
            "mean": self._mean if some else None,
            "least": self._least if some else None,
            "count": self._count,
            "undefined": self._undefined,
        }


class Latencies:
    """Counts of seconds, 20 buckets a decade from a microsecond to 1,000 s."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, dtype=np.int64)

    def add(self, seconds: float) -> None:
        """One more."""
        place = math.log10(max(seconds, _LEAST_SECONDS) / _LEAST_SECONDS) * _PER_DECADE
        self._counts[min(int(place), _BUCKETS - 1)] += 1

    def quantile(self, share: float) -> float:
        """Seconds, to 6 %; NaN of none."""
        total = int(self._counts.sum())
        if total == 0:
            return math.nan
        bucket = int(np.searchsorted(np.cumsum(self._counts), share * total))
        return float(_LEAST_SECONDS * 10.0 ** ((bucket + 0.5) / _PER_DECADE))


class Comparison:
    """What is known of a second version beside the first; any thread may add.

    Args:
        top_k: How many of the best candidates of both are compared.
    """

    def __init__(self, top_k: int = 10) -> None:
        self._lock = threading.Lock()
        self._top_k = top_k
        self._correlation, self._overlap = Mean(), Mean()
        self._first, self._second = Latencies(), Latencies()
        self._errors: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()

    def add(self, first_N: Floats, second_N: Floats, first: float, second: float) -> None:
        """Scores of one request's candidates, in the same order, and how many seconds each took."""
        correlation = spearman(first_N, second_N)
        shared = overlap(first_N, second_N, self._top_k)
        with self._lock:
            self._correlation.add(correlation)
            self._overlap.add(shared)
            self._first.add(first)
            self._second.add(second)

    def error(self, kind: str) -> bool:
        """The second version failed; whether for the first time in this way."""
        with self._lock:
            return _counted(self._errors, kind)

    def skip(self, kind: str = CROWDED) -> bool:
        """A request was not compared: too many wait, or the first version failed; whether for the
        first time in this way."""
        with self._lock:
            return _counted(self._skipped, kind)

    @property
    def errors(self) -> int:
        """How often the second version failed."""
        with self._lock:
            return self._errors.total()

    def summary(self) -> dict[str, Any]:
        """As JSON values; a ratio of latencies is that of the second to the first."""
        with self._lock:
            return {
                "score_correlation": self._correlation.summary(),
                f"top_{self._top_k}_overlap": self._overlap.summary(),
                "latency_ratio": {"p50": self._ratio(0.5), "p99": self._ratio(0.99)},
                "errors": dict(self._errors),
                "skipped": self._skipped.total(),
            }

    def _ratio(self, share: float) -> float | None:
        ratio = self._second.quantile(share) / self._first.quantile(share)
        return ratio if ratio == ratio else None


def _counted(counts: Counter[str], kind: str) -> bool:
    kind = kind if kind in counts or len(counts) < MAX_KINDS else "other"
    counts[kind] += 1
    return counts[kind] == 1


def overlap(first_N: Floats, second_N: Floats, top_k: int) -> float:
    """The share of the best ``top_k`` (or all, if fewer) of one that are among those of the other.

    Equal scores keep the given order; NaN comes last; NaN of no candidates.

    >>> overlap(np.array([3.0, 2.0, 1.0]), np.array([3.0, 1.0, 2.0]), 2)
    0.5
    """
    size = min(top_k, len(first_N))
    if size == 0:
        return math.nan
    best = [set(np.argsort(-value_N, kind="stable")[:size]) for value_N in (first_N, second_N)]
    return len(best[0] & best[1]) / size
