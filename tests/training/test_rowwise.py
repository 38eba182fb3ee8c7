"""Row-wise optimizers against a dense, slow second implementation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.training.rowwise import RowwiseAdagrad, RowwiseAdam, coalesce, sparse_norm

Array = NDArray[np.float64]
Optimizer = RowwiseAdagrad | RowwiseAdam
Build = Callable[[list[Tensor]], Optimizer]

ROWS, DIM = 12, 3


def adagrad(tables: list[Tensor]) -> Optimizer:
    return RowwiseAdagrad(tables, lr=0.1, eps=1e-6, weight_decay=0.03)


def adam(tables: list[Tensor]) -> Optimizer:
    return RowwiseAdam(tables, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.03)


BOTH = pytest.mark.parametrize("build", [adagrad, adam])


def sparse(ids: list[int], values: Array, dtype: torch.dtype = torch.float64) -> Tensor:
    indices = torch.tensor([ids], dtype=torch.int64)
    entries = torch.from_numpy(values).to(dtype).reshape(len(ids), DIM)
    return torch.sparse_coo_tensor(indices, entries, (ROWS, DIM), check_invariants=True)


def fresh(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64).to(dtype))


def gradients(steps: int, seed: int = 1) -> Iterator[tuple[list[int], Array]]:
    """Few rows, so that most steps repeat one."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        ids = rng.integers(0, ROWS - 4, 9).tolist()
        yield ids, rng.standard_normal((9, DIM))


def reference(build: Build, weight: Array, steps: int) -> tuple[Array, dict[str, Array]]:
    """Element by element, in float64, from the definitions."""
    weight = weight.copy()
    square, mean = np.zeros(ROWS), np.zeros((ROWS, DIM))
    for count, (ids, values) in enumerate(gradients(steps), start=1):
        for row in sorted(set(ids)):
            gradient = sum((v for i, v in zip(ids, values, strict=True) if i == row), np.zeros(DIM))
            power = sum(g * g for g in gradient) / DIM
            weight[row] *= 1 - 0.1 * 0.03
            if build is adagrad:
                square[row] += power
                weight[row] -= 0.1 * gradient / (np.sqrt(square[row]) + 1e-6)
            else:
                mean[row] = 0.8 * mean[row] + 0.2 * gradient
                square[row] = 0.95 * square[row] + 0.05 * power
                corrected = np.sqrt(square[row] / (1 - 0.95**count)) + 1e-6
                weight[row] -= 0.1 * mean[row] / (1 - 0.8**count) / corrected
    state = {"sum": square} if build is adagrad else {"square": square, "mean": mean}
    return weight, state


def run(table: nn.Parameter, optimizer: Optimizer, steps: int, skip: int = 0) -> None:
    for number, (ids, values) in enumerate(gradients(steps)):
        if number >= skip:
            table.grad = sparse(ids, values, table.dtype)
            optimizer.step()


@BOTH
def test_five_steps_with_repeated_rows_follow_the_definition(build: Build) -> None:
    table = fresh()
    wanted, state = reference(build, table.detach().numpy().copy(), 5)
    optimizer = build([table])
    run(table, optimizer, 5)
    np.testing.assert_allclose(table.detach().numpy(), wanted, rtol=1e-12)
    for name, array in state.items():
        np.testing.assert_allclose(optimizer.state[table][name].numpy(), array, rtol=1e-12)


@BOTH
def test_rows_outside_the_batch_keep_their_bits_and_state(build: Build) -> None:
    table = fresh(dtype=torch.float32)
    before = table.detach().clone()
    optimizer = build([table])
    run(table, optimizer, 5)
    touched = sorted({row for ids, _ in gradients(5) for row in ids})
    spared = sorted(set(range(ROWS)) - set(touched))
    assert spared
    assert torch.equal(table.detach()[spared], before[spared])
    assert not torch.equal(table.detach()[touched], before[touched])
    for name, value in optimizer.state[table].items():
        assert name == "step" or not value[spared].any()


@BOTH
def test_a_row_given_twice_is_a_row_given_once_with_the_sum(build: Build) -> None:
    split, whole = fresh(), fresh()
    values = np.array([[1.0, 2.0, -4.0], [0.5, 0.25, 8.0]])
    split.grad = sparse([7, 7], values)
    whole.grad = sparse([7], values.sum(0, keepdims=True))
    build([split]).step()
    build([whole]).step()
    assert torch.equal(split, whole)


@BOTH
def test_state_survives_a_round_trip_bit_for_bit(build: Build) -> None:
    straight, resumed = fresh(dtype=torch.float32), fresh(dtype=torch.float32)
    run(straight, build([straight]), 6)
    first = build([resumed])
    run(resumed, first, 3)
    saved = copy.deepcopy(first.state_dict())
    assert all(isinstance(value, Tensor) for value in saved["state"][0].values())
    second = build([resumed])
    second.load_state_dict(saved)
    run(resumed, second, 6, skip=3)
    assert torch.equal(straight, resumed)
    assert not torch.equal(straight, fresh(dtype=torch.float32))


