"""Optimizers of embedding tables: they touch the rows of the batch and no others.

A table's gradient arrives sparse, one entry for each looked-up id. The entries of a row are summed
first (``coalesce``), then each row takes one step. Everything runs in a fixed order, so the bits do
not depend on the number of threads.

Shapes: R rows of the table, N entries of an uncoalesced gradient, U distinct rows, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from polyrank.errors import ConfigError


def coalesce(table: Tensor) -> Tensor:
    """Sum the entries of ``table.grad`` that are of the same row, in place; at most once a step.

    Afterwards ``table.grad`` is coalesced: its rows rise, each once. The optimizers below call this
    themselves and find the work done if it was done before, so clipping costs no second sort.

    Args:
        table: A parameter with a sparse gradient of one sparse dimension.

    Returns:
        The summed gradients, (U, D): the gradient's own memory, to be scaled in place.
    """
    grad = table.grad
    assert grad is not None, "only a parameter with a gradient can be coalesced"
    assert grad.is_sparse, "a table's gradient is sparse"
    if not grad.is_coalesced():
        rows_U, values_UD = _sum_by_row(*_entries(table))
        table.grad = torch.sparse_coo_tensor(
            rows_U[None], values_UD, grad.shape, is_coalesced=True, check_invariants=False
        )
    return _entries(table)[1]


def _entries(table: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and values of ``table.grad``, as they stand in it."""
    grad: Any = table.grad
    rows: Tensor = grad._indices()[0]
    values: Tensor = grad._values()
    return rows, values


def sparse_norm(table: Tensor) -> Tensor:
    """The 2-norm of a table's gradient, repeated rows summed, as a scalar; coalesces it."""
    norm: Tensor = torch.linalg.vector_norm(coalesce(table))
    return norm


