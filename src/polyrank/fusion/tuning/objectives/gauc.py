"""AUC within users or requests."""

from __future__ import annotations

from typing import Literal

import numpy as np

from polyrank.evaluation import gauc
from polyrank.fusion.tuning.credits import Credits, Places
from polyrank.fusion.tuning.objectives.base import (
    Floats,
    Ints,
    Objective,
    by_list,
    credited,
    lists_of,
    spread,
)
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.schema.model import Name


class GAUC(Objective):
    """``polyrank.evaluation.gauc`` of a binary task by the score.

    Its own sum over pairs has no faster form where rows of one class and group weigh differently:
    there each weight vector is measured by the metric itself, some hundred times slower.
    """

    kind: Literal["gauc"] = "gauc"
    task: Name
    by: Literal["user", "request"] | None = None
    """The groups; null: users where the log knows them, else requests."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Its task."""
        return (self.task,)

    @property
    def name(self) -> str:
        """``gauc of click``, or with ``by`` ``gauc of click by request``."""
        return f"gauc of {self.task}" + (f" by {self.by}" if self.by else "")

    @property
    def unit(self) -> str:
        """A share of pairs."""
        return f"of the pairs of a {self.by or 'user'} in the right order, 0 to 1"

    @property
    def kinds(self) -> frozenset[str]:
        """Binary tasks."""
        return frozenset({"binary"})

    def credits(self, log: Replayed) -> Credits | None:
        """A positive loses a pair for each row above it; those with other positives cancel."""
        rows = log.rows.select(self.task)
        rows.require_binary("gauc")
        label_N, weight_N = np.zeros(len(log)), np.zeros(len(log))
        label_N[rows.index_N], weight_N[rows.index_N] = rows.labels_N, rows.weights_N
        list_N, num_lists = lists_of(self._codes(log), weight_N > 0)
        positive_G = by_list(list_N, num_lists, label_N)
        size_G = by_list(list_N, num_lists, np.ones(len(log)))
        pairs_G = positive_G * (size_G - positive_G)
        weight_G = np.where(pairs_G > 0, by_list(list_N, num_lists, weight_N), 0.0)
        if not weight_G.sum() > 0:
            self.undefined("no group has both classes")
        if not _alike(list_N, num_lists, label_N, weight_N):
            return None
        factor_G = weight_G / weight_G.sum() / np.where(pairs_G > 0, pairs_G, 1.0)
        constant_G = factor_G * positive_G * (size_G - 1 - (positive_G - 1) / 2)
        credit_N = label_N * spread(list_N, factor_G)
        return credited(list_N, credit_N, Places("rank"), weight_G, constant_G)

    def measure(self, log: Replayed, score_N: Floats) -> float:
        """By the metric."""
        return gauc(
            log.rows.labels[self.task],
            score_N,
            mask_N=log.rows.masks[self.task],
            weights_N=log.rows.weights_of(self.task),
            groups_N=self._codes(log),
        ).value

    def _codes(self, log: Replayed) -> Ints:
        return log.groups(self.by or ("user" if "user" in log.rows.groups else "request"))


def _alike(list_N: Ints, num_lists: int, label_N: Floats, weight_N: Floats) -> bool:
    """Whether in each group all positives weigh the same, and all negatives."""
    inside_N = list_N >= 0
    class_M = 2 * list_N[inside_N] + (label_N[inside_N] > 0)
    weight_M = weight_N[inside_N]
    first = np.zeros(2 * num_lists)
    first[class_M] = weight_M
    return bool((first[class_M] == weight_M).all())
