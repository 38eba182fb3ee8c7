"""Weights as a team would choose them: from a log's observed labels, under guardrails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from polyrank.fusion import WeightedSum
from polyrank.scoring import Order, Scorer, equal_start, replay

TRIALS = 400
WANTED = ("long_view", "like")
"""What more of is wanted in the first places, each as a share of what equal weights give."""
AT_LEAST = {"click": 0.95, "watch_time": 0.95, "purchase": 0.97}
AT_MOST = {"report": 1.0}
_OCTAVES = 1.0


def tuned_order(scorer: Scorer, log: Any, *, seed: int, trials: int = TRIALS) -> Order:
    """The weighted sum that puts most long views and likes into the first places of ``log``.

    Among ``trials`` draws around equal contributions, those that break a guardrail left out; equal
    contributions themselves, which break none, are one of them.
    """
    found = replay(scorer, log, [])
    start = equal_start(found, {})
    schema = scorer.bundle.schema
    best, most, today = start, -np.inf, None
    for model in _trials(start, seed, trials):
        order = Order(schema=schema, model=model)
        means = found.means(found.score(order))
        today = today or means
        shares = {task: value / today[task] for task, value in means.items()}
        worth = sum(shares[task] for task in WANTED)
        if worth > most and _holds(shares):
            best, most = model, worth
    return Order(schema=schema, model=best)


def _trials(start: WeightedSum, seed: int, trials: int) -> Iterator[WeightedSum]:
    yield start
    rng = np.random.default_rng(seed)
    weights = start.tunable
    for _ in range(trials - 1):
        factors = np.exp2(_OCTAVES * rng.standard_normal(len(weights)))
        moved = zip(weights.items(), factors, strict=True)
        yield start.tuned({name: weight * float(factor) for (name, weight), factor in moved})


def _holds(shares: Mapping[str, float]) -> bool:
    return all(shares[task] >= least for task, least in AT_LEAST.items()) and all(
        shares[task] <= most for task, most in AT_MOST.items()
    )
