"""Batch norm against arithmetic in double precision.

Shapes: B rows, C columns.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.layers.batch_norm import BatchNorm


def built(width: int = 3, seed: int = 0) -> BatchNorm:
    torch.manual_seed(seed)
    norm = BatchNorm(width)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.normal_()
    return norm


def by_hand(x_BC: Tensor, norm: BatchNorm, mean: list[float], variance: list[float]) -> Tensor:
    rows = [
        [
            (value - m) / (v + 1e-5) ** 0.5 * w + b
            for value, m, v, w, b in zip(
                row, mean, variance, norm.weight.tolist(), norm.bias.tolist(), strict=True
            )
        ]
        for row in x_BC.tolist()
    ]
    return torch.tensor(rows)


def moments(x_BC: Tensor) -> tuple[list[float], list[float]]:
    """Mean and biased variance of each column."""
    columns = x_BC.T.tolist()
    mean = [sum(column) / len(column) for column in columns]
    spread = [
        sum((value - m) ** 2 for value in column) / len(column)
        for column, m in zip(columns, mean, strict=True)
    ]
    return mean, spread


def test_training_takes_the_moments_of_the_batch() -> None:
    norm, x_BC = built(), torch.randn(9, 3) * 4 + 2
    torch.testing.assert_close(norm(x_BC), by_hand(x_BC, norm, *moments(x_BC)))


def test_running_statistics_move_a_tenth_of_the_way() -> None:
    norm, x_BC = built(), torch.randn(9, 3) * 4 + 2
    norm(x_BC)
    mean, biased = moments(x_BC)
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.1 * m for m in mean]))
    unbiased = torch.tensor([0.9 + 0.1 * v * 9 / 8 for v in biased])
    torch.testing.assert_close(norm.running_variance, unbiased)


def test_evaluation_takes_the_running_statistics_alone() -> None:
    norm = built()
    for _ in range(3):
        norm(torch.randn(9, 3) * 4 + 2)
    norm.eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x_BC = torch.randn(7, 3)
    whole = norm(x_BC)
    expected = by_hand(x_BC, norm, norm.running_mean.tolist(), norm.running_variance.tolist())
    torch.testing.assert_close(whole, expected)
    for row in range(7):
        assert torch.equal(norm(x_BC[row : row + 1]), whole[row : row + 1])
    assert norm(x_BC[:0]).shape == (0, 3)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_for_a_variance_take_the_running_statistics(rows: int) -> None:
    norm = built()
    norm(torch.randn(9, 3))
    before = norm.running_mean.clone(), norm.running_variance.clone()
    x_BC = torch.randn(rows, 3, requires_grad=True)
    y_BC = norm(x_BC)
    y_BC.sum().backward()
    assert torch.equal(y_BC, norm.eval()(x_BC))
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_variance, before[1])
    assert norm.weight.grad is not None
    assert norm.weight.grad.isfinite().all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_leaves_the_running_statistics_of_its_column(wrong: float) -> None:
    norm, x_BC = built(), torch.randn(9, 3)
    x_BC[4, 1] = wrong
    norm(x_BC)
    assert norm.running_mean[1] == 0
    assert norm.running_variance[1] == 1
    assert norm.running_mean[[0, 2]].all()
    assert (norm.running_variance[[0, 2]] != 1).all()


def test_gradients_are_those_of_finite_differences() -> None:
    norm = built().double()
    x_BC = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x_BC,))
    assert torch.autograd.gradcheck(norm.eval(), (x_BC,))


def test_statistics_of_bf16_are_float32() -> None:
    norm = built()
    rough_BC = (torch.randn(4096, 3) * 0.1 + 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y_BC = norm(rough_BC)
    assert y_BC.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32
    mean, biased = moments(rough_BC.double())
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.1 * m for m in mean]))
    kept = torch.tensor([0.9 + 0.1 * v * 4096 / 4095 for v in biased])
    torch.testing.assert_close(norm.running_variance, kept)
    expected = by_hand(rough_BC.float(), norm, mean, biased)
    torch.testing.assert_close(y_BC.float(), expected, rtol=0.01, atol=0.02)


def test_the_statistics_are_part_of_the_state() -> None:
    norm = built()
    norm(torch.randn(9, 3))
    other = BatchNorm(3)
    other.load_state_dict(norm.state_dict())
    x_BC = torch.randn(4, 3)
    assert torch.equal(other.eval()(x_BC), norm.eval()(x_BC))
    other.reset_parameters()
    assert torch.equal(other(x_BC), BatchNorm(3).eval()(x_BC))


def test_no_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="`width` must be at least 1, got 0"):
        BatchNorm(0)
