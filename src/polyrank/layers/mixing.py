"""The gated sum of experts, for all gates at once.

Shapes: B rows, T gates, E experts, H width of an expert's output.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 4
"""Sums in a product: of two numbers of sums that are both multiples of it, the product takes the
same way through each."""
_SMALL = 400
"""Multiplications a row below which torch takes another way."""


def weighted_sums(weights_BTE: Tensor, x_BEH: Tensor) -> Tensor:
    """Σ_e w_te x_e for every t, as one product: (B, T, H).

    Without gradients the bits of a sum do not depend on how many others there are, nor on terms of
    weight 0 behind its own: rows of zeros fill the product up to whole blocks.
    """
    if torch.is_grad_enabled() or torch.compiler.is_exporting():
        return torch.bmm(weights_BTE, x_BEH)
    num_sums = weights_BTE.shape[1]
    missing = padded_sums(num_sums, x_BEH.shape[1] * x_BEH.shape[2]) - num_sums
    return torch.bmm(F.pad(weights_BTE, (0, 0, 0, missing)), x_BEH)[:, :num_sums]


def padded_sums(num_sums: int, size: int) -> int:
    """How many sums of ``size`` multiplications each fill whole blocks of a product."""
    least = -(-_SMALL // max(1, size))
    return -(-max(num_sums, least) // _BLOCK) * _BLOCK


def mix(experts_BEH: Tensor, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """f_k(x) = sum_i g_k(x)_i E_i(x) (Ma et al., MMoE, KDD 2018, section 4.2), for each gate k.

    One batched product of (T, E) by (E, H) a row: each expert is read once for all gates, and the
    sum runs in the experts' precision.

    Args:
        experts_BEH: Outputs of the experts.
        gates: By name, the weight of each expert: (B, E) each.

    Returns:
        By the same names, the mixtures: (B, H) each.
    """
    gates_BTE = torch.stack(tuple(gates.values()), dim=1).to(experts_BEH.dtype)
    mixed_BTH = weighted_sums(gates_BTE, experts_BEH)
    return dict(zip(gates, mixed_BTH.unbind(1), strict=True))
