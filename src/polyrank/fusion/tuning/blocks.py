"""What the rows of a block earn under many scores at once.

Shapes: B score vectors, R lists, L places of the longest, C rows that earn, O objectives, T parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyrank.fusion.tuning.credits import Credits
from polyrank.fusion.tuning.lists import Laid
from polyrank.fusion.tuning.quick import Quick

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Block(ABC):
    """Lists side by side; every number of it depends on its own score vector alone."""

    pad: float
    """The score of places after a list's last row: above and equal to none."""
    at_once: int = 8
    """Vectors that are ranked together."""
    rows: Ints
    """Row numbers in the block's layout, -1 after the last one."""

    def __init__(self, rows: Ints, objectives: Sequence[Credits]) -> None:
        self.rows = rows
        self.objectives = objectives
        self._outside = np.flatnonzero(rows.ravel() < 0)
        self.parts: list[Floats] = []

    def hold(self, parts: Sequence[Floats]) -> None:
        """Lay out the parts (N,) that weights multiply, once."""
        self.parts = [np.where(self.rows >= 0, part_N[self.rows], 0.0) for part_N in parts]

    def of_weights(self, weight_BT: Floats) -> Floats:
        """(B, O) under weights of the parts.

        Products are added one after another, as ``ValueModel.score`` adds its terms: a matrix
        product would be faster, but rounds otherwise and would break ties that serving has.
        """
        score = np.multiply(_column(weight_BT[:, 0]), self.parts[0])
        term = np.empty_like(score)
        for place, part in enumerate(self.parts[1:], start=1):
            np.multiply(_column(weight_BT[:, place]), part, out=term)
            np.add(score, term, out=score)
        return self._earned(self._padded(score))

    def of_scores(self, score_BN: Floats) -> Floats:
        """(B, O) under scores of all rows."""
        return self._earned(self._padded(score_BN[:, self.rows]))

    def _padded(self, score: Floats) -> Floats:
        if len(self._outside):
            score.reshape(len(score), -1)[:, self._outside] = self.pad
        return score

    @abstractmethod
    def _earned(self, score: Floats) -> Floats:
        """(B, O) under scores in the block's layout."""


