"""Plain stacks of layers: a trunk shared by tasks, and the tower of one task.

Shapes: B rows, I width of the input, H width of the last hidden layer, L logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from polyrank.layers.checks import all_positive, positive, share


class MLP(nn.Module):
    """Linear, ReLU, dropout for each width in turn.

    Weights start as N(0, 2 / fan_in) (He et al., ICCV 2015, equation 10), biases at zero. Bits that
    do not depend on the batch want widths that are multiples of 16 (``polyrank.layers.padding``);
    nothing is padded here.

    Args:
        in_width: Width of the input.
        widths: Width of each layer; empty leaves the input as it is.
        dropout: Share of the units of each layer set to zero in training.
        linear_last: Leave out ReLU and dropout after the last layer.

    Raises:
        ConfigError: A width below 1, or ``dropout`` outside [0, 1).
    """

    def __init__(
        self,
        in_width: int,
        widths: Sequence[int],
        *,
        dropout: float = 0.0,
        linear_last: bool = False,
    ) -> None:
        super().__init__()
        sizes = (positive("in_width", in_width), *all_positive("widths", widths))
        self.out_width = sizes[-1]
        self.linear_last = linear_last
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(share("dropout", dropout))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x_BI: Tensor) -> Tensor:
        """(B, in_width) to (B, out_width)."""
        for depth, layer in enumerate(self.layers, start=1):
            x_BI = layer(x_BI)
            if depth < len(self.layers) or not self.linear_last:
                x_BI = self.dropout(torch.relu_(x_BI))
        return x_BI


class Tower(nn.Module):
    """The layers of one task: an ``MLP``, then its logits.

    A logit is a product and a sum a row in float32 rather than a matrix product one column wide:
    under autocast it keeps full precision, and its bits do not depend on the batch.

    Args:
        in_width: Width of the input.
        widths: Width of each hidden layer; empty is a linear tower.
        num_logits: Logits L of the task.
        dropout: As in ``MLP``.
        bias: (L,) where the logits start; zero if left out.

    Raises:
        ConfigError: As ``MLP``, or ``num_logits`` below 1.
    """

    def __init__(
        self,
        in_width: int,
        widths: Sequence[int] = (64,),
        num_logits: int = 1,
        *,
        dropout: float = 0.0,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.hidden = MLP(in_width, widths, dropout=dropout)
        self.weight = nn.Parameter(
            torch.empty(positive("num_logits", num_logits), self.hidden.out_width)
        )
        self.bias = nn.Parameter(torch.zeros(num_logits))
        self.reset_parameters(bias)

    def reset_parameters(self, bias: Tensor | None = None) -> None:
        """Draw all weights again, the last from N(0, 1 / fan_in); the bias starts as given."""
        self.hidden.reset_parameters()
        nn.init.normal_(self.weight, std=self.hidden.out_width**-0.5)
        with torch.no_grad():
            self.bias.copy_(torch.zeros_like(self.bias) if bias is None else bias)

    def forward(self, x_BI: Tensor) -> Tensor:
        """(B, in_width) to logits (B, L), in the weights' precision whatever the autocast's."""
        return self.logits(self.hidden(x_BI))

    def logits(self, hidden_BH: Tensor) -> Tensor:
        """(B, out_width of ``hidden``) to logits (B, L)."""
        logits_BL: Tensor = (hidden_BH[:, None, :] * self.weight).sum(-1) + self.bias
        return logits_BL
