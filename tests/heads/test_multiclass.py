"""The softmax head: classes that are worth something, against sums by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrank.data import TargetStats
from polyrank.heads import Softmax, SoftmaxHead, build_head
from polyrank.schema import Multiclass
from tests.heads.optimum import smooth_optimum

REACTION = Multiclass(name="reaction", classes={"love": 3, "angry": -1, "none": 0, "seen": 0})
SHARES = (0.1, 0.5, 0.25, 0.15)
LOGITS = st.lists(st.floats(-30, 30), min_size=4, max_size=4)


def head_of(shares: tuple[float, ...] = SHARES) -> SoftmaxHead:
    return Softmax().build(REACTION, TargetStats(mean=0.4, std=1.0, count=9, shares=shares))


def slow_probs(logits: list[float]) -> list[float]:
    top = max(logits)
    parts = [math.exp(logit - top) for logit in logits]
    return [part / math.fsum(parts) for part in parts]


def probs(logits_BL: Tensor) -> Tensor:
    return torch.stack(list(head_of().further(logits_BL).values()), dim=1)


@given(LOGITS)
def test_losses_probabilities_and_worth_are_those_by_hand(logits: list[float]) -> None:
    at = torch.tensor([logits] * 4, dtype=torch.float64)
    slow = slow_probs(logits)
    losses = head_of().loss(at, torch.arange(4.0)).tolist()
    assert losses == pytest.approx([-math.log(prob) for prob in slow], abs=1e-9)
    assert probs(at)[0].tolist() == pytest.approx(slow, abs=1e-12)
    worth = -1 * slow[0] + 0 * slow[1] + 0 * slow[2] + 3 * slow[3]
    assert head_of().predict(at)[0].item() == pytest.approx(worth, abs=1e-9)


def test_classes_of_one_worth_are_two_classes() -> None:
    assert list(head_of().further(torch.zeros(1, 4))) == [
        "prob_angry",
        "prob_none",
        "prob_seen",
        "prob_love",
    ]
    at = torch.tensor([[0.0, 5.0, -5.0, 0.0]])
    none, seen = head_of().loss(at.repeat(2, 1), torch.tensor([1.0, 2.0])).tolist()
    assert seen - none == pytest.approx(10.0, rel=1e-6)


@given(LOGITS, st.floats(-10, 10))
def test_only_differences_of_logits_matter(logits: list[float], shift: float) -> None:
    at = torch.tensor([logits], dtype=torch.float64)
    assert head_of().predict(at + shift).item() == pytest.approx(
        head_of().predict(at).item(), abs=1e-9
    )


@given(LOGITS, st.integers(0, 3), st.floats(0.01, 5))
def test_a_logit_draws_the_prediction_towards_the_worth_of_its_class(
    logits: list[float], place: int, step: float
) -> None:
    at = torch.tensor([logits, logits], dtype=torch.float64)
    at[1, place] += step
    before, after = head_of().predict(at).tolist()
    worth = REACTION.values[place]
    assert abs(worth - after) <= abs(worth - before) + 1e-12
    assert (after - before) * (worth - before) >= -1e-12


def test_it_starts_with_the_shares_of_the_classes() -> None:
    head = head_of()
    assert probs(head.initial_logits()[None])[0].tolist() == pytest.approx(SHARES, rel=1e-5)
    rare = head_of((0.0, 1.0, 0.0, 0.0)).initial_logits()[None]
    assert probs(rare)[0].tolist() == pytest.approx([1e-6, 1.0, 1e-6, 1e-6], rel=1e-4)
    unknown = head_of(()).initial_logits()[None]
    assert probs(unknown)[0].tolist() == pytest.approx([0.25] * 4)


def test_the_optimum_is_the_distribution_of_the_labels() -> None:
    labels = [0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    best = smooth_optimum(head_of(), labels)
    assert probs(best)[0].tolist() == pytest.approx([0.125, 0.375, 0.25, 0.25], abs=1e-6)


def test_it_is_the_head_of_multiclass_tasks_unless_another_is_named() -> None:
    stats = TargetStats(mean=0.4, std=1.0, count=9, shares=SHARES)
    assert isinstance(build_head(REACTION, stats), SoftmaxHead)
