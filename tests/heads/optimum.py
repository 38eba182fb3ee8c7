"""The logits that minimise a head's mean loss over a sample, found by descent.

Shapes: N labels, L logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polyrank.heads import Head


def smooth_optimum(head: Head, labels: Sequence[float]) -> Tensor:
    """(1, L) float64 by L-BFGS: for losses with a second derivative."""
    labels_N, logits_1L = _start(head, labels)
    optimizer = torch.optim.LBFGS(
        [logits_1L],
        max_iter=1000,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = _mean_loss(head, logits_1L, labels_N)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return logits_1L.detach()


def kinked_optimum(head: Head, labels: Sequence[float], steps: int = 800) -> Tensor:
    """(1, L) float64 by subgradient descent with falling steps: for losses with corners."""
    labels_N, logits_1L = _start(head, labels)
    optimizer = torch.optim.Adam([logits_1L], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        _mean_loss(head, logits_1L, labels_N).backward()
        optimizer.step()
        schedule.step()
    return logits_1L.detach()


def _start(head: Head, labels: Sequence[float]) -> tuple[Tensor, Tensor]:
    labels_N = torch.tensor(labels, dtype=torch.float64)
    return labels_N, head.initial_logits().double()[None].requires_grad_()


def _mean_loss(head: Head, logits_1L: Tensor, labels_N: Tensor) -> Tensor:
    return head.loss(logits_1L.expand(len(labels_N), -1), labels_N).mean()
