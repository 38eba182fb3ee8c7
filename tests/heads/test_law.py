"""The law of the training labels, beside a slow reading of its quantiles."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.heads._law import Buckets, Law, ranks, times
from tests.heads.watch import slow_mean, slow_ranks, slow_time

knots = st.lists(st.sampled_from([0, 1, 2.5, 4, 9, 100, 3e4]), min_size=2, max_size=9).map(sorted)


def _tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(knots, st.lists(st.sampled_from([-1, 0, 0.5, 1, 2, 2.5, 50, 100, 2e4, 3e4, 4e4])))
def test_ranks_are_those_read_one_by_one(at: list[float], asked: list[float]) -> None:
    below, up_to = ranks(_tensor(at), _tensor(asked))
    expected = [slow_ranks(at, time) for time in asked]
    assert below.tolist() == pytest.approx([low for low, _ in expected], abs=1e-9)
    assert up_to.tolist() == pytest.approx([high for _, high in expected], abs=1e-9)
    rows = _tensor(at).expand(len(asked), -1).contiguous()
    assert torch.equal(ranks(rows, _tensor(asked))[0], below)


@settings(max_examples=60, deadline=None)
@given(knots, st.lists(st.floats(0, 1), max_size=20).map(sorted))
def test_times_are_those_read_one_by_one_and_never_fall(
    at: list[float], at_ranks: list[float]
) -> None:
    found = times(_tensor(at), _tensor(at_ranks))
    assert found.tolist() == pytest.approx([slow_time(at, rank) for rank in at_ranks])
    assert (found.diff() >= 0).all()
    assert ((found >= at[0]) & (found <= at[-1])).all()
    rows = _tensor(at).expand(len(at_ranks), -1).contiguous()
    assert torch.equal(times(rows, _tensor(at_ranks)), found)


def test_a_label_is_equal_to_its_own_knot_in_another_precision() -> None:
    at = [0.0, 0.1, 0.1, 0.3]
    below, up_to = ranks(_tensor(at), torch.tensor([0.1]).double())  # 0.1 of float32
    assert (below.item(), up_to.item()) == pytest.approx((1 / 3, 2 / 3))


@settings(max_examples=40, deadline=None)
@given(knots, st.floats(0, 1), st.floats(0, 1))
def test_the_mean_between_ranks_is_the_area_under_the_quantiles(
    at: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    law = Law(at)
    found = law.mean_between(low, high)
    assert law.time(low) <= found <= law.time(high)
    if high - low > 1e-3:
        assert found == pytest.approx(slow_mean(at, low, high), rel=2e-3, abs=2e-3)


def test_moments_by_hand() -> None:
    law = Law([0.0, 0.0, 4.0])  # Half 0, half evenly up to 4: two cells, of mean 0 and 2.
    assert law.num_cells == 2
    assert law.largest == 4.0
    assert law.mean_between(0, 1) == pytest.approx(1.0)
    assert law.mean_between(0.5, 0.75) == pytest.approx(1.0)
    assert law.mean_between(0.25, 0.25) == 0.0
    assert law.share_up_to(0.0) == 0.5
    assert law.share_up_to(1.0) == pytest.approx(0.625)
    assert law.spread == pytest.approx(1.0)
    assert Law([7.0, 7.0]).spread == 1.0


def test_a_law_over_buckets_by_hand() -> None:
    buckets = Buckets(Law([0.0, 0.0, 4.0]), [0.0, 0.5, 0.75, 1.0])
    assert buckets.values == pytest.approx((0.0, 1.0, 3.0))
    beyond = _tensor([0.5, 0.25]).view(1, 2)
    assert buckets.mean(beyond).item() == pytest.approx(0.5 * 0 + 0.25 * 1 + 0.25 * 3)
    assert _of_row(buckets, [0.5, 0.25]) == pytest.approx([0.0, 0.0, 2 + 2 * 0.6])
    # Shares of 0.05, 0.9 and 0.05: the bucket from 0 to 2 s holds all three levels.
    expected = [2 * share / 0.9 for share in (0.05, 0.45, 0.85)]
    assert _of_row(buckets, [0.95, 0.05]) == pytest.approx(expected)
    # A chance that rises is not heeded.
    assert _of_row(buckets, [0.05, 0.95]) == _of_row(buckets, [0.05, 0.05])


def _of_row(buckets: Buckets, beyond: list[float]) -> list[float]:
    return [found.item() for found in buckets.quantiles(_tensor(beyond)[None]).values()]


@settings(max_examples=60, deadline=None)
@given(knots, st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_quantiles_never_cross_nor_leave_the_labels(at: list[float], beyond: list[float]) -> None:
    found = _of_row(Buckets(Law(at), [0.0, 0.25, 0.5, 0.75, 1.0]), beyond)
    assert found == sorted(found)
    assert at[0] <= found[0]
    assert found[-1] <= at[-1]
    assert not any(math.isnan(each) for each in found)
