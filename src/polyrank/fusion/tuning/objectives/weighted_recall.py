"""How much of what was earned stands within the first places."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveInt

from polyrank.fusion.tuning.credits import Credits, Places
from polyrank.fusion.tuning.objectives.base import Objective, by_list, credited, whole_requests
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.schema.model import Name


class WeightedRecall(Objective):
    """Weighted Recall@k: sum of weight x label over rows within the first k places of their
    request, over the same sum of all rows.

    A request holds all its rows. Outside its sample space a label is 0; where it was not observed
    the row takes its place and earns nothing.
    """

    kind: Literal["weighted_recall"] = "weighted_recall"
    task: Name
    k: PositiveInt = 10

    @property
    def tasks(self) -> tuple[str, ...]:
        """Its task."""
        return (self.task,)

    @property
    def name(self) -> str:
        """``recall@10 of like``."""
        return f"recall@{self.k} of {self.task}"

    @property
    def unit(self) -> str:
        """A share of the sum."""
        return f"of the sum of labels, within the first {self.k} places, 0 to 1"

    def credits(self, log: Replayed) -> Credits:
        """A row earns its share of the sum."""
        label_N = np.nan_to_num(log.outcome(self.task))
        list_N, num_lists = whole_requests(log)
        weights = log.rows.weights
        earned_N = np.where(list_N >= 0, label_N * (1.0 if weights is None else weights), 0.0)
        earned_G = by_list(list_N, num_lists, earned_N)
        if not earned_G.sum() > 0 or (earned_N < 0).any():
            self.undefined("no request has a label above 0, or one has a label below")
        places = Places("top", self.k)
        return credited(list_N, earned_N / earned_G.sum(), places, earned_G)
