"""What a policy is asked to rank.

R requests, K candidates, N = R * K rows.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.scoring import PREFIX, Scorer
from polyrank.simulation.experiment.days import Day
from polyrank.simulation.log import candidate_table
from polyrank.simulation.world import World

FloatArray = npt.NDArray[np.float64]


class Offer:
    """The candidates of the requests of a day, all that policies look at in common.

    Args:
        world: Who asks, and what for.
        day: The requests.
    """

    def __init__(self, world: World, day: Day) -> None:
        self.world, self.day = world, day
        self._predictions: dict[Scorer, dict[str, FloatArray]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """R, K."""
        num_requests, num_candidates = self.day.requests.item_RK.shape
        return num_requests, num_candidates

    @cached_property
    def table(self) -> pa.Table:
        """(N,) rows as a real ranking is given them, request by request: keys and features, no
        label and no truth."""
        world = self.world
        salt = world.config.seed * 4 + 3
        return candidate_table(self.day.requests, world.users.table, world.items.table, salt)

    @property
    def request_N(self) -> npt.NDArray[np.int64]:
        """(N,) the number of each row's request."""
        return np.repeat(np.arange(self.shape[0]), self.shape[1])

    def predictions(self, scorer: Scorer) -> dict[str, FloatArray]:
        """(N,) by task, computed once however many policies rank by them."""
        if scorer not in self._predictions:
            scored = scorer.score(self.table)
            self._predictions[scorer] = {
                task: scored[PREFIX + task].to_numpy() for task in scorer.bundle.schema.task_names
            }
        return self._predictions[scorer]
