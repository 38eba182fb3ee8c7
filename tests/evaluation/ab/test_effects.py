"""Effects against SciPy, least squares, jackknives and arithmetic; and their laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from polyrank.evaluation.ab import Arm, Effect, Estimate, Primary, analyse
from tests.evaluation.ab.rates import arm

Floats = NDArray[np.float64]


def effects(reference: Arm, treatment: Arm, **settings: Any) -> dict[str, Effect]:
    primary = Primary(metric=next(iter(reference.numerators)))
    return dict(analyse(reference, treatment, primary=primary, **settings).effects)


def means(values: Any, covariates: Any = None) -> Arm:
    known = {} if covariates is None else {"m": np.asarray(covariates)}
    return Arm(numerators={"m": np.asarray(values)}, covariates=known)


def pair(seed: int = 0, sizes: tuple[int, int] = (60, 90), lift: float = 0.3) -> tuple[Arm, Arm]:
    rng = np.random.default_rng(seed)
    return arm(rng, sizes[0]), arm(rng, sizes[1], lift)


def take(one: Arm, kept: Any) -> Arm:
    def cut(columns: Any) -> Any:
        return {metric: values[kept] for metric, values in columns.items()}

    return replace(
        one,
        numerators=cut(one.numerators),
        denominators=cut(one.denominators),
        covariates=cut(one.covariates),
        weights=None if one.weights is None else one.weights[kept],
    )


def test_the_difference_of_means_is_welchs() -> None:
    a, b = pair()
    found = effects(a, b, confidence=0.9)["watch"]
    oracle = stats.ttest_ind(b.numerators["watch"], a.numerators["watch"], equal_var=False)
    bounds = oracle.confidence_interval(0.9)
    assert found.difference.p_value(always=False) == pytest.approx(oracle.pvalue)
    assert found.difference.degrees == pytest.approx(oracle.df)
    assert found.difference.fixed.lower == pytest.approx(bounds.low)
    assert found.difference.fixed.upper == pytest.approx(bounds.high)
    assert found.reference == pytest.approx(a.numerators["watch"].mean())
    assert found.treatment == pytest.approx(b.numerators["watch"].mean())
    assert found.users == (60, 90)
    assert found.variance_reduction == pytest.approx(0)
    shifted = stats.ttest_ind(b.numerators["watch"] - 0.5, a.numerators["watch"], equal_var=False)
    assert found.difference.p_value(0.5, always=False) == pytest.approx(shifted.pvalue)


def test_the_paired_difference_is_that_of_pairs() -> None:
    rng = np.random.default_rng(3)
    before = rng.lognormal(0, 1, 50)
    after = before * rng.lognormal(0.1, 0.2, 50)
    found = effects(means(before), means(after), paired=True)["m"]
    oracle = stats.ttest_rel(after, before)
    bounds = oracle.confidence_interval(0.95)
    assert found.difference.p_value(always=False) == pytest.approx(oracle.pvalue)
    assert found.difference.fixed.lower == pytest.approx(bounds.low)
    assert found.difference.fixed.upper == pytest.approx(bounds.high)
    apart = effects(means(before), means(after))["m"].difference.standard_error
    left = (found.difference.standard_error / apart) ** 2
    assert found.variance_reduction == pytest.approx(1 - left)
    assert found.variance_reduction > 0.5


def test_adjusting_for_covariates_is_least_squares_on_arm_and_covariates() -> None:
    a, b = pair(sizes=(80, 80))
    x_UK = np.random.default_rng(1).normal(size=(160, 2)) @ [[1, 0.5], [0, 1]]
    y_U = np.concatenate([a.numerators["watch"], b.numerators["watch"]]) + x_UK @ [2.0, -1.0]
    found = effects(means(y_U[:80], x_UK[:80]), means(y_U[80:], x_UK[80:]))["m"]
    arm_U = np.repeat([0.0, 1.0], 80)
    design = np.column_stack([np.ones(160), arm_U, x_UK])
    slopes, squares, *_ = np.linalg.lstsq(design, y_U)
    assert found.difference.value == pytest.approx(slopes[1])
    # With arms of one size, least squares pools the two variances: the same standard error, but
    # for what the covariates' own differences between the arms add to it.
    pooled = math.sqrt(squares[0] / 156 * (2 / 80))
    assert found.difference.standard_error == pytest.approx(pooled, rel=1e-6)
    plain = effects(means(y_U[:80]), means(y_U[80:]))["m"].difference.standard_error
    left = (found.difference.standard_error / plain) ** 2
    assert found.variance_reduction == pytest.approx(1 - left)
    assert found.variance_reduction > 0.2


def test_a_ratio_by_hand() -> None:
    a = Arm(numerators={"m": np.array([1, 2, 3])}, denominators={"m": np.array([2, 4, 4])})
    b = Arm(numerators={"m": np.array([4, 0])}, denominators={"m": np.array([4, 4])})
    found = effects(a, b)["m"]
    # a: 6 / 10; residuals 1 - 1.2, 2 - 2.4, 3 - 2.4 over the mean denominator 10/3.
    # b: 4 / 8; residuals 4 - 2, 0 - 2 over 4.
    variance_a = (0.2**2 + 0.4**2 + 0.6**2) / (10 / 3) ** 2 / 2 / 3
    variance_b = (0.5**2 + 0.5**2) / 1 / 2
    assert (found.reference, found.treatment) == (0.6, 0.5)
    assert found.difference.value == pytest.approx(-0.1)
    assert found.difference.standard_error == pytest.approx(math.sqrt(variance_a + variance_b))


@pytest.mark.parametrize("weighted", [False, True])
def test_standard_errors_are_those_of_the_jackknife(weighted: bool) -> None:
    arms = pair(sizes=(120, 160))
    if weighted:
        rng = np.random.default_rng(5)
        a, b = (replace(one, weights=rng.uniform(0.5, 2, one.size)) for one in arms)
        arms = a, b
    variances: dict[tuple[str, str], float] = {}
    for place, one in enumerate(arms):
        left_out: dict[tuple[str, str], list[float]] = {}
        for user in range(one.size):
            fewer = list(arms)
            fewer[place] = take(one, np.arange(one.size) != user)
            for metric, effect in effects(*fewer).items():
                left_out.setdefault((metric, "difference"), []).append(effect.difference.value)
                left_out.setdefault((metric, "relative"), []).append(effect.relative.value)
        for key, values in left_out.items():
            variances[key] = variances.get(key, 0) + (one.size - 1) * float(np.var(values))
    assert len(variances) == 8
    found = effects(*arms)
    for (metric, kind), variance in variances.items():
        estimate: Estimate = getattr(found[metric], kind)
        assert estimate.standard_error == pytest.approx(math.sqrt(variance), rel=0.06)


def test_the_adjusted_lift_is_that_of_adjusted_arms() -> None:
    a, b = pair(sizes=(80, 120))
    found = effects(a, b)["watch_cuped"]
    x_A, x_B = a.covariates["watch_cuped"], b.covariates["watch_cuped"]
    y_A, y_B = a.numerators["watch"], b.numerators["watch"]
    moments = [(x - x.mean()) @ (y - y.mean()) for x, y in ((x_A, y_A), (x_B, y_B))]
    spreads = [(x - x.mean()) @ (x - x.mean()) for x in (x_A, x_B)]
    theta = sum(moments) / sum(spreads)
    overall = np.concatenate([x_A, x_B]).mean()
    adjusted_A = np.mean(y_A - theta * (x_A - overall))
    adjusted_B = np.mean(y_B - theta * (x_B - overall))
    assert found.difference.value == pytest.approx(adjusted_B - adjusted_A)
    assert found.relative.value == pytest.approx(adjusted_B / adjusted_A - 1)


METRICS = ("watch", "watch_cuped", "ctr", "ctr_cuped")


def test_swapping_the_arms_negates() -> None:
    a, b = pair()
    there, back = effects(a, b), effects(b, a)
    for metric in METRICS:
        one, other = there[metric].difference, back[metric].difference
        assert one.value == pytest.approx(-other.value)
        assert one.standard_error == pytest.approx(other.standard_error)
        assert one.degrees == pytest.approx(other.degrees)
        lifts = there[metric].relative.value, back[metric].relative.value
        assert (1 + lifts[0]) * (1 + lifts[1]) == pytest.approx(1)


def same(one: Effect, other: Effect, scale: float = 1.0) -> None:
    assert other.difference.value == pytest.approx(scale * one.difference.value)
    assert other.difference.standard_error == pytest.approx(scale * one.difference.standard_error)
    assert other.difference.degrees == pytest.approx(one.difference.degrees)
    assert other.relative.value == pytest.approx(one.relative.value)
    assert other.relative.standard_error == pytest.approx(one.relative.standard_error)
    assert other.variance_reduction == pytest.approx(one.variance_reduction, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_unit_scales_the_difference_and_not_the_lift(metric: str) -> None:
    arms = pair()
    scaled = [
        replace(one, numerators={k: 1e3 * v for k, v in one.numerators.items()}) for one in arms
    ]
    same(effects(*arms)[metric], effects(*scaled)[metric], scale=1e3)


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_users_and_users_of_no_weight_change_nothing(metric: str) -> None:
    arms = pair()
    changed = []
    for one, extra in zip(arms, pair(9), strict=True):
        doubled = Arm(
            numerators={k: np.append(v, extra.numerators[k]) for k, v in one.numerators.items()},
            denominators={
                k: np.append(v, extra.denominators[k]) for k, v in one.denominators.items()
            },
            covariates={
                k: np.concatenate([v, extra.covariates[k]]) for k, v in one.covariates.items()
            },
            weights=np.repeat([3.0, 0.0], one.size),
        )
        changed.append(take(doubled, np.random.default_rng(0).permutation(doubled.size)))
    same(effects(*arms)[metric], effects(*changed)[metric])
    assert effects(*changed)[metric].users == (60, 90)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_a_constant_or_repeated_covariate_changes_nothing(constant: float) -> None:
    a, b = pair()

    def known(one: Arm, columns: Callable[[Floats], list[Floats]]) -> Arm:
        x_U = one.covariates["watch_cuped"]
        stacked = np.stack(columns(np.asarray(x_U)), axis=1)
        return replace(one, covariates={"watch": stacked})

    def with_(columns: Callable[[Floats], list[Floats]]) -> Effect:
        return effects(known(a, columns), known(b, columns))["watch"]

    plain = effects(a, b)["watch"]
    same(plain, with_(lambda x: [np.full(len(x), constant)]))
    once = with_(lambda x: [x])
    same(once, with_(lambda x: [x, np.full(len(x), constant)]))
    twice = with_(lambda x: [x, 2 * x])
    assert twice.difference.value == pytest.approx(once.difference.value)
    assert once.variance_reduction > 0.2


def test_what_both_arms_gain_leaves_the_difference() -> None:
    a, b = pair()
    moved = [
        replace(one, numerators={k: v + 7 for k, v in one.numerators.items()}, denominators={})
        for one in (a, b)
    ]
    found, after = effects(a, b)["watch_cuped"], effects(*moved)["watch_cuped"]
    assert after.difference.value == pytest.approx(found.difference.value)
    assert after.difference.standard_error == pytest.approx(found.difference.standard_error)


def test_a_lift_on_a_negative_reference_keeps_its_sign() -> None:
    rng = np.random.default_rng(0)
    found = effects(means(rng.normal(-10, 1, 500)), means(rng.normal(-9, 1, 500)))["m"]
    assert found.relative.value == pytest.approx(0.1, abs=0.02)
    assert found.relative.fixed.lower > 0


def test_the_smallest_detectable_effect_is_found_in_four_of_five() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2, 2_000, 30))
    effect = effects(means(drawn[0, 0]), means(drawn[1, 0]))["m"].difference
    true = effect.detectable(0.8) / effect.standard_error * math.sqrt(2 / 30)
    p_values = stats.ttest_ind(drawn[1] + true, drawn[0], axis=1).pvalue
    assert np.mean(p_values <= 0.05) == pytest.approx(0.8, abs=0.03)
    assert effect.detectable(0.9) > effect.detectable(0.8)


def test_the_sequence_always_holds_the_interval_of_one_look() -> None:
    a, b = pair()
    for planned in (50, 150, 1_500, 15_000):
        estimate = effects(a, b, planned_users=planned)["watch"].difference
        assert estimate.share == 150 / planned
        assert estimate.always.lower < estimate.fixed.lower
        assert estimate.always.upper > estimate.fixed.upper
        assert estimate.detectable(always=True) > estimate.detectable()
        inside = estimate.always.upper - 1e-6, estimate.always.upper + 1e-6
        assert estimate.p_value(inside[0], always=True) > 0.05
        assert estimate.p_value(inside[1], always=True) < 0.05


def undefined(estimate: Estimate, reason: str) -> None:
    for interval in (estimate.fixed, estimate.always):
        assert math.isnan(interval.lower)
        assert math.isnan(interval.upper)
        assert interval.reason is not None
    assert reason in str(estimate.fixed.reason)
    assert math.isnan(estimate.p_value(always=False))
    assert math.isnan(estimate.p_value(always=True))
    assert math.isnan(estimate.detectable())


def test_what_is_not_defined_says_why() -> None:
    few = effects(means([1.0]), means([1.0, 2.0]), planned_users=9)["m"]
    undefined(few.difference, "too few users")
    assert math.isnan(few.difference.value)
    undefined(few.relative, "too few users")
    assert math.isnan(few.variance_reduction)

    ratio = {"denominators": {"m": np.zeros(3)}}
    a = Arm(numerators={"m": np.ones(3)}, **ratio)  # type: ignore[arg-type]
    b = Arm(numerators={"m": np.ones(3)}, denominators={"m": np.ones(3)})
    nothing = effects(a, b, planned_users=9)["m"]
    undefined(nothing.difference, "denominators of an arm sum to 0")
    assert math.isnan(nothing.reference)
    assert nothing.treatment == 1

    still = effects(means(np.full(9, 0.1)), means(np.full(7, 0.3)), planned_users=16)["m"]
    assert still.difference.value == pytest.approx(0.2)
    undefined(still.difference, "no user differs")
    assert math.isnan(still.variance_reduction)

    before = np.random.default_rng(0).normal(size=50)
    shifted = effects(means(before), means(before + 0.1), paired=True)["m"]
    assert shifted.difference.value == pytest.approx(0.1)
    undefined(shifted.difference, "no user differs")

    rng = np.random.default_rng(0)
    around_0 = effects(means(rng.normal(size=50)), means(rng.normal(size=50)))["m"]
    assert around_0.difference.reason is None
    undefined(around_0.relative, "cannot be told from 0")


def test_without_a_plan_or_far_too_early_there_is_no_sequence() -> None:
    a, b = pair()
    assert effects(a, b)["watch"].difference.always.reason == (
        "no planned number of users was given"
    )
    early = effects(a, b, planned_users=10**8)["watch"].difference
    assert early.fixed.reason is None
    assert "too few of the planned users" in str(early.always.reason)
