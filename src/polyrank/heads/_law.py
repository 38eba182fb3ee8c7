"""How the training labels of a duration are distributed, and a prediction as a law over its ranks.

A rank is a share of the training labels: rank F(t) of a time t. Heads that predict a whole law cut
the ranks, not the times: within a bucket the time is distributed as in training, so ties stay ties
and a long tail keeps its mean.

Shapes: B rows, Q knots, M edges between buckets, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

LEVELS = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
"""Of the quantiles that are predicted, by name."""


def ranks(knots_Q: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) float64: the shares of times below, and of times up to, each time.

    They differ only at a tie: a time that stands on several knots. Between knots the share is
    linear. Compared in float32, so that a label is equal to its own knot.

    Args:
        knots_Q: Never falling quantiles at k / (Q - 1), of all rows (Q,) or of each (B, Q).
        time_B: In the unit of the knots.
    """
    knots_Q, time_B = knots_Q.float().double(), time_B.float().double()
    last = knots_Q.shape[-1] - 1
    sought = time_B if knots_Q.ndim == 1 else time_B[:, None]
    below_B = torch.searchsorted(knots_Q, sought).reshape(-1)
    up_to_B = torch.searchsorted(knots_Q, sought, right=True).reshape(-1)
    place_B = below_B.clamp(1, last)
    low_B, high_B = _at(knots_Q, place_B - 1), _at(knots_Q, place_B)
    between_B = place_B - 1 + ((time_B - low_B) / (high_B - low_B)).clamp(0, 1)
    on_knot_B = up_to_B > below_B
    return (
        torch.where(on_knot_B, below_B.double(), between_B) / last,
        torch.where(on_knot_B, (up_to_B - 1).double(), between_B) / last,
    )


def times(knots_Q: Tensor, rank_B: Tensor) -> Tensor:
    """(B,) float64: the time at each rank within [0, 1], never falling with it."""
    last = knots_Q.shape[-1] - 1
    step_B = rank_B.double() * last
    place_B = step_B.long().clamp(0, last - 1)
    low_B, high_B = _at(knots_Q, place_B), _at(knots_Q, place_B + 1)
    return torch.minimum(low_B + (high_B - low_B) * (step_B - place_B), high_B)


def _at(knots_Q: Tensor, place_B: Tensor) -> Tensor:
    if knots_Q.ndim == 1:
        return knots_Q[place_B]
    return knots_Q.gather(1, place_B[:, None])[:, 0]


class Law:
    """The training labels of one duration.

    Args:
        quantiles: ``TargetStats.quantiles``: at k / (Q - 1), in seconds.
    """

    def __init__(self, quantiles: Sequence[float]) -> None:
        assert len(quantiles) > 1, "encoders fit the quantiles of every duration"
        self._quantiles = tuple(quantiles)
        self._cells = [(low + high) / 2 for low, high in pairwise(self._quantiles)]
        # A bundle builds its network on the meta device, which holds no values.
        self._knots_Q = torch.tensor(self._quantiles, dtype=torch.float64, device="cpu")

    @property
    def num_cells(self) -> int:
        """Between the knots."""
        return len(self._cells)

    @property
    def largest(self) -> float:
        """Seconds."""
        return self._quantiles[-1]

    @property
    def spread(self) -> float:
        """The standard deviation in seconds; 1 where all labels are equal."""
        mean = self.mean_between(0.0, 1.0)
        square = sum((cell - mean) ** 2 for cell in self._cells) / self.num_cells
        return square**0.5 or 1.0

    def time(self, rank: float) -> float:
        """Seconds at a rank."""
        whole = min(int(rank * self.num_cells), self.num_cells - 1)
        low, high = self._quantiles[whole : whole + 2]
        return min(low + (high - low) * (rank * self.num_cells - whole), high)

    def share_up_to(self, seconds: float) -> float:
        """Of the labels."""
        at = torch.tensor([seconds], dtype=torch.float64, device="cpu")
        return float(ranks(self._knots_Q, at)[1][0])

    def mean_between(self, low: float, high: float) -> float:
        """Seconds: the mean label of the ranks from ``low`` to ``high``; one rank: its time."""
        least, most = self.time(low), self.time(high)
        if high <= low:
            return least
        mean = (self._integral(high) - self._integral(low)) / (high - low)
        return min(max(mean, least), most)  # Rounding must not put it outside.

    def ranks(self, seconds_B: Tensor) -> tuple[Tensor, Tensor]:
        """As the function of this name."""
        return ranks(self._knots_Q.to(seconds_B.device), seconds_B)

    def times(self, rank_B: Tensor) -> Tensor:
        """As the function of this name."""
        return times(self._knots_Q.to(rank_B.device), rank_B)

    def _integral(self, rank: float) -> float:
        """Of the times, over the ranks from 0."""
        step = rank * self.num_cells
        whole = min(int(step), self.num_cells - 1)
        rest = (self._quantiles[whole] + self.time(rank)) / 2 * (step - whole)
        return (sum(self._cells[:whole]) + rest) / self.num_cells


class Buckets:
    """A row's law over buckets of ranks, given by the chances that it lies beyond each inner edge.

    Args:
        law: Of the training labels.
        edges: (M + 2,) ranks, from 0 to 1, rising.
    """

    def __init__(self, law: Law, edges: Sequence[float]) -> None:
        self.law = law
        self.edges = tuple(edges)
        self.values = tuple(law.mean_between(low, high) for low, high in pairwise(edges))
        """(M + 1,) the mean training label of each bucket, in seconds."""
        self._steps = tuple(high - low for low, high in pairwise(self.values))

    def mean(self, beyond_BM: Tensor) -> Tensor:
        """(B,) seconds in the dtype of what is given, never falling with any chance."""
        step_M = torch.tensor(self._steps, dtype=beyond_BM.dtype, device=beyond_BM.device)
        return (self.values[0] + (beyond_BM * step_M).sum(1)).clamp(max=self.values[-1])

    def quantiles(self, beyond_BM: Tensor) -> Mapping[str, Tensor]:
        """(B,) float64 seconds by name, in the order of ``LEVELS``, never crossing.

        Chances are first made to fall along the edges, by their running minimum.
        """
        share_BM = 1 - beyond_BM.double().cummin(1).values
        ends = share_BM.new_tensor([[0.0, 1.0]]).expand(len(share_BM), -1)
        share_BM = torch.cat([ends[:, :1], share_BM, ends[:, 1:]], 1)
        edge_M = torch.tensor(self.edges, dtype=torch.float64, device=share_BM.device)
        return {name: self._at(share_BM, edge_M, level) for name, level in LEVELS.items()}

    def _at(self, share_BM: Tensor, edge_M: Tensor, level: float) -> Tensor:
        level_B1 = torch.full_like(share_BM[:, :1], level)
        place_B1 = torch.searchsorted(share_BM, level_B1)  # The first edge that reaches it.
        low_B1, high_B1 = share_BM.gather(1, place_B1 - 1), share_BM.gather(1, place_B1)
        along_B1 = (level - low_B1) / (high_B1 - low_B1)
        start_B1, end_B1 = edge_M[place_B1 - 1], edge_M[place_B1]
        return self.law.times((start_B1 + along_B1 * (end_B1 - start_B1))[:, 0].clamp(max=1.0))
