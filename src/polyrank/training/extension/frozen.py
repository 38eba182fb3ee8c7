"""What does not move: the pieces of the network that came from the parent.

Tensors may be frozen in part, since the experts and gates of several tasks are packed into one.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from polyrank.layers import pieces
from polyrank.layers.batch_norm import BatchNorm
from polyrank.model import RankingModel


class Frozen:
    """Keeps pieces of a network as they are, to the bit.

    Parameters that are frozen throughout get no gradient. Of the others the frozen elements' is
    taken away before its norm is, and what weight decay does to them is undone. Batch norms take
    the running statistics of frozen columns in training, too, and do not move them.

    Args:
        model: On its device, with the values that are to stay.
        kept: Names of the pieces, by the network's owners.
    """

    def __init__(self, model: RankingModel, kept: Collection[str]) -> None:
        state = model.state_dict()
        masks = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in state.items()}
        for name, mask in pieces(model, model.owners, masks).items():
            if name in kept:
                mask.fill_(value=True)
        parameters = dict(model.named_parameters())
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []
        for name, mask in masks.items():
            if name in parameters and mask.all():
                parameters[name].requires_grad = False
            elif mask.any():
                tensor = parameters.get(name, state[name])
                self._held.append((tensor, mask, tensor.detach().clone()))
        for name, module in model.named_modules():
            if isinstance(module, BatchNorm):
                module.hold(masks[f"{name}.running_mean"])

    def clear_gradients(self) -> None:
        """Take the frozen elements' gradients away."""
        for tensor, mask, _ in self._held:
            if tensor.grad is not None:
                tensor.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the frozen elements back."""
        for tensor, mask, values in self._held:
            tensor.copy_(torch.where(mask, values, tensor))
