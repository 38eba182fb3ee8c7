"""RCR: a listwise cross-entropy of probabilities, which agrees with the pointwise one.

Shapes: B rows, N rows in lists, L logits.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from polyrank.heads.base import at_least_float32
from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.groups import Lists, Rows


def list_ce(logits_B: Tensor, rows: Rows) -> Tensor:
    """(B,): -log(w_i σ(z_i) / Σ_j w_j σ(z_j)) of each positive i, j over its request."""
    lists = Lists.of(rows, both=False)
    logit_N = at_least_float32(logits_B)[lists.rows_N]
    log_N = lists.log_share(F.logsigmoid(logit_N))
    return lists.place((-log_N).where(lists.positive_N, 0.0), logits_B)


class RCR(ListConfig):
    """Regression compatible ranking (Bai et al., KDD 2023): SigmoidCE + ListCE.

    SigmoidCE is the head's own loss. ListCE, of positive i: -log(σ(z_i) / Σ_j σ(z_j)), j over the
    observed rows of the request. Both are least where σ(z) is the rate of the label, up to a
    factor a request in ListCE, so that ranking does not pull at calibration.

    Averaged over the observed positives that have a request; so a request counts by its positives,
    where the paper counts requests alike. Where the paper weighs (1 - alpha) and alpha, ``weight``
    is alpha / (1 - alpha). Row weights are as in ``ListNet``.
    """

    kind: Literal["rcr"] = "rcr"
    both_labels: ClassVar[bool] = False

    def loss(self, logits_BL: Tensor, rows: Rows) -> Tensor:
        """``list_ce``."""
        return list_ce(logits_BL[:, 0], rows)
