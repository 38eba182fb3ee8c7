"""Whole ranked lists, and how likely a ranking by drawn scores puts each item where it was shown.

Shapes: N rows, R lists of a block, L places of its longest list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.errors import DataError
from polyrank.fusion.off_policy.logged import WHERE
from polyrank.fusion.requests import Requests, Rows
from polyrank.schema import Declared

Floats = NDArray[np.float64]
APART = 1e4
"""Between the utilities of two items that no noise exchanges: exp(-1e4) is 0."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists by place: all that was ranked, as it was shown."""

    blocks: tuple[Rows, ...]
    """(R, L) row numbers, each list from place 1 down; -1 after its last."""
    num_rows: int

    @classmethod
    def of(cls, request_N: NDArray[np.int64], place_N: Floats) -> Lists:
        """Rows of one number are one list, in any order.

        Raises:
            DataError: The places of a list are not 1 to its length, each once.
        """
        whole_N = is_whole(request_N, place_N)
        if not whole_N.all():
            num_broken = len(np.unique(request_N[~whole_N]))
            raise DataError(
                f"{num_broken:,} of {len(np.unique(request_N)):,} lists do not have each place "
                "from 1 to their length once",
                where=WHERE,
                hint="Leave such lists out: what else was ranked in them is not known.",
            )
        order_N = np.lexsort((place_N, request_N))
        blocks = Requests.of(request_N[order_N]).blocks
        return cls(
            tuple(np.where(rows_RL >= 0, order_N[rows_RL], -1) for rows_RL in blocks), len(order_N)
        )

    def log_chances(self, utility_N: Floats) -> Floats:
        """(N,) log chance of a row in its place given those above, by Plackett-Luce.

        That of the softmax over what is left, exp(u) / sum of exp(u) of it and all below (Plackett,
        1975): the order of utilities with standard Gumbel noise (Yellott, 1977).
        """
        found_N = np.empty(self.num_rows)
        for rows_RL in self.blocks:
            inside_RL = rows_RL >= 0
            utility_RL = np.where(inside_RL, utility_N[rows_RL], -np.inf)
            left_RL = np.logaddexp.accumulate(utility_RL[:, ::-1], axis=1)[:, ::-1]
            found_N[rows_RL[inside_RL]] = utility_RL[inside_RL] - left_RL[inside_RL]
        return found_N

    def expected(self, log_chance_N: Floats, value_N: Floats) -> Floats:
        """(N,) mean of ``value_N`` over what could stand in a row's place given those above.

        Exact: with the chance c of what does stand there, it is c x its value + (1 - c) x the mean
        over the rest, which is that of the next place (the softmax of what is left does not depend
        on what was taken).
        """
        found_N = np.empty(self.num_rows)
        for rows_RL in self.blocks:
            inside_RL = rows_RL >= 0
            log_RL = np.where(inside_RL, log_chance_N[rows_RL], 0.0)
            value_RL = np.where(inside_RL, value_N[rows_RL], 0.0)
            mean_RL = np.zeros(rows_RL.shape)
            for place in range(rows_RL.shape[1] - 1, -1, -1):
                below_R = mean_RL[:, place + 1] if place + 1 < rows_RL.shape[1] else 0.0
                mean_RL[:, place] = (
                    np.exp(log_RL[:, place]) * value_RL[:, place]
                    - np.expm1(log_RL[:, place]) * below_R
                )
            found_N[rows_RL[inside_RL]] = mean_RL[inside_RL]
        return found_N

    def summed(self, value_N: Floats) -> Floats:
        """(N,) sum over a row's list from place 1 to its own."""
        found_N = np.empty(self.num_rows)
        for rows_RL in self.blocks:
            inside_RL = rows_RL >= 0
            total_RL = np.where(inside_RL, value_N[rows_RL], 0.0).cumsum(axis=1)
            found_N[rows_RL[inside_RL]] = total_RL[inside_RL]
        return found_N

    def ranks(self, score_N: Floats) -> Floats:
        """(N,) rank of a score in its list, from 1 for the highest; equal ones share the mean."""
        return Requests(self.blocks, self.num_rows).ranks(score_N)

    def deviation(self, score_N: Floats) -> float:
        """Standard deviation of a score within lists, pooled over all; 0 where none differs."""
        most = float(np.abs(score_N).max(initial=0.0)) or 1.0
        squares, degrees = 0.0, 0
        for rows_RL in self.blocks:
            inside_RL = rows_RL >= 0
            score_RL = np.where(inside_RL, score_N[rows_RL] / most, 0.0)
            size_R = inside_RL.sum(axis=1)
            mean_R1 = (score_RL.sum(axis=1) / size_R)[:, None]
            squares += float(np.sum(np.where(inside_RL, score_RL - mean_R1, 0.0) ** 2))
            degrees += int((size_R - 1).sum())
        return most * float(np.sqrt(squares / degrees)) if degrees else 0.0


class PlackettLuce(Declared):
    """A score's ranking with Gumbel noise, so that any order has a chance.

    The noise is ``temperature`` standard deviations that the score has within lists, pooled over
    the log: neither its unit nor a constant on all scores of a list matters. At 0 the order is that
    of the score, ties broken evenly; a list is then as unlikely as it was to be logged, so that
    little but the first place can be told of.
    """

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Gumbel scale, in standard deviations of the score within lists."""

    def utilities(self, lists: Lists, score_N: Floats) -> Floats:
        """(N,) scores in units of the noise.

        Raises:
            DataError: A row has no finite score.
        """
        if not np.isfinite(score_N).all():
            raise DataError(
                f"{int((~np.isfinite(score_N)).sum()):,} of {len(score_N):,} rows have no finite "
                "score, so the place of the others is not known",
                where=WHERE,
                hint="Leave their lists out.",
            )
        deviation = lists.deviation(score_N)
        if not self.temperature or not deviation:
            return np.asarray(-APART * lists.ranks(score_N))
        return np.asarray(score_N / deviation / self.temperature)


def is_whole(request_N: NDArray[np.int64], place_N: Floats) -> NDArray[np.bool_]:
    """(N,) whether a row's list has each place from 1 to its length once."""
    if not len(request_N):
        return np.zeros(0, dtype=np.bool_)
    order_N = np.lexsort((place_N, request_N))
    sorted_N = request_N[order_N]
    start_G = np.flatnonzero(np.append(True, sorted_N[1:] != sorted_N[:-1]))
    size_G = np.diff(np.append(start_G, len(sorted_N)))
    expected_N = np.arange(1, len(sorted_N) + 1) - np.repeat(start_G, size_G)
    good_G = np.logical_and.reduceat(place_N[order_N] == expected_N, start_G)
    whole_N = np.empty(len(sorted_N), dtype=np.bool_)
    whole_N[order_N] = np.repeat(good_G, size_G)
    return whole_N
