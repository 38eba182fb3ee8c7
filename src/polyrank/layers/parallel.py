"""Linear layers side by side, each on an input of its own.

Shapes: B rows, N layers, I and O width of a layer's input and output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polyrank.layers.checks import positive


class ParallelLayers(nn.Module):
    """N layers of the same shape, each a product, a bias and ReLU, as one batched product.

    Where all read the same input, ``PackedExperts`` is the faster one. Weights are drawn from
    N(0, 2 / fan_in) (He et al., ICCV 2015, equation 10), biases start at zero.

    Args:
        num_layers: Layers N.
        in_width: Width I of each input.
        out_width: Width O of each output.

    Raises:
        ConfigError: A value below 1.
    """

    def __init__(self, num_layers: int, in_width: int, out_width: int) -> None:
        super().__init__()
        sizes = (positive("num_layers", num_layers), positive("in_width", in_width))
        self.weight = nn.Parameter(torch.empty(*sizes, positive("out_width", out_width)))
        self.bias = nn.Parameter(torch.empty(num_layers * out_width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        nn.init.normal_(self.weight, std=(2.0 / self.weight.shape[1]) ** 0.5)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """How many there are, and from what width to what."""
        num_layers, before, after = self.weight.shape
        return f"{num_layers} × ({before} → {after})"

    def forward(self, x_BNI: Tensor) -> Tensor:
        """(B, N, I) to (B, N, O): input n through layer n."""
        num_layers, _, after = self.weight.shape
        bias_N1O = self.bias.view(num_layers, 1, after)
        return torch.baddbmm(bias_N1O, x_BNI.transpose(0, 1), self.weight).relu().transpose(0, 1)
