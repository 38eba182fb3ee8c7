"""The global norm and clipping, against torch on densified gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polyrank.training.gradients import clip, global_norm


def parameters(seed: int, scale: float) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Two dense parameters and one without gradient; a table whose rows repeat."""
    generator = torch.Generator().manual_seed(seed)
    dense = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(4))]
    for parameter in dense:
        parameter.grad = torch.randn(parameter.shape, generator=generator) * scale
    dense.append(nn.Parameter(torch.zeros(2)))
    table, unused = nn.Parameter(torch.zeros(7, 2)), nn.Parameter(torch.zeros(5, 2))
    rows = torch.randint(0, 7, (1, 12), generator=generator)
    values = torch.randn(12, 2, generator=generator) * scale
    table.grad = torch.sparse_coo_tensor(rows, values, (7, 2), check_invariants=True)
    return dense, [table, unused]


def densified(dense: list[nn.Parameter], tables: list[nn.Parameter]) -> list[nn.Parameter]:
    copies = []
    for parameter in (*dense, *tables):
        copy = nn.Parameter(torch.zeros_like(parameter))
        if parameter.grad is not None:
            copy.grad = parameter.grad.detach().clone().to_dense()
        copies.append(copy)
    return copies


def gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.grad.to_dense() for p in parameters if p.grad is not None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e3]), st.floats(1e-3, 1e3))
def test_norm_and_clipping_are_those_of_dense_gradients(
    seed: int, scale: float, bound: float
) -> None:
    dense, tables = parameters(seed, scale)
    copies = densified(dense, tables)
    norm = global_norm(dense, tables)
    expected = torch.nn.utils.clip_grad_norm_(copies, bound)
    assert norm == pytest.approx(expected.item(), rel=1e-5)
    clip(dense, tables, norm, bound)
    for ours, theirs in zip(gradients(dense + tables), gradients(copies), strict=True):
        # torch adds 1e-6 to the norm.
        torch.testing.assert_close(ours, theirs, rtol=1e-5 + 1e-6 / norm, atol=1e-12)


def test_a_norm_within_the_bound_changes_no_bit() -> None:
    dense, tables = parameters(0, 1.0)
    before = [gradient.clone() for gradient in gradients(dense + tables)]
    norm = global_norm(dense, tables)
    clip(dense, tables, norm, norm)
    assert all(torch.equal(a, b) for a, b in zip(gradients(dense + tables), before, strict=True))


def test_a_norm_above_the_bound_becomes_the_bound() -> None:
    dense, tables = parameters(0, 1.0)
    clip(dense, tables, global_norm(dense, tables), 0.5)
    assert global_norm(dense, tables) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["dense", "table"])
def test_one_bad_element_anywhere_shows_in_the_norm(bad: float, where: str) -> None:
    dense, tables = parameters(0, 1.0)
    if where == "dense":
        assert dense[0].grad is not None
        dense[0].grad[1, 1] = bad
    else:
        assert tables[0].grad is not None
        tables[0].grad._values()[3, 1] = bad
    assert not math.isfinite(global_norm(dense, tables))


def test_no_gradient_at_all_has_norm_zero() -> None:
    assert global_norm([nn.Parameter(torch.ones(2))], []) == 0.0
