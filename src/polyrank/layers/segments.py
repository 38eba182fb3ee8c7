"""Sums over the segments of a ragged feature, and their transpose, both fast on the CPU.

``segment_sum`` is done by the kernel of ``embedding_bag`` (ten times as fast as ``index_add``), and
each of the two is the other's gradient. Each segment is added in its own order by one thread, so a
row's bits do not depend on the rows beside it nor on the number of threads.

Shapes: B rows, V entries of all rows in row order, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_sum(values_VD: Tensor, lengths_B: Tensor) -> Tensor:
    """Sum the entries of each row: (B, D). A row without entries is the zero vector."""
    sums_BD: Tensor = _SegmentSum.apply(values_VD, lengths_B)  # type: ignore[no-untyped-call]
    return sums_BD


def spread(rows_BD: Tensor, lengths_B: Tensor) -> Tensor:
    """Repeat each row once for each of its entries: (V, D)."""
    values_VD: Tensor = _Spread.apply(rows_BD, lengths_B)  # type: ignore[no-untyped-call]
    return values_VD


def _sum(values_VD: Tensor, lengths_B: Tensor) -> Tensor:
    starts_B = torch.cumsum(lengths_B, 0) - lengths_B
    every_V = torch.arange(values_VD.shape[0], device=values_VD.device)
    return F.embedding_bag(every_V, values_VD, starts_B, mode="sum")


def _repeat(rows_BD: Tensor, lengths_B: Tensor) -> Tensor:
    return rows_BD.index_select(0, torch.repeat_interleave(lengths_B))


class _SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_VD: Tensor, lengths_B: Tensor) -> Tensor:
        ctx.save_for_backward(lengths_B)
        return _sum(values_VD, lengths_B)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (lengths_B,) = ctx.saved_tensors
        return spread(grads[0], lengths_B), None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor, lengths_B: Tensor) -> Tensor:
        ctx.save_for_backward(lengths_B)
        return _repeat(rows_BD, lengths_B)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (lengths_B,) = ctx.saved_tensors
        return segment_sum(grads[0].contiguous(), lengths_B), None
