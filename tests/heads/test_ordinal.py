"""The cumulative head: thresholds, probabilities and expected levels against slow sums."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from itertools import pairwise
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrank.data import TargetStats
from polyrank.heads import Cumulative, CumulativeHead, build_head
from polyrank.schema import Ordinal
from tests.heads.optimum import smooth_optimum

STARS = Ordinal(name="stars")
SHARES = (0.1, 0.2, 0.3, 0.25, 0.15)
LOGITS = st.lists(st.floats(-30, 30), min_size=4, max_size=4)


def head_of(task: Ordinal = STARS, shares: tuple[float, ...] = SHARES) -> CumulativeHead:
    return Cumulative().build(task, TargetStats(mean=3.0, std=1.0, count=9, shares=shares))


def slow_probs(logits: list[float]) -> list[Decimal]:
    """P(level) as differences of σ(f - b), in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        first, *rest = map(Decimal, logits)
        distance = [Decimal(0)]  # b_k - b_1
        for logit in rest:
            distance.append(distance[-1] + ((-logit).exp() + 1).ln())
        above = [1 / (1 + (-(first - gap)).exp()) for gap in distance]
        tails = [Decimal(1), *above, Decimal(0)]
        return [high - low for high, low in pairwise(tails)]


def probs(head: CumulativeHead, logits_BL: Tensor) -> Tensor:
    return torch.stack(list(head.further(logits_BL).values()), dim=1)


@given(LOGITS)
def test_the_loss_is_minus_the_log_of_a_difference_of_sigmoids(logits: list[float]) -> None:
    at_BL = torch.tensor([logits] * 5, dtype=torch.float64)
    losses = head_of().loss(at_BL, torch.tensor(STARS.levels)).tolist()
    for loss, prob in zip(losses, slow_probs(logits), strict=True):
        assert loss == pytest.approx(float(-prob.ln()), rel=1e-9, abs=1e-12)


def test_a_level_that_sigmoids_cannot_tell_from_none_has_its_loss() -> None:
    logits = [40.0, 25.0, 0.0, 0.0]
    plain = torch.sigmoid(torch.tensor([40.0, 40 - math.log1p(math.exp(-25.0))]).double())
    assert plain[0] == plain[1], "the difference is lost in float64"
    loss = head_of().loss(torch.tensor([logits]), torch.tensor([2.0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(-slow_probs(logits)[1].ln()), rel=1e-6)


@given(LOGITS)
def test_the_prediction_is_the_sum_of_levels_times_their_probabilities(
    logits: list[float],
) -> None:
    task = Ordinal(name="grade", levels=(-2, 0, 0.5, 10, 11))
    head, at = head_of(task), torch.tensor([logits])
    slow = slow_probs(at[0].double().tolist())
    expected = sum(level * float(p) for level, p in zip(task.levels, slow, strict=True))
    assert head.predict(at).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert probs(head, at)[0].tolist() == pytest.approx([float(p) for p in slow], abs=1e-12)
    assert list(head.further(at)) == ["prob_-2", "prob_0", "prob_0.5", "prob_10", "prob_11"]


@given(LOGITS, st.integers(0, 3), st.floats(0.01, 5))
def test_a_higher_logit_makes_more_than_each_level_more_likely(
    logits: list[float], place: int, step: float
) -> None:
    at = torch.tensor([logits, logits], dtype=torch.float64)
    at[1, place] += step
    below = probs(head_of(), at).cumsum(1)[:, :-1]
    assert (below[1] <= below[0] + 1e-12).all()


def test_alike_further_logits_are_proportional_odds() -> None:
    """McCullagh's model: between two rows all log odds of more than a level differ alike."""
    at = torch.tensor([[0.3, 1.0, -1.0, 0.5], [2.3, 1.0, -1.0, 0.5]], dtype=torch.float64)
    above = 1 - probs(head_of(), at).cumsum(1)[:, :-1]
    odds = torch.log(above) - torch.log1p(-above)
    assert torch.allclose(odds[1] - odds[0], torch.full((4,), 2.0, dtype=torch.float64))


def test_it_starts_with_the_shares_of_the_levels() -> None:
    head = head_of()
    start = head.initial_logits()[None]
    assert probs(head, start)[0].tolist() == pytest.approx(SHARES, rel=1e-5)
    mean = sum(level * share for level, share in zip(STARS.levels, SHARES, strict=True))
    assert head.predict(start).item() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    "shares", [(0.0, 0.0, 1.0, 0.0, 0.0), (1.0, 0, 0, 0, 0), (0, 0, 0, 0, 1.0)]
)
def test_a_level_never_seen_starts_at_one_in_a_million(shares: tuple[float, ...]) -> None:
    head = head_of(shares=shares)
    found = probs(head, head.initial_logits()[None])[0].tolist()
    assert found == pytest.approx([max(share, 1e-6) for share in shares], rel=1e-2)


def test_without_shares_all_levels_start_alike() -> None:
    head = head_of(shares=())
    assert probs(head, head.initial_logits()[None])[0].tolist() == pytest.approx([0.2] * 5)


def test_the_optimum_is_the_distribution_of_the_labels() -> None:
    labels = [1.0] * 3 + [2.0] + [3.0] * 4 + [4.0] * 2 + [5.0] * 5
    head = head_of()
    best = smooth_optimum(head, labels)
    counts = [labels.count(level) / len(labels) for level in STARS.levels]
    assert probs(head, best)[0].tolist() == pytest.approx(counts, abs=1e-6)
    assert head.predict(best).item() == pytest.approx(fmean(labels), abs=1e-5)


def test_levels_that_no_float32_holds_are_told_apart() -> None:
    base = 2.0**29
    task = Ordinal(name="grade", levels=(base + 0.1, base + 0.2, base + 0.3))
    head = head_of(task, (0.2, 0.3, 0.5))
    losses = head.loss(torch.zeros(3, 2), torch.tensor(task.levels, dtype=torch.float64))
    slow = slow_probs([0.0, 0.0])
    assert losses.tolist() == pytest.approx([float(-prob.ln()) for prob in slow], rel=1e-6)


def test_it_is_the_head_of_ordinal_tasks_unless_another_is_named() -> None:
    stats = TargetStats(mean=3.0, std=1.0, count=9, shares=SHARES)
    assert isinstance(build_head(STARS, stats), CumulativeHead)
