"""The rows of a batch that a term learns from, request by request, and sums over requests.

Shapes: B rows of the batch, N rows that stand in a list, G lists, K lists that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from polyrank.evaluation import NO_GROUP
from polyrank.layers.segments import segment_sum, spread


class Rows(NamedTuple):
    """What a term knows of each row beside its logits."""

    labels_B: Tensor
    """0 or 1; read where observed."""
    observed_B: Tensor
    """bool."""
    requests_B: Tensor
    """int64 codes; -1 for a row without a request."""
    weight_B: Tensor
    """At least 0."""


@dataclass(frozen=True)
class Lists:
    """Rows that were observed, with a request and a weight above 0, by request and label."""

    rows_N: Tensor
    """int64: where each row stands in the batch; those of a list follow each other."""
    lengths_G: Tensor
    """int64: rows of each list, at least 1."""
    positive_N: Tensor
    """bool."""
    weight_N: Tensor

    @classmethod
    def of(cls, rows: Rows, *, both: bool) -> Lists:
        """The lists with a positive and, if ``both``, a negative."""
        kept_B = rows.observed_B & (rows.requests_B != NO_GROUP) & (rows.weight_B > 0)
        rows_N = kept_B.nonzero()[:, 0]
        rows_N = rows_N[rows.requests_B[rows_N].argsort(stable=True)]
        _, lengths_G = rows.requests_B[rows_N].unique_consecutive(return_counts=True)
        positive_N = rows.labels_B[rows_N] == 1
        every = cls(rows_N, lengths_G, positive_N, rows.weight_B[rows_N])
        counts_G = every.sum(positive_N.double())
        fits_G = (counts_G > 0) & (counts_G < lengths_G) if both else counts_G > 0
        stays_N = torch.repeat_interleave(fits_G, lengths_G)
        return cls(rows_N[stays_N], lengths_G[fits_G], positive_N[stays_N], every.weight_N[stays_N])

    def sum(self, values_N: Tensor) -> Tensor:
        """(G,) sum of each list, each in its own order by one thread."""
        return segment_sum(values_N[:, None], self.lengths_G)[:, 0]

    def spread(self, values_G: Tensor) -> Tensor:
        """(N,) each list's value beside its rows."""
        return spread(values_G[:, None], self.lengths_G)[:, 0]

    def log_share(self, log_N: Tensor) -> Tensor:
        """(N,) log(w_i e_i / Σ_j w_j e_j) over the list of row i, at most 0, where ``log_N`` is
        log e and w are the weights."""
        log_N = log_N + self.weight_N.to(log_N.dtype).log()
        list_N = torch.repeat_interleave(self.lengths_G)
        start_G = log_N.new_full((len(self.lengths_G),), -torch.inf)
        # Its gradient cancels, and a maximum does not depend on the order.
        top_N = start_G.scatter_reduce(0, list_N, log_N.detach(), "amax")[list_N]
        total_G = self.sum(torch.exp(log_N - top_N))
        return log_N - top_N - self.spread(total_G.log())

    def place(self, values_N: Tensor, like_B: Tensor) -> Tensor:
        """(B,) the values at their rows, 0 elsewhere."""
        zeros_B = torch.zeros_like(like_B, dtype=values_N.dtype)
        return zeros_B.index_copy(0, self.rows_N, values_N)


def learners(rows: Rows, *, both: bool, negatives: bool) -> Tensor:
    """(B,) bool: the positives of such lists and, if ``negatives``, all their rows."""
    lists = Lists.of(rows, both=both)
    taken_N = lists.rows_N if negatives else lists.rows_N[lists.positive_N]
    mask_B = torch.zeros_like(rows.observed_B)
    mask_B[taken_N] = True
    return mask_B
