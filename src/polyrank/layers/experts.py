"""All experts as one product.

Shapes: B rows, D width of the input, E experts, H width of an expert's output, I and O the input
and output width of one expert's layer. Packed means the experts' columns side by side: (B, E * O),
and biases (E * O,).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers.batch_norm import EPSILON, BatchNorm
from polyrank.layers.checks import all_positive, positive

Activation = Literal["relu", "swish"]
"""Swish is x * sigmoid(x) (Ramachandran et al., 2017)."""
Norm = Literal["none", "layer", "batch"]

_threshold_backward = torch.ops.aten.threshold_backward
_fused_linear = torch.ops.mkldnn._linear_pointwise


class PackedExperts(nn.Module):
    """E expert networks of the same shape: activation(norm(W x + b)) for each layer.

    The first layer of all experts is one product; each later layer is one product an expert, on its
    slice of the packed columns. With ReLU and no norm the results are written into their slices, so
    that nothing is stacked, transposed or concatenated, and the backward pass is written out for
    the same reason. Each expert's weights are drawn on their own from N(0, 2 / fan_in) (He et al.,
    ICCV 2015, equation 10), biases start at zero. Under autocast the products run in its precision,
    the norms in the parameters'.

    Args:
        in_width: Width D of the input.
        widths: Width of each layer of an expert.
        num_experts: Experts, at least 1.
        activation: After every layer.
        norm: Between product and activation. ``layer`` is over the columns of one expert, each
            expert with a scale and shift of its own (Ba et al., 2016). ``batch`` is over the rows
            (``BatchNorm``, which says what it does at serving and under several processes); its
            shift is the bias, since it would take any other out again.

    Raises:
        ConfigError: A value below 1, or no width.
    """

    def __init__(
        self,
        in_width: int,
        widths: Sequence[int] = (256, 128),
        num_experts: int = 8,
        *,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        if not widths:
            raise ConfigError("`widths` must name at least one layer, got none")
        sizes = (positive("in_width", in_width), *all_positive("widths", widths))
        self.num_experts = positive("num_experts", num_experts)
        self.out_width = sizes[-1]
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(
            torch.empty(num_experts, after, before) for before, after in pairs
        )
        biased = () if norm == "batch" else pairs
        self.biases = nn.ParameterList(torch.empty(num_experts * after) for _, after in biased)
        normed = () if norm == "none" else pairs
        self.norms = nn.ModuleList(_norm(norm, num_experts, after) for _, after in normed)
        self._activate = {"relu": F.relu, "swish": F.silu}[activation]
        self._written_out = activation == "relu" and norm == "none"
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        for weight_EOI in self.weights:
            nn.init.normal_(weight_EOI, std=(2.0 / weight_EOI.shape[2]) ** 0.5)
        for bias in self.biases:
            nn.init.zeros_(bias)
        for norm in self.norms:
            assert isinstance(norm, BatchNorm | _LayerNorm)
            norm.reset_parameters()

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, in_width) to the experts' outputs, (B, E, H)."""
        dtype = _compute_dtype(x_BD)
        if not self._written_out or torch.compiler.is_exporting():
            return self._composed(x_BD.to(dtype))
        tensors = [tensor.to(dtype) for tensor in (x_BD, *self.weights, *self.biases)]
        if torch.is_grad_enabled():
            packed: Tensor = _Experts.apply(*tensors)  # type: ignore[no-untyped-call]
        else:
            packed = _activations(*_unpack(tensors))[-1]
        return packed.view(-1, self.num_experts, self.out_width)

    def _composed(self, x_BD: Tensor) -> Tensor:
        """The same by automatic differentiation, for any activation and norm."""
        packed = x_BD
        for layer, weight_EOI in enumerate(self.weights):
            weight_EOI = weight_EOI.to(x_BD.dtype)
            bias = self.biases[layer].to(x_BD.dtype) if len(self.biases) else None
            packed = _product(packed, weight_EOI, bias, every=layer == 0)
            if len(self.norms):
                packed = self.norms[layer](packed)
            packed = self._activate(packed)
        return packed.view(-1, self.num_experts, self.out_width)


class _LayerNorm(nn.Module):
    """Mean 0 and variance 1 over the columns of an expert, then a scale and shift a column."""

    def __init__(self, num_experts: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(num_experts * width))
        self.bias = nn.Parameter(torch.empty(num_experts * width))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, packed: Tensor) -> Tensor:
        own_BEO = packed.to(self.weight.dtype).unflatten(1, (-1, self.width))
        normed = F.layer_norm(own_BEO, (self.width,), eps=EPSILON).flatten(1)
        return torch.addcmul(self.bias, normed, self.weight).to(packed.dtype)


