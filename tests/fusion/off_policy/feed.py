"""Logs of the simulated feed, and what another ranking truly earns in it.

A request's clicks follow from the item and its place alone, which the feed's truth columns tell:
so the value of any ranking is that of lists drawn again and again, without this package's chances.

Shapes: R requests, K candidates, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.fusion.off_policy import Logged, PlackettLuce, RankedLog
from polyrank.simulation import TRUTH_PREFIX, Feed, FeedConfig

Floats = NDArray[np.float64]
NUM_CANDIDATES = 5
CONFIG = FeedConfig(
    seed=5, num_users=1500, num_items=60, candidates_per_request=NUM_CANDIDATES, history_length=0
)
DRAWS = 10


@dataclass(frozen=True, eq=False)
class FeedLogs:
    """Requests of one feed, dealt out into logs; candidates in the order that was shown."""

    score_RK: Floats
    """Of the new ranking: relevance seen through noise. The log was ranked by other causes."""
    propensity_RK: Floats
    click_RK: Floats
    chance_RK: Floats
    """Of a click where it is seen."""
    seen_K: Floats
    """The chance that a place is seen."""
    user_R: NDArray[np.int64]
    num_logs: int

    def log(self, number: int, places: int, temperature: float, error: float) -> Logged:
        """One log under the new ranking; its reward model is off by ``error``, and by the place."""
        rows = np.arange(number, len(self.user_R), self.num_logs)
        count = len(rows)
        ranked = RankedLog(
            request_N=np.repeat(np.arange(count), NUM_CANDIDATES),
            place_N=np.tile(np.arange(1.0, NUM_CANDIDATES + 1), count),
            propensity_N=self.propensity_RK[rows].ravel(),
            reward_N=self.click_RK[rows].ravel(),
            places=places,
            cluster_N=np.repeat(self.user_R[rows], NUM_CANDIDATES),
            model_N=self.chance_RK[rows].ravel() + error,
        )
        return ranked.under(self.score_RK[rows].ravel(), PlackettLuce(temperature=temperature))

    def truth(self, places: int, temperature: float) -> float:
        """The mean reward of the first places in lists that are drawn, not weighed."""
        rng = np.random.default_rng(23)
        within_RK = self.score_RK - self.score_RK.mean(axis=1, keepdims=True)
        scale = np.sqrt((within_RK**2).sum() / (within_RK.shape[0] * (NUM_CANDIDATES - 1)))
        earned = 0.0
        for _ in range(DRAWS):
            noise_RK = rng.gumbel(size=within_RK.shape) * temperature * scale
            order_RK = np.argsort(-(within_RK + noise_RK), axis=1)[:, :places]
            shown_RK = np.take_along_axis(self.chance_RK, order_RK, axis=1)
            earned += float((shown_RK * self.seen_K[:places]).mean()) / DRAWS
        return earned


@cache
def feed_logs(num_logs: int, num_requests: int) -> FeedLogs:
    """So many logs of so many requests each, from one feed's users and items."""
    names = {
        "propensity": "propensity",
        "click": "click",
        "chance": TRUTH_PREFIX + "click_probability",
        "seen": TRUTH_PREFIX + "examination",
        "relevance": TRUTH_PREFIX + "relevance",
        "user": "user_id",
    }
    num_rows = num_logs * num_requests * NUM_CANDIDATES
    kept = [table.select(list(names.values())) for table in Feed(CONFIG).tables(num_rows)]
    table = pa.concat_tables(kept)
    found = {
        name: table[column].to_numpy().reshape(-1, NUM_CANDIDATES) for name, column in names.items()
    }
    noise_RK = np.random.default_rng(29).normal(size=found["click"].shape)
    return FeedLogs(
        score_RK=found["relevance"] + 0.5 * noise_RK,
        propensity_RK=found["propensity"],
        click_RK=found["click"].astype(np.float64),
        chance_RK=found["chance"].astype(np.float64),
        seen_K=found["seen"].astype(np.float64)[0],
        user_R=found["user"][:, 0],
        num_logs=num_logs,
    )
