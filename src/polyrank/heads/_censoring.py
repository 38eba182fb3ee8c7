"""Labels that are lower bounds.

Shapes: B rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polyrank.heads.base import Extras
from polyrank.schema import Duration


def bounds(extras: Extras, labels_B: Tensor) -> Tensor | None:
    """(B,) bool: where the label is a lower bound; null where the task has none."""
    censored_B = extras.get("censored")
    return None if censored_B is None else (censored_B == 1).to(labels_B.device)


def one_sided(loss_B: Tensor, predicted_B: Tensor, target_B: Tensor, extras: Extras) -> Tensor:
    """(B,) ``loss_B``, and 0 where the prediction is at or above a label that is a lower bound."""
    bound_B = bounds(extras, target_B)
    if bound_B is None:
        return loss_B
    return torch.where(bound_B & (predicted_B >= target_B), 0.0, loss_B)


def require_values(task: Duration, kind: str) -> None:
    """Refuse a duration whose labels may be lower bounds.

    Raises:
        ValueError: It declares ``censored``.
    """
    if task.censored is not None:
        raise ValueError(
            f"head {kind!r} takes every label for a value, and by `censored: {task.censored}` "
            "some are lower bounds. Choose 'log_normal', 'tpm' or 'cread', which learn from "
            "bounds as such, or 'log1p' or 'd2q', whose loss is one-sided there"
        )
