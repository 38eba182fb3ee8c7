"""Pooling against loops over lists."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrank.layers import TargetAttention, mean_pool, segment_sum, spread
from tests.layers.helpers import threads

DIM = 3

lengths = st.lists(st.integers(0, 5), max_size=12)


def entries(lengths_B: Tensor, dim: int = DIM, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    total = int(lengths_B.sum())
    return torch.randn(total, dim, generator=generator, dtype=torch.float64).to(dtype)


def lists(values_VD: Tensor, lengths_B: Tensor) -> list[list[list[float]]]:
    parts = values_VD.split(lengths_B.tolist())
    return [part.tolist() for part in parts]


@given(lengths)
def test_the_mean_of_each_list_and_zero_for_none(counts: list[int]) -> None:
    lengths_B = torch.tensor(counts, dtype=torch.int64)
    values_VD = entries(lengths_B)
    pooled = mean_pool(values_VD, lengths_B)
    wanted = [
        [sum(column) / len(rows) for column in zip(*rows, strict=True)] if rows else [0.0] * DIM
        for rows in lists(values_VD, lengths_B)
    ]
    assert pooled.shape == (len(counts), DIM)
    torch.testing.assert_close(pooled, torch.tensor(wanted, dtype=torch.float64).view(-1, DIM))


@given(lengths)
def test_spread_repeats_each_row(counts: list[int]) -> None:
    lengths_B = torch.tensor(counts, dtype=torch.int64)
    rows_BD = torch.arange(len(counts) * DIM, dtype=torch.float64).view(-1, DIM)
    wanted = [rows_BD[row].tolist() for row, count in enumerate(counts) for _ in range(count)]
    assert spread(rows_BD, lengths_B).tolist() == wanted


def activation(unit: TargetAttention, target: Tensor, entry: Tensor) -> float:
    """The activation unit, written out for one pair."""
    x = torch.cat([target, entry, target - entry, target * entry])
    for layer in unit.unit.hidden.layers:
        assert isinstance(layer, torch.nn.Linear)
        x = torch.stack(
            [
                max(torch.zeros((), dtype=x.dtype), (row * x).sum() + bias)
                for row, bias in zip(layer.weight, layer.bias, strict=True)
            ]
        )
    return ((x * unit.unit.weight[0]).sum() + unit.unit.bias[0]).item()


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_the_weighted_sum_of_each_list(training: bool) -> None:
    torch.manual_seed(1)
    unit = TargetAttention(DIM, widths=(8, 4)).double().train(training)
    lengths_B = torch.tensor([2, 0, 3, 1])
    values_VD = entries(lengths_B)
    target_BD = entries(torch.tensor([4])) + 1.0
    pooled = unit(values_VD, lengths_B, target_BD)
    for row, own in enumerate(values_VD.split(lengths_B.tolist())):
        wanted = torch.zeros(DIM, dtype=torch.float64)
        for entry in own:
            wanted = wanted + activation(unit, target_BD[row], entry) * entry
        torch.testing.assert_close(pooled[row], wanted)


def test_attention_weights_are_not_normalised() -> None:
    torch.manual_seed(1)
    unit = TargetAttention(DIM).double()
    one, target = torch.tensor([[1.0, -2.0, 0.5]]).double(), torch.ones(1, DIM).double()
    once = unit(one, torch.tensor([1]), target)
    thrice = unit(one.expand(3, -1), torch.tensor([3]), target)
    torch.testing.assert_close(thrice, 3 * once)
    assert once.any()


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    lengths_B = torch.tensor([2, 0, 3, 1])
    values_VD = entries(lengths_B).requires_grad_()
    rows_BD = entries(torch.tensor([4])).requires_grad_()
    unit = TargetAttention(DIM, widths=(4,)).double()
    assert torch.autograd.gradcheck(lambda v: segment_sum(v, lengths_B), values_VD)
    assert torch.autograd.gradcheck(lambda r: spread(r, lengths_B), rows_BD)
    assert torch.autograd.gradgradcheck(lambda v: mean_pool(v, lengths_B), values_VD)
    assert torch.autograd.gradcheck(lambda v, r: unit(v, lengths_B, r), (values_VD, rows_BD))


@pytest.mark.parametrize("count", [1, 2])
def test_a_row_does_not_depend_on_its_batch(count: int) -> None:
    torch.manual_seed(0)
    unit = TargetAttention(16).eval()
    generator = torch.Generator().manual_seed(5)
    lengths_B = torch.randint(0, 51, (200,), generator=generator)
    values_VD = entries(lengths_B, 16, torch.float32)
    target_BD = entries(torch.tensor([200]), 16, torch.float32)
    parts = values_VD.split(lengths_B.tolist())
    with threads(count), torch.no_grad():
        attended = unit(values_VD, lengths_B, target_BD)
        averaged = mean_pool(values_VD, lengths_B)
        short = [lengths_B.tolist().index(length) for length in (1, 2, 3)]
        for rows in (*([row] for row in short), range(7, 60), range(199, 2, -1), [3, 100, 4]):
            own = torch.tensor(list(rows))
            values = torch.cat([parts[row] for row in rows])
            some = unit(values, lengths_B[own], target_BD[own])
            assert torch.equal(some, attended[own])
            assert torch.equal(mean_pool(values, lengths_B[own]), averaged[own])


def test_a_history_is_attended_to_under_autocast() -> None:
    torch.manual_seed(0)
    unit = TargetAttention(16)
    lengths_B = torch.tensor([3, 0, 2])
    values_VD = entries(lengths_B, 16, torch.float32).requires_grad_()
    target_BD = entries(torch.tensor([3]), 16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = unit(values_VD, lengths_B, target_BD)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, unit(values_VD, lengths_B, target_BD), rtol=0.05, atol=0.05)
    pooled.sum().backward()
    assert values_VD.grad is not None
    assert values_VD.grad.isfinite().all()
