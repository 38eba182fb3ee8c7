"""RankNet: logistic loss of the pairs of a request.

Shapes: B rows, N rows in lists, G lists, M positives, P pairs of a positive and a negative of one
request, L logits.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.heads.base import at_least_float32
from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.groups import Lists, Rows
from polyrank.layers.segments import segment_sum, spread


def ranknet(logits_B: Tensor, rows: Rows) -> Tensor:
    """(B,): Σ_j w_j log(1 + exp(z_j - z_i)) / Σ_j w_j of each positive i, j over the negatives of
    its request."""
    lists = Lists.of(rows, both=True)
    logit_N = at_least_float32(logits_B)[lists.rows_N]
    negative_P, counts_M = _pairs(lists)
    weight_P = lists.weight_N.to(logit_N.dtype)[negative_P]
    behind_P = logit_N[negative_P] - spread(logit_N[lists.positive_N][:, None], counts_M)[:, 0]
    both_P2 = torch.stack([F.softplus(behind_P) * weight_P, weight_P], 1)
    loss_M, weight_M = segment_sum(both_P2, counts_M).unbind(1)
    share_N = torch.zeros_like(logit_N)
    share_N = share_N.index_copy(0, lists.positive_N.nonzero()[:, 0], loss_M / weight_M)
    return lists.place(share_N, logits_B)


def _pairs(lists: Lists) -> tuple[Tensor, Tensor]:
    """The negative of each pair, a place among N, by positive; and how many each positive has."""
    negatives = (~lists.positive_N).nonzero()[:, 0]
    counts_G = lists.lengths_G - lists.sum(lists.positive_N.double()).long()
    firsts_G = counts_G.cumsum(0) - counts_G
    list_M = torch.repeat_interleave(lists.lengths_G)[lists.positive_N]
    counts_M = counts_G[list_M]
    shift_M = firsts_G[list_M] - (counts_M.cumsum(0) - counts_M)
    at_P = torch.repeat_interleave(shift_M, counts_M)
    at_P = at_P + torch.arange(len(at_P), device=at_P.device)
    return negatives[at_P], counts_M


class RankNet(ListConfig):
    """Logistic loss of pairs (RankNet: Burges et al., ICML 2005, with target 1).

    Of positive i: the mean of log(1 + exp(z_j - z_i)), j over the observed negatives of the
    request; pairs with equal labels do not count. Averaged over the observed positives of requests
    with both labels, where the paper sums over pairs: long requests do not count by the square.

    A row of weight w counts as w rows, exactly. Memory is in the number of pairs: a request of n
    rows has up to n²/4.
    """

    kind: Literal["ranknet"] = "ranknet"
    both_labels: ClassVar[bool] = True

    def loss(self, logits_BL: Tensor, rows: Rows) -> Tensor:
        """``ranknet``."""
        return ranknet(logits_BL[:, 0], rows)
