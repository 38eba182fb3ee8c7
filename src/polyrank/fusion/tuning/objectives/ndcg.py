"""NDCG of the first places."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveInt

from polyrank.fusion.tuning.credits import Credits, Places
from polyrank.fusion.tuning.objectives.base import (
    Floats,
    Ints,
    Objective,
    credited,
    lists_of,
    mean_weights,
    spread,
    summed,
)
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.schema.model import Name


class NDCG(Objective):
    """``polyrank.evaluation.ndcg_at(k)`` of a task by the score, with its masks, weights and ties:
    a list holds the rows of a request whose label was observed."""

    kind: Literal["ndcg"] = "ndcg"
    task: Name
    k: PositiveInt = 10

    @property
    def tasks(self) -> tuple[str, ...]:
        """Its task."""
        return (self.task,)

    @property
    def name(self) -> str:
        """``ndcg@10 of click``."""
        return f"ndcg@{self.k} of {self.task}"

    @property
    def unit(self) -> str:
        """Of the best order."""
        return f"of the best possible first {self.k} places, 0 to 1"

    def credits(self, log: Replayed) -> Credits:
        """A row earns its label over the best order's gain."""
        rows = log.rows.select(self.task)
        rows.require_gains("ndcg")
        label_N, weight_N = np.zeros(len(log)), np.zeros(len(log))
        label_N[rows.index_N], weight_N[rows.index_N] = rows.labels_N, rows.weights_N
        list_N, num_lists = lists_of(log.groups("request"), weight_N > 0)
        ideal_G = _ideal(list_N, num_lists, label_N, self.k)
        weight_G = np.where(ideal_G > 0, mean_weights(list_N, num_lists, weight_N), 0.0)
        if not weight_G.sum() > 0:
            self.undefined("no request has a label above 0")
        factor_G = weight_G / weight_G.sum() / np.where(ideal_G > 0, ideal_G, 1.0)
        credit_N = label_N * spread(list_N, factor_G)
        return credited(list_N, credit_N, Places("discount", self.k), weight_G)


def _ideal(list_N: Ints, num_lists: int, label_N: Floats, k: int) -> Floats:
    """(G,) what the best order gains."""
    order_N = np.lexsort((-label_N, list_N))
    order_M = order_N[list_N[order_N] >= 0]
    start_G = np.searchsorted(list_N[order_M], np.arange(num_lists))
    place_M = np.arange(len(order_M)) - start_G[list_N[order_M]]
    gain_M = np.where(place_M < k, label_N[order_M] / np.log2(place_M + 2), 0.0)
    return summed(list_N[order_M], gain_M, num_lists)
