"""Packed experts with Swish and norms, against one network an expert.

Shapes: B rows, D width of the input, E experts.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from polyrank.layers import PackedExperts, cost_of
from polyrank.layers.batch_norm import BatchNorm
from polyrank.layers.experts import Activation, Norm
from tests.layers.helpers import threads

COMPOSED: list[tuple[Activation, Norm]] = [
    ("swish", "none"),
    ("relu", "layer"),
    ("swish", "layer"),
    ("relu", "batch"),
    ("swish", "batch"),
]
KINDS = pytest.mark.parametrize(("activation", "norm"), COMPOSED)
WIDTHS = (5, 4, 3)
NUM = 3


def built(
    activation: Activation,
    norm: Norm,
    widths: tuple[int, ...] = WIDTHS,
    num: int = NUM,
    in_width: int = 6,
) -> PackedExperts:
    torch.manual_seed(0)
    experts = PackedExperts(in_width, widths, num, activation=activation, norm=norm)
    with torch.no_grad():
        for name, parameter in experts.named_parameters():
            if not name.startswith("weights"):
                parameter.normal_()
        for name, buffer in experts.named_buffers():
            buffer.uniform_(0.5, 1.5)
            assert "running" in name
    return experts


def one_by_one(experts: PackedExperts, x_BD: Tensor, activation: Activation, norm: Norm) -> Tensor:
    """The definition, an expert at a time; nothing of it is the packed layout's."""
    outputs = []
    for expert in range(experts.num_experts):
        hidden = x_BD
        for layer, weight_EOI in enumerate(experts.weights):
            hidden = hidden @ weight_EOI[expert].T
            place = slice(expert * hidden.shape[1], (expert + 1) * hidden.shape[1])
            if norm != "batch":
                hidden = hidden + experts.biases[layer][place]
            if norm != "none":
                hidden = _normed(experts, layer, place, hidden, norm)
            hidden = hidden.relu() if activation == "relu" else hidden / (1 + (-hidden).exp())
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def _normed(experts: PackedExperts, layer: int, place: slice, hidden: Tensor, norm: Norm) -> Tensor:
    own = experts.norms[layer]
    assert isinstance(own.weight, Tensor)
    assert isinstance(own.bias, Tensor)
    if norm == "layer":
        mean = hidden.mean(1, keepdim=True)
        variance = (hidden - mean).square().mean(1, keepdim=True)
    elif experts.training:
        mean = hidden.mean(0)
        variance = (hidden - mean).square().mean(0)
    else:
        assert isinstance(own, BatchNorm)
        mean, variance = own.running_mean[place], own.running_variance[place]
    return (hidden - mean) / (variance + 1e-5).sqrt() * own.weight[place] + own.bias[place]


@KINDS
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_the_loop(
    activation: Activation, norm: Norm, training: bool
) -> None:
    experts = built(activation, norm).double().train(training)
    x_BD = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, NUM, WIDTHS[-1], dtype=torch.float64)
    learned = [x_BD, *experts.parameters()]
    packed, loop = experts(x_BD), one_by_one(experts, x_BD, activation, norm)
    torch.testing.assert_close(packed, loop)
    ours = torch.autograd.grad((packed * weight).sum(), learned)
    theirs = torch.autograd.grad((loop * weight).sum(), learned)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)
        assert our.any()


def test_the_composed_way_is_the_written_out_one() -> None:
    """Normed with running statistics that undo nothing, ReLU experts are the plain ones."""
    plain, normed = built("relu", "none"), built("relu", "batch").eval()
    with torch.no_grad():
        for ours, theirs in zip(normed.weights, plain.weights, strict=True):
            ours.copy_(theirs)
        for own, bias in zip(normed.norms, plain.biases, strict=True):
            assert isinstance(own, BatchNorm)
            own.reset_parameters()
            own.running_variance.sub_(1e-5)
            own.bias.copy_(bias)
    x_BD = torch.randn(9, 6)
    torch.testing.assert_close(normed(x_BD), plain(x_BD))


@KINDS
def test_a_row_has_the_same_bits_in_every_batch_and_place(
    activation: Activation, norm: Norm
) -> None:
    experts = built(activation, norm, (32, 16), in_width=48).eval()
    x_BD = torch.randn(128, 48)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad(), threads(1):
        whole = experts(x_BD)
        for size in (32, 64, 96):
            chosen = torch.randperm(128, generator=generator)[:size]
            assert torch.equal(experts(x_BD[chosen]), whole[chosen])


@KINDS
def test_autocast_computes_in_bf16_and_norms_in_float32(activation: Activation, norm: Norm) -> None:
    experts = built(activation, norm, (32, 16), 4, 48)
    x_BD = torch.randn(64, 48, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        packed = experts(x_BD)
    assert packed.dtype == torch.bfloat16
    exact = one_by_one(experts, x_BD, activation, norm).detach()
    assert float((packed.detach().float() - exact).norm() / exact.norm()) < 0.02
    packed.float().square().sum().backward()
    for parameter in (x_BD, *experts.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    assert all(buffer.dtype == torch.float32 for buffer in experts.buffers())


@KINDS
@pytest.mark.parametrize(("rows", "training"), list(product([0, 1], [True, False])))
def test_no_row_and_one_row_are_finite(
    activation: Activation, norm: Norm, rows: int, training: bool
) -> None:
    experts = built(activation, norm).train(training)
    packed = experts(torch.randn(rows, 6))
    assert packed.shape == (rows, NUM, WIDTHS[-1])
    packed.sum().backward()
    assert packed.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in experts.parameters())


@KINDS
def test_norms_cost_parameters_and_no_products(activation: Activation, norm: Norm) -> None:
    cost = cost_of(built(activation, norm))
    products = NUM * (6 * 5 + 5 * 4 + 4 * 3)
    shifts = {"none": 1, "layer": 3, "batch": 2}[norm]
    assert cost.multiply_adds == products
    assert cost.parameters == products + NUM * sum(WIDTHS) * shifts


def test_plain_experts_hold_what_they_always_held() -> None:
    names = [name for name, _ in PackedExperts(6, (5, 4), 2).state_dict().items()]
    assert names == ["weights.0", "weights.1", "biases.0", "biases.1"]


@KINDS
def test_drawing_again_forgets_everything(activation: Activation, norm: Norm) -> None:
    torch.manual_seed(0)
    fresh = PackedExperts(6, WIDTHS, NUM, activation=activation, norm=norm)
    used = built(activation, norm)
    used(torch.randn(9, 6))
    torch.manual_seed(0)
    used.reset_parameters()
    for name, value in fresh.state_dict().items():
        assert torch.equal(used.state_dict()[name], value), name
