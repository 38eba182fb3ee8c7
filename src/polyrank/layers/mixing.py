"""The gated sum of experts, for all gates at once.

Shapes: B rows, T gates, E experts, H width of an expert's output.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


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
    mixed_BTH = torch.bmm(gates_BTE, experts_BEH)
    return dict(zip(gates, mixed_BTH.unbind(1), strict=True))