class Pairs(Block):
    """Short lists: each row that earns is compared with every row of its list. Layout (L, R)."""

    pad = np.nan
    at_once = 50

    def __init__(self, laid: Laid, objectives: Sequence[Credits]) -> None:
        super().__init__(np.ascontiguousarray(laid.rows_RL.T), objectives)
        self._quick: Quick | None = None
        most = int(laid.earning_R.max())
        self._widths = [int((laid.earning_R > place).sum()) for place in range(most)]
        earning_C = np.concatenate(
            [self.rows[place, :width] for place, width in enumerate(self._widths)]
        )
        length = len(self.rows)
        self._size = len(earning_C)  # at most lists.ROWS: BLAS takes dot products of so few whole
        above_A, tied_A = np.divmod(np.arange((length + 1) ** 2), length + 1)
        tied_A = np.clip(tied_A, 1, np.maximum(length - above_A, 1))
        self._tables: dict[object, tuple[Floats, Floats, list[tuple[int, Floats]]]] = {}
        for place, each in enumerate(objectives):
            if each.places not in self._tables:
                mean_A = each.places.mean(np.minimum(above_A, length - 1), tied_A, length)
                self._tables[each.places] = (each.places.values(length), mean_A, [])
            self._tables[each.places][2].append((place, each.credit_N[earning_C]))

    def hold(self, parts: Sequence[Floats]) -> None:
        """Lay out the parts (N,) that weights multiply, once."""
        super().hold(parts)
        for part in self.parts:
            part.ravel()[self._outside] = self.pad
        self._quick = Quick(self.parts, self._widths)

    def of_weights(self, weight_BT: Floats) -> Floats:
        """(B, O) under weights of the parts."""
        assert self._quick is not None
        stood = self._quick.stood(weight_BT)
        if stood is None:
            few = range(0, len(weight_BT), Block.at_once)
            dense = [Block.of_weights(self, weight_BT[at : at + Block.at_once]) for at in few]
            return np.concatenate(dense)
        at_M = stood.above_M * (len(self.rows) + 1) + stood.tied_M
        earned_BO = np.empty((len(weight_BT), len(self.objectives)))
        for single_L, mean_A, earning in self._tables.values():
            worth_BC = single_L.take(stood.above_BC)
            worth_BC[stood.vector_M, stood.row_M] = mean_A.take(at_M)
            for place, credit_C in earning:
                earned_BO[:, place] = _summed(worth_BC, credit_C)
        return earned_BO

    def _earned(self, score: Floats) -> Floats:
        above_BC, tied_BC = self._compared(score)
        at_BC = above_BC * np.intp(len(self.rows) + 1) + tied_BC
        earned_BO = np.empty((len(score), len(self.objectives)))
        for _, mean_A, earning in self._tables.values():
            worth_BC = mean_A.take(at_BC)
            for place, credit_C in earning:
                earned_BO[:, place] = _summed(worth_BC, credit_C)
        return earned_BO

    def _compared(self, score: Floats) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(B, C) how many rows of its list stand above a row, and how many have its score."""
        above_BC = np.empty((len(score), self._size), dtype=np.uint8)
        tied_BC = np.empty_like(above_BC)
        first = 0
        for place, width in enumerate(self._widths):
            mine, others = score[:, place : place + 1, :width], score[:, :, :width]
            last = first + width
            higher, equal = (others > mine).view(np.uint8), (others == mine).view(np.uint8)
            np.add.reduce(higher, axis=1, dtype=np.uint8, out=above_BC[:, first:last])
            np.add.reduce(equal, axis=1, dtype=np.uint8, out=tied_BC[:, first:last])
            first = last
        return above_BC, tied_BC


class Sorted(Block):
    """Long lists: the best places are cut out, or all rows are sorted. Layout (R, L)."""

    pad = -np.inf

    def __init__(self, laid: Laid, objectives: Sequence[Credits]) -> None:
        super().__init__(laid.rows_RL, objectives)
        length = self.rows.shape[1]
        earning_RL = np.arange(length) < laid.earning_R[:, None]
        self._earning_C = np.flatnonzero(earning_RL.ravel())
        self._list_C = self._earning_C // length
        row_C = self.rows.ravel()[self._earning_C]
        depths = [each.places.depth for each in objectives]
        self._cut = [
            (place, each.places, each.credit_N[row_C])
            for place, each in enumerate(objectives)
            if each.places.depth is not None
        ]
        self._whole = [
            (place, np.where(self.rows >= 0, each.credit_N[self.rows], 0.0), each.places)
            for place, each in enumerate(objectives)
            if each.places.depth is None
        ]
        deepest = max((depth for depth in depths if depth is not None), default=1)
        self._depth = min(deepest, length)

    def _earned(self, score: Floats) -> Floats:
        earned_BO = np.empty((len(score), len(self.objectives)))
        if self._cut:
            self._cut_out(score, earned_BO)
        if self._whole:
            self._sort(score, earned_BO)
        return earned_BO

    def _cut_out(self, score: Floats, earned_BO: Floats) -> None:
        """Rows below the deepest place that counts earn nothing, whatever their order."""
        num_vectors, num_lists, length = score.shape
        cut = length - self._depth
        cut_BRL = np.partition(score, [max(cut - 1, 0), cut], axis=2)
        best_KV = np.ascontiguousarray(cut_BRL[:, :, cut:].reshape(-1, self._depth).T)
        last_V = cut_BRL[:, :, cut].ravel()  # V: a list under a vector
        mine_BC = score.reshape(num_vectors, -1).take(self._earning_C, axis=1)
        reaches_BC = mine_BC >= last_V.reshape(num_vectors, -1).take(self._list_C, axis=1)
        found_M = np.flatnonzero(reaches_BC)
        mine_M = mine_BC.ravel()[found_M]
        vector_M, at_M = np.divmod(found_M, len(self._earning_C))
        list_M = vector_M * num_lists + self._list_C[at_M]
        best_KM = best_KV.take(list_M, axis=1)
        above_M = np.add.reduce(best_KM > mine_M, axis=0, dtype=np.int64)
        tied_M = np.add.reduce(best_KM == mine_M, axis=0, dtype=np.int64)
        # Rows equal to that in the last place may lie below what was cut out.
        beyond_V = (cut_BRL[:, :, max(cut - 1, 0)].ravel() == last_V) & (cut > 0)
        edge_M = np.flatnonzero(beyond_V[list_M] & (mine_M == last_V[list_M]))
        whole_ML = score.reshape(-1, length)[list_M[edge_M]]
        tied_M[edge_M] = (whole_ML == mine_M[edge_M, None]).sum(axis=1)
        for place, places, credit_C in self._cut:
            worth_M = places.mean(above_M, tied_M, length) * credit_C[at_M]
            earned_BO[:, place] = np.bincount(vector_M, worth_M, minlength=num_vectors)

    def _sort(self, score: Floats, earned_BO: Floats) -> None:
        """Every place counts."""
        length = score.shape[2]
        order = np.argsort(score, axis=2)
        ordered = np.take_along_axis(score, order, axis=2)
        above, tied = _runs(ordered)
        for place, credit_RL, places in self._whole:
            worth = places.mean(above, tied, length)
            worth *= np.take_along_axis(credit_RL[None], order, axis=2)
            earned_BO[:, place] = worth.reshape(len(score), -1).sum(axis=1)


def _runs(ordered: Floats) -> tuple[Ints, Ints]:
    """Of rising scores along the last axis: how many are higher, and how many equal each."""
    length = ordered.shape[-1]
    place_L = np.arange(length)
    differs = ordered[..., 1:] != ordered[..., :-1]
    if differs.all():
        above_L = length - 1 - place_L
        return np.broadcast_to(above_L, ordered.shape), np.ones(1, dtype=np.int64)
    edge = np.ones((*ordered.shape[:-1], 1), dtype=np.bool_)
    first = np.where(np.concatenate([edge, differs], axis=-1), place_L, 0)
    last = np.where(np.concatenate([differs, edge], axis=-1), place_L, length - 1)
    first = np.maximum.accumulate(first, axis=-1)
    last = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
    return length - 1 - last, last - first + 1


def _summed(worth_BC: Floats, credit_C: Floats) -> Floats:
    """(B,) A dot product a vector: bits depend on no other, as those of one product would."""
    return np.asarray((worth_BC[:, None] @ credit_C[:, None])[:, 0, 0])


def _column(weight_B: Floats) -> Floats:
    return weight_B[:, None, None]
