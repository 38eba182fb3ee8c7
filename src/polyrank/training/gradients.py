"""The global norm of dense and sparse gradients together, and clipping by it."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from polyrank.training.rowwise import coalesce, sparse_norm


def global_norm(dense: Collection[Tensor], tables: Collection[Tensor]) -> float:
    """The 2-norm of all gradients as one vector; one transfer from the device.

    It is infinite or NaN if any gradient is, and where a square overflows fp32.

    Args:
        dense: Parameters with strided gradients, or none.
        tables: Parameters with sparse gradients, which are coalesced, or none.
    """
    norms = [torch.linalg.vector_norm(p.grad) for p in dense if p.grad is not None]
    norms += [sparse_norm(table) for table in tables if table.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0


@torch.no_grad()
def clip(dense: Collection[Tensor], tables: Collection[Tensor], norm: float, bound: float) -> None:
    """Scale all gradients by bound / norm where the norm is above the bound.

    ``torch.nn.utils.clip_grad_norm_`` adds 1e-6 to the norm; this does not, so that a gradient at
    the bound stays as it is.
    """
    if norm <= bound:
        return
    factor = bound / norm
    for parameter in dense:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
    for table in tables:
        if table.grad is not None:
            coalesce(table).mul_(factor)