def _sum_by_row(rows_N: Tensor, values_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows, rising, and the sums of their entries, each added in the batch's order."""
    sorted_N, order_N = torch.sort(rows_N, stable=True)
    rows_U, counts_U = torch.unique_consecutive(sorted_N, return_counts=True)
    starts_U = torch.cumsum(counts_U, 0) - counts_U
    # The kernel of embedding_bag gathers and adds in one pass, 20 times as fast as index_add.
    return rows_U, F.embedding_bag(order_N, values_ND, starts_U, mode="sum")


class _Rowwise(Optimizer, ABC):
    """What the row-wise optimizers share: checks, the loop, and state that is not aliased."""

    def __init__(self, tables: Iterable[Tensor], defaults: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay"):
            if not defaults[name] >= 0.0:
                raise ConfigError(f"`{name}` must be at least 0, got {defaults[name]}")
        if not defaults["eps"] > 0.0:
            raise ConfigError(f"`eps` must be above 0, got {defaults['eps']}")
        super().__init__(tables, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the rows that have a gradient; tables without one are left alone.

        Args:
            closure: Computes the loss again, as ``torch.optim`` has it; rarely needed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad._nnz():
                    self._update(table, group)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; a copy, so that the given one can be loaded again."""
        super().load_state_dict(deepcopy(state_dict))

    def _update(self, table: Tensor, group: dict[str, Any]) -> None:
        coalesce(table)
        rows_U, values_UD = _entries(table)
        step_UD = self._step_of(table, rows_U, values_UD, group)
        old_UD = table.index_select(0, rows_U)
        if group["weight_decay"]:
            old_UD.mul_(1.0 - group["lr"] * group["weight_decay"])
        table.index_copy_(0, rows_U, old_UD.sub_(step_UD))

    @abstractmethod
    def _step_of(
        self, table: Tensor, rows_U: Tensor, values_UD: Tensor, group: dict[str, Any]
    ) -> Tensor:
        """What to subtract from each row, (U, D), in memory of its own."""

    @abstractmethod
    def scale(self, table: Tensor, square: Tensor, group: dict[str, Any]) -> Tensor:
        """(U, 1): what a step without momentum would multiply the rows of a gradient by whose
        square, sparse and coalesced, is ``square``; nothing is remembered."""


class RowwiseAdagrad(_Rowwise):
    """Adagrad with one accumulator a row: s += mean_d g_d^2; w -= lr * g / (sqrt(s) + eps).

    Duchi et al., JMLR 2011, figure 1 (diagonal), with the mean over the row in place of each
    coordinate's square, as in FBGEMM's exact row-wise Adagrad: 1 / D of the state.

    Args:
        tables: Embedding tables with sparse gradients.
        lr: Learning rate, at least 0.
        eps: Added to the root, above 0.
        weight_decay: Decoupled (Loshchilov and Hutter, ICLR 2019): a row in the batch shrinks by
            lr * weight_decay; rows outside it do not.

    Raises:
        ConfigError: A value outside its range.
    """

    def __init__(
        self,
        tables: Iterable[Tensor],
        lr: float = 0.02,
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(tables, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _step_of(
        self, table: Tensor, rows_U: Tensor, values_UD: Tensor, group: dict[str, Any]
    ) -> Tensor:
        state = self.state[table]
        if not state:
            state["sum"] = table.new_zeros(table.shape[0])
        sum_U = state["sum"].index_select(0, rows_U) + _mean_square(values_UD)
        state["sum"].index_copy_(0, rows_U, sum_U)
        scale_U: Tensor = group["lr"] / sum_U.sqrt_().add_(group["eps"])
        return values_UD * scale_U[:, None]

    def scale(self, table: Tensor, square: Tensor, group: dict[str, Any]) -> Tensor:
        """lr / (sqrt(s) + eps), s after the square."""
        sum_U = square.values().mean(dim=1)
        state = self.state.get(table, {})
        if state:
            sum_U += state["sum"].index_select(0, square.indices()[0])
        scale_U: Tensor = group["lr"] / sum_U.sqrt_().add_(group["eps"])
        return scale_U[:, None]


class RowwiseAdam(_Rowwise):
    """Lazy Adam with a first moment an element and one second moment a row.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) mean_d g_d^2; w -= lr * m^ / (sqrt(v^) + eps), with
    the bias corrections of the table's step count (Kingma and Ba, ICLR 2015, algorithm 1). Lazy: a
    row outside the batch keeps its moments instead of letting them decay, as in
    ``torch.optim.SparseAdam``; one second moment a row as in FBGEMM's partial row-wise Adam.

    Args:
        tables: Embedding tables with sparse gradients.
        lr: Learning rate, at least 0.
        betas: Decay of the moments, each in [0, 1).
        eps: Added to the root, above 0.
        weight_decay: As in ``RowwiseAdagrad``.

    Raises:
        ConfigError: A value outside its range.
    """

    def __init__(
        self,
        tables: Iterable[Tensor],
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ConfigError(f"`betas` must lie in [0, 1), got {betas}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(tables, defaults)

    def _step_of(
        self, table: Tensor, rows_U: Tensor, values_UD: Tensor, group: dict[str, Any]
    ) -> Tensor:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.int64)
            state["mean"] = torch.zeros_like(table)
            state["square"] = table.new_zeros(table.shape[0])
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean_UD: Tensor = state["mean"].index_select(0, rows_U).lerp_(values_UD, 1.0 - beta1)
        square_U: Tensor = state["square"].index_select(0, rows_U)
        square_U.lerp_(_mean_square(values_UD), 1.0 - beta2)
        state["mean"].index_copy_(0, rows_U, mean_UD)
        state["square"].index_copy_(0, rows_U, square_U)
        count = int(state["step"])
        rate = group["lr"] / (1.0 - beta1**count)
        root_U = square_U.div_(1.0 - beta2**count).sqrt_()
        scale_U: Tensor = rate / root_U.add_(group["eps"])
        return mean_UD.mul_(scale_U[:, None])

    def scale(self, table: Tensor, square: Tensor, group: dict[str, Any]) -> Tensor:
        """lr / (sqrt(v^) + eps), v^ after the square."""
        decay = group["betas"][1]
        square_U = (1.0 - decay) * square.values().mean(dim=1)
        state = self.state.get(table, {})
        if state:
            square_U += decay * state["square"].index_select(0, square.indices()[0])
        count = 1 + int(state.get("step", 0))
        root_U = square_U.div_(1.0 - decay**count).sqrt_()
        scale_U: Tensor = group["lr"] / root_U.add_(group["eps"])
        return scale_U[:, None]


def _mean_square(values_UD: Tensor) -> Tensor:
    return values_UD.square().mean(dim=1)
