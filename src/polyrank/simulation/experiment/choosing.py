"""Weights as a team would choose them: from a log's observed labels, under guardrails."""

from __future__ import annotations

from typing import Any

from polyrank.fusion.tuning import CEM, Hold, Settings, Value
from polyrank.scoring import Order, Scorer, replay
from polyrank.scoring.tuning import tune

TRIALS = 1_000
PLACES = 3
WANTED = ("long_view", "like")
"""What more of is wanted in the first places, each as a share of what equal weights have there."""
AT_LEAST = {"click": 0.95, "watch_time": 0.95, "purchase": 0.97}
"""Of what equal weights have in the first places."""
AT_MOST = {"report": 1.0}


def tuned_order(scorer: Scorer, log: Any, *, seed: int, trials: int = TRIALS) -> Order:
    """The weighted sum that puts most long views and likes into the first places of ``log``.

    Where no weights hold every guardrail, or the log has neither long views nor likes, the order
    that the bundle has by itself.
    """
    order = Order.of(scorer.bundle)
    found = replay(scorer, log, [order])
    means = found.means(found.score(order))
    worth = {task: 1 / means[task] for task in WANTED if means[task] > 0}
    if not worth:
        return order
    settings = Settings(
        objectives=(Value(k=PLACES, worth=worth),),
        guardrails=(
            *(Hold(of=_brought(task), at_least=least) for task, least in AT_LEAST.items()),
            *(Hold(of=_brought(task), at_most=most) for task, most in AT_MOST.items()),
        ),
        search=CEM(trials=trials),
        seed=seed,
        resamples=0,
    )
    tuning = tune(scorer, log, settings)
    if tuning.tuned.champion is None:
        return order
    return Order.of(tuning.applied("champion"))


def _brought(task: str) -> Value:
    return Value(k=PLACES, worth={task: 1.0})
