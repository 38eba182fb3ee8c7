"""The flat table: rows out, sparse gradients in."""

from __future__ import annotations

import pytest
import torch

from polyrank.errors import ConfigError
from polyrank.layers import FlatTable


def test_rows_come_back_in_the_shape_of_the_ids() -> None:
    table = FlatTable(7, 3)
    ids = torch.tensor([[0, 6], [3, 3]])
    rows = table(ids)
    assert rows.shape == (2, 2, 3)
    assert torch.equal(rows[1, 0], table.weight[3])
    assert torch.equal(rows[0, 1], table.weight[6])


def test_the_gradient_is_sparse_and_holds_one_entry_an_id() -> None:
    table = FlatTable(1000, 4)
    ids = torch.tensor([5, 9, 5, 5])
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None]
    (table(ids) * scale).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    assert grad.is_sparse
    assert not grad.is_coalesced()
    assert grad._indices().tolist() == [[5, 9, 5, 5]]
    assert torch.equal(grad._values(), scale.expand(4, 4))


def test_two_backward_passes_add_up_without_becoming_dense() -> None:
    table = FlatTable(10, 2)
    table(torch.tensor([1])).sum().backward()
    table(torch.tensor([1, 4])).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    assert grad.is_sparse
    assert grad.to_dense()[:, 0].tolist() == [0, 2, 0, 0, 1, 0, 0, 0, 0, 0]


def test_rows_keep_float32_under_autocast() -> None:
    table = FlatTable(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rows = table(torch.tensor([2]))
    assert rows.dtype == torch.float32
    assert torch.equal(rows[0], table.weight[2])


def test_the_start_is_small_normal_and_follows_the_seed() -> None:
    torch.manual_seed(4)
    first = FlatTable(5000, 8).weight
    torch.manual_seed(4)
    assert torch.equal(first, FlatTable(5000, 8).weight)
    assert not torch.equal(first, FlatTable(5000, 8).weight)
    assert first.std().item() == pytest.approx(0.01, rel=0.02)
    assert abs(first.mean().item()) < 0.0005


@pytest.mark.parametrize("bad", [-1, 4])
def test_an_id_outside_the_table_is_refused(bad: int) -> None:
    with pytest.raises(IndexError):
        FlatTable(4, 2)(torch.tensor([bad]))


@pytest.mark.parametrize(("rows", "dim"), [(-1, 4), (4, 0)])
def test_impossible_sizes_are_refused(rows: int, dim: int) -> None:
    with pytest.raises(ConfigError, match=r"must be at least \d, got"):
        FlatTable(rows, dim)


def test_an_empty_table_is_possible() -> None:
    assert FlatTable(0, 4)(torch.zeros(0, dtype=torch.int64)).shape == (0, 4)


def test_its_size_is_printed() -> None:
    assert repr(FlatTable(7, 3)) == "FlatTable(7, 3)"