def _norm(norm: Norm, num_experts: int, width: int) -> BatchNorm | _LayerNorm:
    return BatchNorm(num_experts * width) if norm == "batch" else _LayerNorm(num_experts, width)


def _product(packed: Tensor, weight_EOI: Tensor, bias: Tensor | None, *, every: bool) -> Tensor:
    """W x + b, packed: of the same input for every expert, or of its slice for each."""
    num_experts, after, before = weight_EOI.shape
    if every:
        return F.linear(packed, weight_EOI.flatten(0, 1), bias)
    own = [None] * num_experts if bias is None else bias.split(after)
    parts = zip(packed.split(before, dim=1), weight_EOI.unbind(0), own, strict=True)
    return torch.cat([F.linear(*part) for part in parts], dim=1)


def _compute_dtype(x_BD: Tensor) -> torch.dtype:
    device = x_BD.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x_BD.dtype


def _unpack(tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
    depth = len(tensors) // 2
    return tensors[0], tensors[1 : 1 + depth], tensors[1 + depth :]


def _activations(x_BD: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """The packed output of each layer, after ReLU."""
    outputs = [_first(x_BD, weights[0], biases[0])]
    for weight_EOI, bias in zip(weights[1:], biases[1:], strict=True):
        num_experts, after, before = weight_EOI.shape
        packed = x_BD.new_empty(x_BD.shape[0], num_experts * after)
        ins, outs = outputs[-1].split(before, dim=1), packed.split(after, dim=1)
        own = bias.split(after)
        for expert in range(num_experts):
            torch.addmm(own[expert], ins[expert], weight_EOI[expert].t(), out=outs[expert])
        outputs.append(packed.relu_())
    return outputs


def _first(x_BD: Tensor, weight_EOI: Tensor, bias: Tensor) -> Tensor:
    weight = weight_EOI.flatten(0, 1)
    if x_BD.device.type == "cpu" and x_BD.dtype in (torch.float32, torch.bfloat16):
        # Bias and ReLU inside the product: two passes over the largest activation saved.
        fused: Tensor = _fused_linear(x_BD, weight, bias, "relu", [], "")
        return fused
    return torch.addmm(bias, x_BD, weight.t()).relu_()


class _Experts(torch.autograd.Function):
    """Arguments: the input, the weights of each layer, the biases of each layer."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        x_BD, weights, biases = _unpack(tensors)
        outputs = _activations(x_BD, weights, biases)
        ctx.depth = len(weights)
        ctx.save_for_backward(x_BD, *weights, *outputs)
        return outputs[-1]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_BD, *saved = ctx.saved_tensors
        weights, outputs = saved[: ctx.depth], saved[ctx.depth :]
        weight_grads: list[Tensor] = []
        bias_grads: list[Tensor] = []
        grad = _threshold_backward(grads[0], outputs[-1], 0)
        for weight_EOI, packed in zip(weights[:0:-1], outputs[-2::-1], strict=True):
            bias_grads.insert(0, grad.sum(0))
            grad, weight_grad = _layer_backward(grad, weight_EOI, packed)
            weight_grads.insert(0, weight_grad)
            _threshold_backward.grad_input(grad, packed, 0, grad_input=grad)
        first = weights[0].flatten(0, 1)
        bias_grads.insert(0, grad.sum(0))
        weight_grads.insert(0, (grad.t() @ x_BD).view_as(weights[0]))
        x_grad = grad @ first if ctx.needs_input_grad[0] else None
        return (x_grad, *weight_grads, *bias_grads)


def _layer_backward(grad: Tensor, weight_EOI: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a later layer's packed input and of its weights."""
    num_experts, after, before = weight_EOI.shape
    input_grad, weight_grad = torch.empty_like(packed), torch.empty_like(weight_EOI)
    grads, ins = grad.split(after, dim=1), packed.split(before, dim=1)
    outs = input_grad.split(before, dim=1)
    for expert in range(num_experts):
        torch.mm(grads[expert], weight_EOI[expert], out=outs[expert])
        torch.mm(grads[expert].t(), ins[expert], out=weight_grad[expert])
    return input_grad, weight_grad
