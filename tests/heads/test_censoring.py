"""Labels that are lower bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data import TargetStats
from polyrank.heads import CREAD, TPM, Head, HeadConfig, Log1p, LogNormal
from polyrank.schema import Duration
from tests.heads.watch import Floats, stats_of_bounds

TASK = Duration(name="watch", censored="cut")
SHOWN = TargetStats(mean=2.0, std=0.5, count=9)
ONE = math.log(math.expm1(1 - 0.05))  # the logit of sigma = 1
CUT = {"censored": torch.ones(1)}


@pytest.mark.parametrize("place", [-6.0, -1.0, 0.0, 0.5, 3.0])
def test_of_a_log_normal_bound_the_chance_to_be_reached_counts(place: float) -> None:
    head = LogNormal().build(TASK, SHOWN)
    label = math.expm1(2.0 + 0.5 * (0.25 + place))  # ``place`` spreads above the mean
    logits = torch.tensor([[0.25, ONE]], dtype=torch.float64)
    found = head.loss(logits, torch.tensor([label], dtype=torch.float64), CUT).item()
    assert found == pytest.approx(-math.log(1 - NormalDist().cdf(place)), rel=1e-6, abs=1e-9)


def test_the_slope_of_a_log_normal_bound() -> None:
    head = LogNormal().build(TASK, SHOWN)
    logits = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.linspace(0, 60, 8)
    censored = {"censored": torch.tensor([1.0, 0.0] * 4)}
    assert torch.autograd.gradcheck(lambda at: head.loss(at, labels, censored), (logits,))


def test_far_out_in_the_tail_the_slope_is_that_of_half_a_square() -> None:
    head = LogNormal().build(TASK, SHOWN)
    logits = torch.tensor([[-1e4, ONE]], requires_grad=True)
    head.loss(logits, torch.tensor([math.expm1(2.0)]), CUT).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].item() == pytest.approx(-1e4, rel=1e-3)


def test_of_a_log1p_bound_a_prediction_above_costs_nothing() -> None:
    head = Log1p().build(TASK, SHOWN)
    logits = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)
    labels = torch.full((3,), math.expm1(2.5))  # standardised: 1
    loss = head.loss(logits, labels, {"censored": torch.ones(3)})
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0.5, 0.0, 0.0], abs=1e-6)
    assert logits.grad is not None
    assert logits.grad[:, 0].tolist() == pytest.approx([-1.0, 0.0, 0.0], abs=1e-6)
    plain = head.loss(logits, labels, {"censored": torch.zeros(3)})
    assert plain.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-6)


# Views of known mean, cut off at random: three kinds of rows, known by their logits.

KINDS, ROWS = 3, 3000


def _views(seed: int) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.bool_]]:
    """Kind, time, what is seen of it, and whether it was cut; log-normal, about a fifth cut."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, ROWS)
    time = np.exp(np.array([1.5, 2.5, 3.5])[kind] + 0.7 * rng.normal(size=ROWS))
    end = rng.uniform(2, np.array([20.0, 50.0, 120.0])[kind])
    return kind, time, np.minimum(time, end), time > end


def _fitted(head: Head, kind: NDArray[np.int64], seconds: Floats, cut: NDArray[np.bool_]) -> Floats:
    """(KINDS,) predictions after descent on one row of logits a kind."""
    at = head.initial_logits().repeat(KINDS, 1).requires_grad_()
    optimizer = torch.optim.Adam([at], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    place, labels = torch.from_numpy(kind), torch.from_numpy(seconds)
    extras: dict[str, Tensor] = {"censored": torch.from_numpy(cut).float()}
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(at[place], labels, extras).mean().backward()
        optimizer.step()
        schedule.step()
    found: Floats = head.predict(at.detach()).numpy()
    return found


def _off(config: HeadConfig, *, told: bool, seed: int = 0) -> Floats:
    """(KINDS,) prediction over the mean of the whole times, less 1."""
    kind, time, seen, cut = _views(seed)
    cut = cut & told
    head = config.build(TASK, stats_of_bounds(seen, cut))
    true = np.array([time[kind == each].mean() for each in range(KINDS)])
    off: Floats = _fitted(head, kind, seen, cut) / true - 1
    return off


@pytest.mark.parametrize("config", [LogNormal(), TPM(), CREAD()], ids=lambda each: each.kind)
def test_heads_that_learn_from_bounds_recover_the_uncut_mean(config: HeadConfig) -> None:
    told, naive = _off(config, told=True), _off(config, told=False)
    assert np.abs(told[1:]).max() < 0.06
    assert np.abs(told[0]) < 0.15  # The buckets of its tail are cut for the others' longer times.
    assert naive[1:].max() < -0.12


def test_a_one_sided_loss_is_pulled_down_less_and_recovers_nothing() -> None:
    whole = _views(0)
    medians = [float(np.median(whole[1][whole[0] == each])) for each in range(KINDS)]
    means = [float(whole[1][whole[0] == each].mean()) for each in range(KINDS)]
    to_median = np.array(means) / np.array(medians)
    told = (1 + _off(Log1p(), told=True)) * to_median - 1
    naive = (1 + _off(Log1p(), told=False)) * to_median - 1
    assert (told > naive + 0.02).all()
    assert told[2] < -0.05


def _self_consistent(
    seen: Sequence[float], cut: Sequence[bool], at: Sequence[float]
) -> list[float]:
    """Efron's estimate of P(T > t) as the product limit, at each of ``at``."""
    found = []
    for time in at:
        chance = 1.0
        for event in sorted({s for s, c in zip(seen, cut, strict=True) if not c and s <= time}):
            at_risk = sum(s >= event for s in seen)
            died = sum(s == event and not c for s, c in zip(seen, cut, strict=True))
            chance *= 1 - died / at_risk
        found.append(chance)
    return found


def test_the_chances_of_cread_settle_at_the_product_limit() -> None:
    rng = np.random.default_rng(1)
    time, end = rng.exponential(20, 400), rng.exponential(30, 400)
    seen, cut = np.minimum(time, end), time > end
    stats = stats_of_bounds(seen, cut)
    head = CREAD(thresholds=20, error_weight=0, order_weight=0).build(TASK, stats)
    at = torch.zeros(1, head.num_logits, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([at], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    labels, extras = torch.from_numpy(seen), {"censored": torch.from_numpy(cut).float()}
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(at.expand(400, -1), labels, extras).mean().backward()
        optimizer.step()
        schedule.step()
    expected = _self_consistent(seen.tolist(), cut.tolist(), head.thresholds)
    assert torch.sigmoid(at)[0].tolist() == pytest.approx(expected, abs=0.01)
