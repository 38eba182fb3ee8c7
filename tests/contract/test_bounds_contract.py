"""The laws of every head whose task may have lower bounds, and of what heads predict beside."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from polyrank.heads import HEADS
from polyrank.schema import Duration, parse
from tests.contract.test_heads_contract import CASES, Case, _case

WATCH = sorted(kind for kind in HEADS if "duration" in HEADS[kind].suits)


def _refuses_bounds(kind: str) -> bool:
    task: Any = CASES[kind][0].model_copy(update={"censored": "cut"})
    assert isinstance(task, Duration)
    try:
        parse(HEADS[kind], {}).check(task)
    except ValueError as error:
        return "some are lower bounds" in str(error)
    return False


KNOWING = [kind for kind in WATCH if not _refuses_bounds(kind)]


def _names(case: Case) -> list[str]:
    return list(case.head.further(case.head.initial_logits()[None]))


BESIDE = sorted(kind for kind in CASES if "p50" in _names(_case(kind)))


@pytest.fixture(params=KNOWING)
def knowing(request: pytest.FixtureRequest) -> Case:
    return _case(request.param)


@pytest.fixture(params=BESIDE)
def beside(request: pytest.FixtureRequest) -> Case:
    return _case(request.param)


def _all(value: float, rows: int) -> dict[str, torch.Tensor]:
    return {"censored": torch.full((rows,), value)}


def test_one_head_refuses_bounds() -> None:
    assert sorted(set(WATCH) - set(KNOWING)) == ["wlr"]


def test_no_bound_is_as_if_none_were_declared(knowing: Case) -> None:
    logits, labels = knowing.rows()
    plain = knowing.head.loss(logits, labels)
    assert torch.equal(knowing.head.loss(logits, labels, _all(0, len(labels))), plain)


def test_extreme_bounds_give_finite_losses_and_gradients(knowing: Case) -> None:
    logits, labels = knowing.extremes()
    logits.requires_grad_()
    loss = knowing.head.loss(logits, labels, _all(1, len(labels)))
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    half = knowing.head.loss(logits.detach().bfloat16(), labels, _all(1, len(labels)))
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_a_bound_above_the_prediction_pulls_it_up_and_one_below_does_less(knowing: Case) -> None:
    start = knowing.head.initial_logits()
    logits = start.repeat(2, 1).requires_grad_()
    predicted = knowing.head.predict(start[None]).item()
    labels = torch.tensor([predicted * 2, predicted / 4])
    knowing.head.loss(logits, labels, _all(1, 2)).sum().backward()
    assert logits.grad is not None
    moved = knowing.head.predict((start - 0.01 * logits.grad).detach()) - predicted
    assert moved[0] > 1e-6 * predicted
    assert abs(moved[1]) < moved[0]


def test_a_row_is_bound_for_itself(knowing: Case) -> None:
    logits, labels = knowing.rows()
    mixed = {"censored": (torch.arange(len(labels)) % 3 == 0).float()}
    found = knowing.head.loss(logits, labels, mixed)
    bound = knowing.head.loss(logits, labels, _all(1, len(labels)))
    plain = knowing.head.loss(logits, labels)
    expected = torch.where(mixed["censored"] == 1, bound, plain)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_what_is_predicted_beside_has_the_same_names_for_all_logits(kind: str) -> None:
    case = _case(kind)
    for logits in (case.rows()[0], case.extremes()[0], case.rows()[0][:0]):
        found = case.head.further(logits)
        assert list(found) == _names(case)
        for each in found.values():
            assert each.shape == (len(logits),)
            assert each.dtype == torch.float64
            assert each.isfinite().all()


def test_quantiles_are_finite_in_range_and_never_cross(beside: Case) -> None:
    low, high = beside.bounds
    for logits in (beside.rows()[0], beside.extremes()[0], beside.rows()[0].bfloat16()):
        found = torch.stack(list(beside.head.further(logits).values()), 1)
        assert found.dtype == torch.float64
        assert found.shape == (len(logits), len(_names(beside)))
        assert found.isfinite().all()
        assert ((found >= low) & (found <= high)).all()
        assert (found.diff(dim=1) >= 0).all()


def test_the_median_stands_between_the_others_around_the_start(beside: Case) -> None:
    found = beside.head.further(beside.head.initial_logits()[None])
    assert found["p10"] < found["p50"] < found["p90"]


def test_heads_that_know_quantiles_name_them() -> None:
    assert BESIDE == ["cread", "log_normal", "quantile", "tpm"]