@BOTH
def test_a_loaded_state_is_a_copy(build: Build) -> None:
    table = fresh(dtype=torch.float32)
    first = build([table])
    run(table, first, 1)
    saved = copy.deepcopy(first.state_dict())
    kept = copy.deepcopy(saved)
    second = build([table])
    second.load_state_dict(saved)
    run(table, second, 3)
    for name, value in kept["state"][0].items():
        assert torch.equal(saved["state"][0][name], value)


@BOTH
def test_the_bits_do_not_depend_on_the_number_of_threads(build: Build) -> None:
    generator = torch.Generator().manual_seed(3)
    ids = (torch.rand(60_000, generator=generator) ** 4 * 20_000).long()
    values = torch.randn(60_000, 16, generator=generator)
    results = []
    for threads in (1, 2, 2):
        table = nn.Parameter(torch.zeros(20_000, 16))
        table.grad = torch.sparse_coo_tensor(ids[None], values, table.shape, check_invariants=True)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            build([table]).step()
        finally:
            torch.set_num_threads(before)
        results.append(table.detach())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert results[0].any()


@BOTH
def test_a_table_without_a_gradient_or_rows_is_left_alone(build: Build) -> None:
    table, other = fresh(), fresh(1)
    before = table.detach().clone()
    optimizer = build([table, other])
    other.grad = sparse([], np.zeros((0, DIM)))
    optimizer.step()
    assert torch.equal(table, before)
    assert torch.equal(other, fresh(1))
    assert not optimizer.state[table]
    assert not optimizer.state[other]


@BOTH
def test_a_closure_is_called_with_gradients_enabled(build: Build) -> None:
    table = fresh()
    ids, values = next(gradients(1))

    def closure() -> float:
        assert torch.is_grad_enabled()
        table.grad = sparse(ids, values)
        return 2.5

    assert build([table]).step(closure) == 2.5
    assert not torch.equal(table, fresh())


def test_learning_rate_zero_moves_nothing() -> None:
    table = fresh()
    run(table, RowwiseAdagrad([table], lr=0.0, weight_decay=1.0), 3)
    assert torch.equal(table, fresh())


def test_the_first_adagrad_step_by_hand() -> None:
    table = nn.Parameter(torch.zeros(ROWS, DIM, dtype=torch.float64))
    table.grad = sparse([4], np.array([[3.0, 0.0, -6.0]]))
    RowwiseAdagrad([table], lr=0.5, eps=1e-300).step()
    # The mean square of (3, 0, -6) is 15.
    wanted = torch.tensor([-1.5, 0.0, 3.0], dtype=torch.float64) / 15**0.5
    torch.testing.assert_close(table.detach()[4], wanted)


@given(st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(-9, 9)), max_size=40))
def test_coalescing_sums_each_row(entries: list[tuple[int, int]]) -> None:
    ids = [row for row, _ in entries]
    values = np.array([[v, 2 * v, -v] for _, v in entries], dtype=np.float64).reshape(-1, DIM)
    table = fresh()
    table.grad = sparse(ids, values)
    dense = np.zeros((ROWS, DIM))
    np.add.at(dense, ids, values)
    norm = sparse_norm(table)
    assert table.grad.is_coalesced()
    assert table.grad.indices()[0].tolist() == sorted(set(ids))
    np.testing.assert_array_equal(table.grad.to_dense().numpy(), dense)
    np.testing.assert_allclose(float(norm), np.sqrt((dense**2).sum()), rtol=1e-12)


def test_coalescing_twice_gives_the_same_memory() -> None:
    table = fresh()
    table.grad = sparse([3, 1, 3], np.ones((3, DIM)))
    first = coalesce(table)
    assert coalesce(table).data_ptr() == first.data_ptr()


@BOTH
def test_values_scaled_after_coalescing_are_what_the_step_uses(build: Build) -> None:
    clipped, plain = fresh(), fresh()
    ids, values = next(gradients(1))
    clipped.grad, plain.grad = sparse(ids, values), sparse(ids, values * 0.5)
    coalesce(clipped).mul_(0.5)
    build([clipped]).step()
    build([plain]).step()
    torch.testing.assert_close(clipped, plain, rtol=1e-12, atol=0.0)


def test_a_dense_gradient_is_our_own_mistake() -> None:
    table = fresh()
    table.grad = torch.ones_like(table)
    with pytest.raises(AssertionError, match="sparse"):
        coalesce(table)
    table.grad = None
    with pytest.raises(AssertionError, match="with a gradient"):
        coalesce(table)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", -1.0), ("lr", float("nan")), ("eps", 0.0), ("weight_decay", -0.1)],
)
@pytest.mark.parametrize("kind", [RowwiseAdagrad, RowwiseAdam])
def test_values_outside_their_range_are_refused(kind: Any, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be .*, got"):
        kind([fresh()], **{name: value})


def test_betas_outside_their_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="`betas`"):
        RowwiseAdam([fresh()], betas=(0.9, 1.0))
