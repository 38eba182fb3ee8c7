"""Every term against arithmetic by hand and plain loops, and the laws that all of them obey.

Shapes: B rows, L logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrank.errors import ConfigError
from polyrank.heads.lists import JRC, LISTS, ListConfig, ListNet, RankNet
from polyrank.heads.lists.jrc import jrc
from polyrank.heads.lists.listnet import listnet
from polyrank.heads.lists.ranknet import ranknet
from polyrank.heads.lists.rcr import list_ce
from tests.heads.lists.slow import (
    KINDS,
    SHARES,
    Row,
    gradient,
    logits_of,
    mean,
    rows_of,
    slow_mean,
    slow_shares,
    term,
)

few = settings(max_examples=60, deadline=None)
kinds = st.sampled_from(KINDS)
rows = st.lists(
    st.builds(
        Row,
        logit=st.floats(-4, 4).map(round) | st.floats(-4, 4),
        label=st.integers(0, 1),
        request=st.integers(-1, 3),
        weight=st.sampled_from([0.0, 0.25, 1.0, 2.0, 3.0]),
        observed=st.booleans() | st.just(True),
        further=st.floats(-3, 3),
    ),
    max_size=12,
)
"""Logits tie often; requests interleave."""

THREE = [Row(1.0, 1), Row(0.0, 0), Row(-1.0, 0)]


def shares(term: ListConfig, listed: Sequence[Row]) -> list[float]:
    return term.loss(logits_of(term, listed), rows_of(listed)).tolist()


def test_every_term_is_under_contract() -> None:
    assert set(KINDS) == set(SHARES) == set(LISTS)
    assert [term(kind).kind for kind in KINDS] == list(KINDS)


# By hand.


def test_listnet_by_hand() -> None:
    e = math.e
    expected = -math.log(e / (e + 1 + 1 / e))
    assert shares(ListNet(), THREE) == pytest.approx([expected, 0, 0])
    assert gradient(ListNet(), THREE)[:, 0].tolist() == pytest.approx(
        [e / (e + 1 + 1 / e) - 1, 1 / (e + 1 + 1 / e), (1 / e) / (e + 1 + 1 / e)]
    )


def test_ranknet_by_hand() -> None:
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert shares(RankNet(), THREE) == pytest.approx([expected, 0, 0])
    slopes = [1 / (1 + math.exp(1)) / 2, 1 / (1 + math.exp(2)) / 2]
    assert gradient(RankNet(), THREE)[:, 0].tolist() == pytest.approx([-sum(slopes), *slopes])


def test_rcr_by_hand() -> None:
    probs = [1 / (1 + math.exp(-z)) for z in (1.0, 0.0, -1.0)]
    assert shares(term("rcr"), THREE) == pytest.approx([-math.log(probs[0] / sum(probs)), 0, 0])


def test_jrc_by_hand() -> None:
    """f[1] = (u + z) / 2 and f[0] = (u - z) / 2."""
    listed = [Row(1.0, 1, further=3.0), Row(2.0, 0, further=0.0)]
    yes, no = (2.0, 1.0), (1.0, -1.0)
    expected = [
        -math.log(math.exp(yes[0]) / (math.exp(yes[0]) + math.exp(yes[1]))),
        -math.log(math.exp(no[1]) / (math.exp(no[0]) + math.exp(no[1]))),
    ]
    assert shares(JRC(), listed) == pytest.approx(expected)


def test_two_requests_and_their_weights_by_hand() -> None:
    """Two positives in one request, one in another: a mean over three positives."""
    listed = [
        *(Row(0.0, 1, request=5), Row(0.0, 0, request=9), Row(0.0, 1, request=5)),
        *(Row(0.0, 0, request=5), Row(0.0, 1, request=9)),
    ]
    found = mean(ListNet(), logits_of(ListNet(), listed), rows_of(listed)).item()
    assert found == pytest.approx((2 * math.log(3) + math.log(2)) / 3)


# Against plain loops.


@few
@given(kind=kinds, listed=rows)
def test_shares_are_those_of_plain_loops(kind: str, listed: list[Row]) -> None:
    found = term(kind).loss(logits_of(term(kind), listed), rows_of(listed))
    expected = list(slow_shares(kind, listed))
    assert found.tolist() == pytest.approx([share or 0.0 for share in expected], abs=1e-9)
    learns = term(kind).learns(rows_of(listed)).tolist()
    assert learns == [share is not None for share in expected]
    if any(learns):
        average = mean(term(kind), logits_of(term(kind), listed), rows_of(listed)).item()
        assert average == pytest.approx(slow_mean(kind, listed), abs=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_in_double_precision(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    listed = [
        Row(z, i % 3 == 0, request=i % 4 - 1, weight=0.5 + i % 3, observed=i % 7 > 0, further=u)
        for i, (z, u) in enumerate(torch.randn(40, 2, generator=generator).tolist())
    ]
    given_rows = rows_of(listed)

    def loss(logits_BL: Tensor) -> Tensor:
        return term(kind).loss(logits_BL, given_rows)

    assert torch.autograd.gradcheck(loss, (logits_of(term(kind), listed),))


# Laws.


@few
@given(kind=kinds, listed=rows, data=st.data())
def test_the_order_of_rows_and_the_names_of_requests_do_not_matter(
    kind: str, listed: list[Row], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(listed))))
    names = data.draw(st.permutations([-(2**63), 3, 2**63 - 1, 0]))
    moved = [
        dataclasses.replace(listed[at], request=names[listed[at].request])
        if listed[at].request != -1
        else listed[at]
        for at in order
    ]
    here, there = shares(term(kind), listed), shares(term(kind), moved)
    assert there == pytest.approx([here[at] for at in order], abs=1e-9)


@few
@given(kind=kinds, listed=rows)
def test_weight_zero_is_a_row_removed(kind: str, listed: list[Row]) -> None:
    kept = [row for row in listed if row.weight > 0]
    places = [at for at, row in enumerate(listed) if row.weight > 0]
    assert [shares(term(kind), listed)[at] for at in places] == pytest.approx(
        shares(term(kind), kept), abs=1e-9
    )
    found = gradient(term(kind), listed)
    torch.testing.assert_close(found[places], gradient(term(kind), kept))
    assert all((found[at] == 0).all() for at in range(len(listed)) if at not in places)


@few
@given(kind=kinds, listed=rows)
def test_weight_two_is_a_row_repeated(kind: str, listed: list[Row]) -> None:
    """In the gradient of every term; in the value of RankNet, others lack -log w a row."""
    weighted = [dataclasses.replace(row, weight=float(at % 3)) for at, row in enumerate(listed)]
    repeated = [
        dataclasses.replace(row, weight=1.0) for row in weighted for _ in range(int(row.weight))
    ]
    owner = [at for at, row in enumerate(weighted) for _ in range(int(row.weight))]
    expected = torch.zeros_like(gradient(term(kind), weighted))
    expected.index_add_(0, torch.tensor(owner, dtype=torch.int64), gradient(term(kind), repeated))
    torch.testing.assert_close(gradient(term(kind), weighted), expected, rtol=1e-6, atol=1e-6)
    constant = {at: 0.0 if kind == "ranknet" else math.log(weighted[at].weight) for at in owner}
    found, twice = shares(term(kind), weighted), shares(term(kind), repeated)
    learns = term(kind).learns(rows_of(repeated)).tolist()
    for place, at in enumerate(owner):
        if learns[place]:
            assert found[at] + constant[at] == pytest.approx(twice[place], abs=1e-6)


@few
@given(kind=kinds, listed=rows, factor=st.sampled_from([0.125, 4.0]))
def test_only_the_ratios_of_weights_in_a_request_count(
    kind: str, listed: list[Row], factor: float
) -> None:
    scaled = [dataclasses.replace(row, weight=factor * row.weight) for row in listed]
    assert shares(term(kind), scaled) == pytest.approx(shares(term(kind), listed), abs=1e-9)


@few
@given(kind=kinds, listed=rows)
def test_requests_do_not_touch_each_other(kind: str, listed: list[Row]) -> None:
    whole = shares(term(kind), listed)
    for request in {row.request for row in listed}:
        places = [at for at, row in enumerate(listed) if row.request == request]
        alone = shares(term(kind), [listed[at] for at in places])
        assert [whole[at] for at in places] == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_tied_logits_have_the_value_and_the_pull_of_chance(kind: str) -> None:
    listed = [Row(0.5, 1), Row(0.5, 0), Row(0.5, 0), Row(0.5, 1)]
    found = shares(term(kind), listed)
    assert found[0] == found[3] == pytest.approx(math.log(2 if kind == "ranknet" else 4))
    pull = gradient(term(kind), listed)[:, 0]
    assert pull[0] == pull[3] < 0 < pull[1] == pull[2]


# Nothing to learn.

NOTHING = {
    "no rows": [],
    "no request": [Row(1.0, 1, request=-1), Row(2.0, 0, request=-1)],
    "not observed": [Row(1.0, 1, observed=False), Row(2.0, 0, observed=False)],
    "weightless": [Row(1.0, 1, weight=0.0), Row(2.0, 0, weight=0.0)],
    "without a positive": [Row(1.0, 0), Row(2.0, 0), Row(0.0, 0, request=2)],
    "a weightless positive": [Row(1.0, 1, weight=0.0), Row(2.0, 0), Row(3.0, 0)],
    "a hidden positive": [Row(1.0, 1, observed=False), Row(2.0, 0), Row(3.0, 0)],
}


@pytest.mark.parametrize("case", sorted(NOTHING))
@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_can_be_ranked_there_is_no_loss_and_no_gradient(kind: str, case: str) -> None:
    listed = NOTHING[case]
    assert shares(term(kind), listed) == [0.0] * len(listed)
    assert not term(kind).learns(rows_of(listed)).any()
    assert (gradient(term(kind), listed) == 0).all()


@pytest.mark.parametrize("kind", ["jrc", "ranknet"])
def test_a_request_without_a_negative_is_left_out(kind: str) -> None:
    listed = [Row(1.0, 1), Row(2.0, 1), Row(0.0, 0, weight=0.0), Row(5.0, 0, observed=False)]
    assert shares(term(kind), listed) == [0.0] * 4
    assert not term(kind).learns(rows_of(listed)).any()
    assert (gradient(term(kind), listed) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_of_one_row_has_no_loss_and_no_gradient(kind: str) -> None:
    listed = [Row(3.0, 1, request=1), Row(-3.0, 0, request=2), Row(2.0, 1, request=3, weight=0.1)]
    assert shares(term(kind), listed) == pytest.approx([0.0] * 3)
    assert (gradient(term(kind), listed) == 0).all()


# Numbers.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_and_weights_are_finite(kind: str, dtype: torch.dtype) -> None:
    extremes = (-1e30, -1e4, -90.0, 0.0, 90.0, 1e4, 1e30)
    for high in extremes:
        for low in extremes:
            listed = [
                *(Row(high, 1, further=low), Row(low, 0, further=high, weight=1e-30)),
                *(Row(low, 1, weight=1e30), Row(high, 0), Row(0.0, 0, weight=0.0)),
            ]
            logits_BL = logits_of(term(kind), listed, dtype)
            loss_B = term(kind).loss(logits_BL, rows_of(listed))
            assert loss_B.dtype == torch.float32
            assert loss_B.isfinite().all(), (high, low)
            loss_B.sum().backward()
            assert logits_BL.grad is not None
            assert logits_BL.grad.isfinite().all(), (high, low)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_that_of_its_logits(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(30, 2, generator=generator).bfloat16().tolist()
    listed = [Row(z, i % 3 == 0, request=i % 4, further=u) for i, (z, u) in enumerate(draws)]
    half = term(kind).loss(logits_of(term(kind), listed, torch.bfloat16), rows_of(listed))
    torch.testing.assert_close(half.double(), torch.tensor(shares(term(kind), listed)).double())


def test_a_request_of_thousands_of_rows() -> None:
    generator = torch.Generator().manual_seed(2)
    draws = torch.randn(3000, generator=generator).tolist()
    listed = [Row(z, i % 10 == 0) for i, z in enumerate(draws)]
    logits_B, given_rows = torch.tensor(draws, dtype=torch.float64), rows_of(listed)
    first = listnet(logits_B, given_rows)[0]
    assert first.item() == pytest.approx((logits_B.logsumexp(0) - logits_B[0]).item())
    pairs = torch.nn.functional.softplus(logits_B[given_rows.labels_B == 0] - logits_B[0])
    assert ranknet(logits_B, given_rows)[0].item() == pytest.approx(pairs.mean().item())
    probs_B = logits_B.sigmoid()
    assert list_ce(logits_B, given_rows)[0].item() == pytest.approx(
        -(probs_B[0] / probs_B.sum()).log().item()
    )
    one = jrc(logits_B, -logits_B, given_rows)[1]
    assert one.item() == pytest.approx(((-logits_B).logsumexp(0) + logits_B[1]).item())


# What they want.


@pytest.mark.parametrize("kind", KINDS)
def test_descent_puts_the_positives_first(kind: str) -> None:
    listed = [Row(0.0, i % 4 == 0, request=i // 8, further=0.0) for i in range(32)]
    logits_BL = logits_of(term(kind), listed)
    optimizer = torch.optim.SGD([logits_BL], lr=20.0)
    for _ in range(50):
        optimizer.zero_grad()
        mean(term(kind), logits_BL, rows_of(listed)).backward()
        optimizer.step()
    for request in range(4):
        own = logits_BL[8 * request : 8 * request + 8, 0].tolist()
        assert min(own[0], own[4]) > max(own[1:4] + own[5:])


def test_what_does_not_see_a_shift() -> None:
    """All but RCR, whose scores are probabilities."""
    shifted = [dataclasses.replace(row, logit=row.logit + 3) for row in THREE]
    unmoved = {
        kind: shares(term(kind), THREE) == pytest.approx(shares(term(kind), shifted))
        for kind in KINDS
    }
    assert unmoved == {"jrc": True, "listnet": True, "ranknet": True, "rcr": False}


def test_rcr_is_least_at_the_rates_that_cross_entropy_wants() -> None:
    """Two kinds of rows, label rates 0.6 and 0.2, in requests of one of each."""
    rates = (0.6, 0.2)
    logits = [math.log(rate / (1 - rate)) for rate in rates]
    listed = [
        Row(logits[kind], label, request=request, weight=1.0)
        for request, labels in enumerate([(1, 0)] * 3 + [(0, 1)] * 1 + [(0, 0)] * 4)
        for kind, label in enumerate(labels)
    ]
    # Three of four requests with a positive have it on the first: 0.6 / (0.6 + 0.2).
    pull = gradient(term("rcr"), listed)[:, 0]
    assert pull[0::2].sum().item() == pytest.approx(0, abs=1e-12)
    assert pull[1::2].sum().item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("weight", [0.0, -1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_above_zero(kind: str, weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        term(kind, weight=weight)
