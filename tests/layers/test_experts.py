"""Packed experts against one network an expert."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers import PackedExperts

SHAPES = pytest.mark.parametrize(
    ("widths", "num_experts"), [((5, 4), 3), ((6,), 2), ((4, 3, 5), 1), ((7, 2, 3, 4), 4)]
)


def one_by_one(experts: PackedExperts, x_BD: Tensor) -> Tensor:
    """The definition, an expert at a time."""
    outputs = []
    for expert in range(experts.num_experts):
        hidden = x_BD
        for weight_EOI, bias in zip(experts.weights, experts.biases, strict=True):
            own = bias.view(experts.num_experts, -1)[expert]
            hidden = torch.relu(hidden @ weight_EOI[expert].T + own)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def built(widths: tuple[int, ...], num_experts: int, seed: int = 0) -> PackedExperts:
    torch.manual_seed(seed)
    experts = PackedExperts(6, widths, num_experts).double()
    for bias in experts.biases:
        torch.nn.init.normal_(bias)
    return experts


@SHAPES
def test_outputs_and_gradients_are_those_of_the_loop(
    widths: tuple[int, ...], num_experts: int
) -> None:
    experts = built(widths, num_experts)
    x_BD = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, num_experts, widths[-1], dtype=torch.float64)
    learned = [x_BD, *experts.parameters()]
    packed, loop = experts(x_BD), one_by_one(experts, x_BD)
    torch.testing.assert_close(packed, loop)
    assert packed.shape == (9, num_experts, experts.out_width)
    ours = torch.autograd.grad((packed * weight).sum(), learned)
    theirs = torch.autograd.grad((loop * weight).sum(), learned)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)
        assert our.any()


@SHAPES
def test_gradients_are_those_of_finite_differences(
    widths: tuple[int, ...], num_experts: int
) -> None:
    experts = built(widths, num_experts)
    names = [name for name, _ in experts.named_parameters()]
    x_BD = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def call(x_BD: Tensor, *values: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(
            experts, dict(zip(names, values, strict=True)), (x_BD,)
        )
        return outputs

    assert torch.autograd.gradcheck(call, (x_BD, *experts.parameters()))


def test_an_input_without_a_gradient_costs_none() -> None:
    experts = built((4, 3), 2)
    x_BD = torch.randn(5, 6, dtype=torch.float64)
    experts(x_BD).sum().backward()
    assert x_BD.grad is None
    assert all(p.grad is not None for p in experts.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_are_the_same_bits_without_gradients(dtype: torch.dtype) -> None:
    experts = built((32, 16), 3).to(dtype)
    x_BD = torch.randn(33, 6, dtype=dtype)
    with torch.no_grad():
        alone = experts(x_BD)
    with_gradients = experts(x_BD)
    assert torch.equal(alone, with_gradients)
    assert not alone.requires_grad
    assert with_gradients.requires_grad


def test_float32_is_the_loop_to_rounding() -> None:
    experts = built((32, 16), 3).float()
    x_BD = torch.randn(40, 6)
    torch.testing.assert_close(experts(x_BD), one_by_one(experts, x_BD))


def test_autocast_computes_in_bf16_and_trains_float32_weights() -> None:
    torch.manual_seed(0)
    experts = PackedExperts(48, (32, 16), 4)
    x_BD = torch.randn(64, 48, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        packed = experts(x_BD)
    assert packed.dtype == torch.bfloat16
    torch.testing.assert_close(packed.float(), one_by_one(experts, x_BD), rtol=0.05, atol=0.05)
    packed.float().square().sum().backward()
    rough = [p.grad for p in (x_BD, *experts.parameters())]
    exact = torch.autograd.grad(
        one_by_one(experts, x_BD).square().sum(), [x_BD, *experts.parameters()]
    )
    for our, their in zip(rough, exact, strict=True):
        assert our is not None
        assert our.dtype == torch.float32
        assert float((our - their).norm() / their.norm()) < 0.03


def test_experts_start_apart_with_the_variance_of_he() -> None:
    torch.manual_seed(0)
    experts = PackedExperts(100, (200, 50), 3)
    for weight_EOI in experts.weights:
        fan_in = weight_EOI.shape[2]
        for expert in range(3):
            assert weight_EOI[expert].std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert not torch.equal(weight_EOI[0], weight_EOI[1])
    assert not any(bias.any() for bias in experts.biases)
    torch.manual_seed(0)
    again = PackedExperts(100, (200, 50), 3)
    assert all(torch.equal(a, b) for a, b in zip(experts.weights, again.weights, strict=True))


def test_no_rows_give_no_rows() -> None:
    assert PackedExperts(6, (4,), 2)(torch.zeros(0, 6)).shape == (0, 2, 4)


@pytest.mark.parametrize(
    ("in_width", "widths", "num_experts", "named"),
    [
        (0, (4,), 2, "in_width"),
        (4, (), 2, "widths"),
        (4, (4, 0), 2, r"widths\[1\]"),
        (4, (4,), 0, "num_experts"),
    ],
)
def test_impossible_shapes_are_refused(
    in_width: int, widths: tuple[int, ...], num_experts: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"`{named}` must .*, got"):
        PackedExperts(in_width, widths, num_experts)
