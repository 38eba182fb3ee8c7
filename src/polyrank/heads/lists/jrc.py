"""JRC: two logits a row, their difference calibrated, each of them compared within the request.

Shapes: B rows, N rows in lists, L logits.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from polyrank.heads.base import at_least_float32
from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.groups import Lists, Rows


def jrc(positive_B: Tensor, negative_B: Tensor, rows: Rows) -> Tensor:
    """(B,): -log(w_i exp(f_i) / Σ_j w_j exp(f_j)), j over the request of row i, f the logit of the
    label of row i.

    Args:
        positive_B: Each row's logit of label 1.
        negative_B: Each row's logit of label 0.
        rows: What is known of the rows.
    """
    lists = Lists.of(rows, both=True)
    yes_N, no_N = (
        lists.log_share(at_least_float32(logit_B)[lists.rows_N])
        for logit_B in (positive_B, negative_B)
    )
    return lists.place(-yes_N.where(lists.positive_N, no_N), positive_B)


class JRC(ListConfig):
    """Joint optimisation of ranking and calibration (Sheng et al., KDD 2023).

    A row has a logit f[y] of either label y; the prediction is σ(f[1] - f[0]), and the head's
    cross-entropy calibrates it. The term, of a row i with label y:
    -log(exp(f_i[y]) / Σ_j exp(f_j[y])), j over the observed rows of the request.

    The task's logit stays z = f[1] - f[0]; a further tower ``<task>.jrc`` gives u = f[1] + f[0].
    That is the paper's pair of logits in other coordinates, the second from a tower of its own. A
    constant added to u in all rows of a request changes nothing, so rounding moves that tower.
    Averaged over the observed rows of requests with both labels; the paper has requests with one
    label as well, which hold nothing to rank. Where the paper weighs alpha and (1 - alpha),
    ``weight`` is (1 - alpha) / alpha. Row weights are as in ``ListNet``.
    """

    kind: Literal["jrc"] = "jrc"
    num_further_logits: ClassVar[int] = 1
    both_labels: ClassVar[bool] = True
    negatives_learn: ClassVar[bool] = True

    def loss(self, logits_BL: Tensor, rows: Rows) -> Tensor:
        """``jrc``."""
        difference_B, sum_B = at_least_float32(logits_BL).unbind(1)
        return jrc((sum_B + difference_B) / 2, (sum_B - difference_B) / 2, rows)
