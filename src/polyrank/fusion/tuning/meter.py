"""Objectives of many rankings of one log.

Shapes: N rows, B score vectors, T parts, M objectives, G lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from polyrank.fusion.tuning.blocks import Block, Pairs, Sorted
from polyrank.fusion.tuning.credits import Credits
from polyrank.fusion.tuning.lists import laid_out
from polyrank.fusion.tuning.objectives import Objective
from polyrank.fusion.tuning.replayed import Replayed

Floats = NDArray[np.float64]
LONGEST_PAIRED = 64
"""Rows of a list whose rows are compared with one another; where all places count, twice that."""


class Meter:
    """Measures each score vector as ``polyrank.evaluation`` defines it, in float64; lists are
    ranked in threads, and no number depends on how many."""

    def __init__(
        self, log: Replayed, objectives: Sequence[Objective], threads: int | None = None
    ) -> None:
        self.log = log
        self.objectives = tuple(objectives)
        self.credits = tuple(each.credits(log) for each in self.objectives)
        self._blocks = _blocks(self.credits)
        self._constant_M = np.array(
            [0.0 if each is None else float(each.constant_G.sum()) for each in self.credits]
        )
        self._threads = threads or len(os.sched_getaffinity(0))
        self._parts: list[Floats] | None = None

    def hold(self, parts: Mapping[str, Floats]) -> None:
        """Lay out what weights multiply, by name (N,); ``of_weights`` needs it."""
        self._parts = [part_N for _, part_N in sorted(parts.items())]
        for block, _ in self._blocks:
            block.hold(self._parts)

    def of_weights(self, weight_BT: Floats) -> Floats:
        """(B, M) by weights of the parts in the order of their names."""
        assert self._parts is not None
        value_BM = self._summed(
            len(weight_BT), lambda block, part: block.of_weights(weight_BT[part])
        )
        if None in self.credits:
            for place, weight_T in enumerate(weight_BT):
                self._measure(_total(weight_T, self._parts), value_BM[place])
        return value_BM

    def of_scores(self, score_BN: Floats) -> Floats:
        """(B, M) by scores."""
        value_BM = self._summed(len(score_BN), lambda block, part: block.of_scores(score_BN[part]))
        for score_N, value_M in zip(score_BN, value_BM, strict=True):
            self._measure(score_N, value_M)
        return value_BM

    def _measure(self, score_N: Floats, value_M: Floats) -> None:
        """Fill in what is no sum over rows."""
        for place, (each, sum_of_rows) in enumerate(
            zip(self.objectives, self.credits, strict=True)
        ):
            if sum_of_rows is None:
                value_M[place] = each.measure(self.log, score_N)

    def _summed(self, vectors: int, earned: Callable[[Block, slice], Floats]) -> Floats:
        def of(block: Block) -> Floats:
            step = block.at_once
            firsts = range(0, vectors, step)
            return np.concatenate([earned(block, slice(at, at + step)) for at in firsts])

        value_BM = np.tile(self._constant_M, (vectors, 1))
        with ThreadPoolExecutor(self._threads) as pool:
            found = pool.map(of, (block for block, _ in self._blocks))
            for (_, places), earned_BO in zip(self._blocks, found, strict=True):
                value_BM[:, places] += earned_BO
        return value_BM


def earned_by_list(earning: Credits, score_N: Floats) -> Floats:
    """(G,) what each list earns under one score: their sum is the objective."""
    row_M = np.flatnonzero(earning.list_N >= 0)
    row_M = row_M[np.lexsort((-score_N[row_M], earning.list_N[row_M]))]
    list_M, score_M = earning.list_N[row_M], score_N[row_M]
    new_list_M = np.append(True, list_M[1:] != list_M[:-1])
    new_run_M = new_list_M | np.append(True, score_M[1:] != score_M[:-1])
    start_R = np.flatnonzero(new_run_M)
    size_R = np.diff(start_R, append=len(row_M))
    list_start_M = np.maximum.accumulate(np.where(new_list_M, np.arange(len(row_M)), 0))
    above_M = np.repeat(start_R, size_R) - list_start_M
    worth_M = earning.places.mean(above_M, np.repeat(size_R, size_R), len(row_M))
    earned_G = np.bincount(
        list_M, earning.credit_N[row_M] * worth_M, minlength=len(earning.share_G)
    )
    return earned_G + earning.constant_G


def _blocks(objectives: Sequence[Credits | None]) -> list[tuple[Block, list[int]]]:
    """Blocks, each with the objectives that it measures; alike lists are laid out once."""
    groups: list[list[int]] = []
    for place, each in enumerate(objectives):
        if each is not None:
            _alike(groups, objectives, each).append(place)
    found: list[tuple[Block, list[int]]] = []
    for places in groups:
        mine = [each for place in places if (each := objectives[place]) is not None]
        earns_N = np.any([each.credit_N != 0 for each in mine], axis=0)
        whole = any(each.places.depth is None for each in mine)
        longest = LONGEST_PAIRED * (2 if whole else 1)
        for laid in laid_out(mine[0].list_N, earns_N):
            kind = Pairs if laid.rows_RL.shape[1] <= longest else Sorted
            found.append((kind(laid, mine), places))
    return found


def _alike(
    groups: list[list[int]], objectives: Sequence[Credits | None], one: Credits
) -> list[int]:
    for places in groups:
        other = objectives[places[0]]
        if other is not None and np.array_equal(other.list_N, one.list_N):
            return places
    groups.append([])
    return groups[-1]


def _total(weight_T: Floats, parts: Sequence[Floats]) -> Floats:
    total_N = np.zeros(len(parts[0]))
    for weight, part_N in zip(weight_T, parts, strict=True):
        total_N += weight * part_N
    return total_N
