"""What happened lately, for the console: latencies, scores, and requests to try again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.serving.http import Finished

KEPT_REQUESTS = 1_000
KEPT_SCORES = 5_000
"""Of a model and of each task."""
KEPT_BODIES = 20
MAX_BODY = 1 << 16
"""Bytes of a request that is kept whole."""
BINS = 30
WINDOW = 60.0
"""Seconds that latencies are told of."""
QUANTILES = (0.5, 0.9, 0.99)


class Recent:
    """The last requests; any number of threads may tell and ask.

    Args:
        bodies: Whether requests are kept to be tried again; they hold what clients sent.
    """

    def __init__(self, *, bodies: bool) -> None:
        self._lock = threading.Lock()
        self._finished: deque[tuple[float, Finished]] = deque(maxlen=KEPT_REQUESTS)
        self._values: dict[str, dict[str, deque[float]]] = {}
        self._bodies: dict[str, deque[bytes]] | None = {} if bodies else None

    def finished(self, finished: Finished) -> None:
        """Tell of a request that is over."""
        with self._lock:
            self._finished.append((monotonic(), finished))

    def ranked(
        self,
        model: str,
        body: bytes,
        score_N: NDArray[np.float64],
        predictions: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Tell of a ranking."""
        with self._lock:
            values = self._values.setdefault(model, {})
            for name, value_N in {"score": score_N, **predictions}.items():
                kept = values.setdefault(name, deque(maxlen=KEPT_SCORES))
                kept.extend(value_N[:KEPT_SCORES].tolist())
            if self._bodies is not None and len(body) <= MAX_BODY:
                self._bodies.setdefault(model, deque(maxlen=KEPT_BODIES)).append(body)

    def bodies(self, model: str) -> list[bytes]:
        """The last rankings asked of a model, the newest first; none where they are not kept."""
        with self._lock:
            found = [] if self._bodies is None else list(self._bodies.get(model, ()))
        return found[::-1]

    def stats(self) -> dict[str, Any]:
        """Latencies of the last minute by route, in milliseconds, and the spread of the last
        scores and predictions by model, as counts in ``BINS`` bins of equal width."""
        since = monotonic() - WINDOW
        with self._lock:
            finished = [each for at, each in self._finished if at >= since]
            values = {
                model: {name: list(kept) for name, kept in by_name.items()}
                for model, by_name in self._values.items()
            }
        return {
            "window_seconds": WINDOW,
            "routes": _routes(finished),
            "stages_ms": _stages(finished),
            "distributions": {
                model: {name: _spread(kept) for name, kept in by_name.items() if kept}
                for model, by_name in values.items()
            },
        }


def _routes(finished: list[Finished]) -> dict[str, Any]:
    by_route: dict[str, list[Finished]] = {}
    for each in finished:
        by_route.setdefault(each.route, []).append(each)
    return {
        route: {
            "requests": len(those),
            "failed": sum(each.status >= 500 for each in those),
            "refused": sum(400 <= each.status < 500 for each in those),
            "ms": _quantiles([each.seconds for each in those]),
        }
        for route, those in sorted(by_route.items())
    }


def _stages(finished: list[Finished]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    for each in finished:
        for stage, value in each.stages.items():
            seconds.setdefault(stage, []).append(value)
    return {stage: _quantiles(values) for stage, values in seconds.items()}


def _quantiles(seconds: list[float]) -> dict[str, float]:
    found = np.quantile(np.asarray(seconds) * 1e3, QUANTILES)
    return {f"p{q * 100:g}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


def _spread(values: list[float]) -> dict[str, Any]:
    counts, edges = np.histogram(np.asarray(values), bins=BINS)
    return {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}
