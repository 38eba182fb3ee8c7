"""Layers on lists of numbers, in double precision; the weights are read from the built modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from polyrank.layers import MLP, PackedExperts, ParallelLayers
from polyrank.layers.batch_norm import BatchNorm

Row = list[float]


def linear(x: Row, weight: Tensor, bias: Tensor | None = None) -> Row:
    rows = weight.tolist()
    shift = [0.0] * len(rows) if bias is None else bias.tolist()
    return [
        sum(w * value for w, value in zip(row, x, strict=True)) + b
        for row, b in zip(rows, shift, strict=True)
    ]


def relu(x: Row) -> Row:
    return [max(value, 0.0) for value in x]


def sigmoid(x: Row) -> Row:
    return [1 / (1 + math.exp(-value)) for value in x]


def swish(x: Row) -> Row:
    return [value * own for value, own in zip(x, sigmoid(x), strict=True)]


def softmax(x: Row) -> Row:
    exponents = [math.exp(value) for value in x]
    return [value / sum(exponents) for value in exponents]


def times(x: Row, y: Row) -> Row:
    return [a * b for a, b in zip(x, y, strict=True)]


def plus(x: Row, y: Row) -> Row:
    return [a + b for a, b in zip(x, y, strict=True)]


def weighted(weights: Row, rows: Sequence[Row]) -> Row:
    """Σ_i w_i row_i."""
    total = [0.0] * len(rows[0])
    for weight, row in zip(weights, rows, strict=True):
        total = plus(total, [weight * value for value in row])
    return total


def mlp(x: Row, trunk: MLP, *, linear_last: bool = False) -> Row:
    for depth, layer in enumerate(trunk.layers, start=1):
        assert isinstance(layer, torch.nn.Linear)
        x = linear(x, layer.weight, layer.bias)
        if depth < len(trunk.layers) or not linear_last:
            x = relu(x)
    return x


def experts(x: Row, packed: PackedExperts) -> list[Row]:
    """The output of each expert: plain with ReLU, or with Swish and batch norm in evaluation."""
    outputs = []
    for expert in range(packed.num_experts):
        hidden = x
        for layer, weight_EOI in enumerate(packed.weights):
            out = weight_EOI.shape[1]
            own = slice(expert * out, (expert + 1) * out)
            if len(packed.norms):
                hidden = linear(hidden, weight_EOI[expert])
                norm = packed.norms[layer]
                assert isinstance(norm, BatchNorm)
                hidden = swish(_normed(hidden, norm, own))
            else:
                hidden = relu(linear(hidden, weight_EOI[expert], packed.biases[layer][own]))
        outputs.append(hidden)
    return outputs


def parallel(rows: Sequence[Row], layers: ParallelLayers) -> list[Row]:
    """Row n through layer n."""
    biases = layers.bias.view(len(rows), -1)
    return [
        relu(linear(row, layers.weight[place].t(), biases[place])) for place, row in enumerate(rows)
    ]


def _normed(x: Row, norm: BatchNorm, own: slice) -> Row:
    return [
        (value - mean) / math.sqrt(variance + 1e-5) * weight + bias
        for value, mean, variance, weight, bias in zip(
            x,
            norm.running_mean[own].tolist(),
            norm.running_variance[own].tolist(),
            norm.weight[own].tolist(),
            norm.bias[own].tolist(),
            strict=True,
        )
    ]


def slope(of: Callable[[Row], float], x: Row, step: float = 1e-5) -> Tensor:
    """The gradient of ``of`` at ``x`` by central differences."""
    found = []
    for place in range(len(x)):
        up, down = list(x), list(x)
        up[place] += step
        down[place] -= step
        found.append((of(up) - of(down)) / (2 * step))
    return torch.tensor(found, dtype=torch.float64)
