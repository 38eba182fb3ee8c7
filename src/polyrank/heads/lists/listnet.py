"""ListNet: cross-entropy of the top-one probabilities of a request.

Shapes: B rows, N rows in lists, L logits.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from polyrank.heads.base import at_least_float32
from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.groups import Lists, Rows


def listnet(logits_B: Tensor, rows: Rows) -> Tensor:
    """(B,): -log(w_i exp(z_i) / Σ_j w_j exp(z_j)) of each positive i, j over its request."""
    lists = Lists.of(rows, both=False)
    log_N = lists.log_share(at_least_float32(logits_B)[lists.rows_N])
    return lists.place((-log_N).where(lists.positive_N, 0.0), logits_B)


class ListNet(ListConfig):
    """Softmax cross-entropy within a request (ListNet: Cao et al., ICML 2007, top-one probability).

    Of positive i: -log(exp(z_i) / Σ_j exp(z_j)), j over the observed rows of the request; averaged
    over the observed positives that have a request. So a request counts by its positives, where the
    paper counts requests alike. Positives of a request are tied: they share the target equally, the
    limit of the paper's softmax of labels as these grow apart; the paper's own exp(label) would
    leave each negative more than a third of what a positive has.

    A row of weight w stands for w rows: in the gradient exactly; in the value but for the constant
    -log w of each positive, without which small weights would make it negative. It does not see a
    shift of all logits of a request, so calibration is left to the cross-entropy.
    """

    kind: Literal["listnet"] = "listnet"
    both_labels: ClassVar[bool] = False

    def loss(self, logits_BL: Tensor, rows: Rows) -> Tensor:
        """``listnet``."""
        return listnet(logits_BL[:, 0], rows)
