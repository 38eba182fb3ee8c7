"""What is concluded, and when nothing is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation.ab import Arm, Experiment, Guardrail, Primary, analyse

WATCH = Primary(metric="watch")


def arm(seed: int, users: int = 400, **means: float) -> Arm:
    rng = np.random.default_rng(seed)
    return Arm(numerators={metric: rng.normal(mean, 1, users) for metric, mean in means.items()})


def run(reference: Arm, treatment: Arm, *guardrails: Guardrail, **settings: Any) -> Experiment:
    return analyse(reference, treatment, primary=WATCH, guardrails=guardrails, **settings)


@pytest.mark.parametrize(
    ("higher_is_better", "lift", "answer"),
    [
        (True, 0.5, "better"),
        (True, -0.5, "worse"),
        (False, 0.5, "worse"),
        (False, -0.5, "better"),
        (True, 0.01, "undecided"),
    ],
)
@pytest.mark.parametrize("planned", [None, 800])
def test_the_primary_metric(
    higher_is_better: bool, lift: float, answer: str, planned: int | None
) -> None:
    primary = Primary(metric="watch", higher_is_better=higher_is_better)
    a, b = arm(0, watch=10.0), arm(1, watch=10.0 + lift)
    found = analyse(a, b, primary=primary, planned_users=planned)
    assert found.primary.answer == answer
    assert found.always == (planned is not None)
    interval = found.effects["watch"].difference.interval(always=found.always)
    excluded = interval.lower > 0 or interval.upper < 0
    assert excluded == (answer != "undecided") == (found.primary.p_value <= 0.05)
    assert (found.primary.reason is None) == (answer != "undecided")


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    ("gain", "answer"), [(0.3, "pass"), (0.0, "pass"), (-0.5, "undecided"), (-1.0, "fail")]
)
def test_a_guardrail_passes_above_its_margin_and_fails_below(
    higher_is_better: bool, relative: bool, gain: float, answer: str
) -> None:
    change = gain if higher_is_better else -gain
    a, b = arm(0, watch=10.0, skips=10.0), arm(1, watch=10.0, skips=10.0 + change)
    guardrail = Guardrail(
        metric="skips",
        margin=0.05 if relative else 0.5,
        relative=relative,
        higher_is_better=higher_is_better,
    )
    assert run(a, b, guardrail).guardrails[0].answer == answer


def test_a_margin_of_0_passes_only_what_improves() -> None:
    a, b = arm(0, watch=10.0, stays=10.0), arm(1, watch=10.0, stays=10.01)
    guardrail = Guardrail(metric="stays", margin=0.0)
    assert run(a, b, guardrail).guardrails[0].answer == "undecided"
    better = arm(1, watch=10.0, stays=10.5)
    assert run(a, better, guardrail).guardrails[0].answer == "pass"


def test_guardrails_are_corrected_for_their_number() -> None:
    a = arm(0, watch=1.0, one=10.0, two=10.0, three=10.0)
    b = arm(1, watch=1.0, one=10.0, two=9.88, three=9.75)
    rails = [Guardrail(metric=m, margin=0.25, relative=False) for m in ("one", "two", "three")]
    together = run(a, b, *rails).guardrails
    alone = [run(a, b, rail).guardrails[0] for rail in rails]
    for verdict, single in zip(together, alone, strict=True):
        assert verdict.p_value == single.p_value == single.adjusted
        assert verdict.adjusted >= verdict.p_value
    first, second, third = sorted(verdict.p_value for verdict in alone)
    adjusted = sorted(verdict.adjusted for verdict in together)
    assert adjusted == [
        pytest.approx(3 * first),
        pytest.approx(max(3 * first, 2 * second)),
        pytest.approx(max(3 * first, 2 * second, third)),
    ]
    # Two passes alone, and not beside the others.
    assert alone[1].p_value < 0.05 < 2 * alone[1].p_value
    assert [verdict.answer for verdict in alone] == ["pass", "pass", "undecided"]
    assert [verdict.answer for verdict in together] == ["pass", "undecided", "undecided"]


def test_it_launches_what_is_better_and_passes() -> None:
    a = arm(0, watch=10.0, stays=10.0)
    rail = Guardrail(metric="stays", margin=0.05)
    assert run(a, arm(1, watch=11.0, stays=10.0), rail).launch
    assert not run(a, arm(1, watch=11.0, stays=9.0), rail).launch
    assert not run(a, arm(1, watch=10.0, stays=10.0), rail).launch


def test_arms_of_the_wrong_size_conclude_nothing() -> None:
    a, b = arm(0, 400, watch=10.0, stays=10.0), arm(1, 600, watch=11.0, stays=10.0)
    rail = Guardrail(metric="stays", margin=0.05)
    found = run(a, b, rail)
    assert found.sample_ratio is not None
    assert found.sample_ratio.mismatch
    assert found.refused is not None
    assert "400 and 600 users where 500 and 500 were expected" in found.refused
    assert (found.primary.answer, found.primary.reason) == ("undecided", found.refused)
    assert found.guardrails[0].answer == "undecided"
    assert not found.launch
    assert found.effects["watch"].difference.value > 0.5  # shown all the same
    meant = run(a, b, rail, shares=(0.4, 0.6))
    assert meant.refused is None
    assert meant.launch


def test_users_of_no_weight_do_not_count_as_assigned() -> None:
    values: NDArray[np.float64] = np.random.default_rng(0).normal(size=900)
    a = Arm(numerators={"watch": values}, weights=np.repeat([1.0, 0.0], [400, 500]))
    found = run(a, arm(1, watch=0.0))
    assert found.sample_ratio is not None
    assert found.sample_ratio.counts == (400, 400)


def test_an_undefined_metric_is_undecided_for_its_reason() -> None:
    a = Arm(numerators={"watch": np.ones(9), "skips": np.zeros(9)})
    found = run(a, a, Guardrail(metric="skips", margin=0.1))
    assert found.primary.answer == "undecided"
    assert found.primary.reason == "no user differs from another"
    assert found.guardrails[0].reason == "the reference cannot be told from 0"
    assert math.isnan(found.guardrails[0].adjusted)


def test_paired_arms_hold_the_same_users() -> None:
    rng = np.random.default_rng(0)
    watch = rng.normal(10, 3, 50)
    more = watch + rng.normal(0.3, 0.5, 50)
    ids = np.arange(50)
    a = Arm(numerators={"watch": watch}, users=ids)
    b = Arm(numerators={"watch": more}, users=ids)
    found = run(a, b, paired=True, planned_users=50)
    assert found.sample_ratio is None
    assert found.primary.answer == "better"
    assert found.effects["watch"].difference.share == 1
    assert found.effects["watch"].relative.value == pytest.approx(more.mean() / watch.mean() - 1)
    with pytest.raises(DataError, match="50 users are in both arms, 0 among them"):
        run(a, b)
    for other in (
        Arm(numerators={"watch": more}, users=ids[::-1]),
        Arm(numerators={"watch": more}),
        Arm(numerators={"watch": more}, users=ids, weights=np.ones(50)),
    ):
        with pytest.raises(DataError, match="of the paired arms are not the same"):
            run(a, other, paired=True)
    with pytest.raises(DataError, match="paired arms of 50 and 40 users"):
        run(arm(0, 50, watch=1), arm(0, 40, watch=1), paired=True)
    known = Arm(numerators={"watch": more}, users=ids, covariates={"watch": watch})
    with pytest.raises(ConfigError, match="`covariates` of paired arms say nothing"):
        run(a, known, paired=True)
    apart = Arm(numerators={"watch": more}, users=ids + 50)
    assert run(a, apart).refused is None


def test_a_metric_of_one_arm_alone_is_left_out() -> None:
    found = run(arm(0, watch=1.0, old=1.0), arm(1, watch=1.0, new=1.0))
    assert list(found.effects) == ["watch"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"numerators": {}}, "at least one metric"),
        ({"denominators": {"wach": np.ones(3)}}, "Did you mean 'watch'"),
        ({"covariates": {"skips": np.ones(3)}}, "which has no numerator"),
        ({"numerators": {"watch": np.array(3.0)}}, "expected one number a user"),
        ({"numerators": {"watch": np.ones((3, 2))}}, "expected one number a user"),
        ({"numerators": {"watch": np.array(["a", "b", "c"])}}, "expected one number a user"),
        ({"numerators": {"watch": np.array([1, np.nan, 2])}}, "must be finite, got nan"),
        ({"denominators": {"watch": np.ones(4)}}, "The first metric has 3 users"),
        ({"denominators": {"watch": np.array([1, -2, 3])}}, "at least 0, got -2"),
        ({"covariates": {"watch": np.full((3, 2), np.nan)}}, "without history give 0"),
        ({"covariates": {"watch": np.ones((3, 2, 1))}}, "expected one number a user"),
        ({"weights": np.array([1, -1, 1])}, "weights must be at least 0, got -1"),
        ({"weights": np.array([1, np.inf, 1])}, "weights must be finite"),
        ({"users": np.arange(4)}, "Name each user once"),
        ({"users": np.array([1, 7, 7])}, "user 7 stands in 2 places"),
    ],
)
def test_an_arm_that_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError)) as error:
        Arm(**{"numerators": {"watch": np.ones(3)}, **fields})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"primary": Primary(metric="wach")}, "Did you mean 'watch'"),
        ({"guardrails": [Guardrail(metric="skips", margin=0)]}, "no metric 'skips' in both arms"),
        ({"guardrails": [Guardrail(metric="watch", margin=0)] * 2}, "a guardrail twice"),
        ({"confidence": 1.0}, "`confidence` must be between 0 and 1, got 1.0"),
        ({"planned_users": 0}, "`planned_users` must be at least 1, got 0"),
    ],
)
def test_a_question_that_is_refused(settings: dict[str, Any], message: str) -> None:
    a = arm(0, 9, watch=1.0)
    with pytest.raises(ConfigError) as error:
        analyse(a, a, **{"primary": WATCH, **settings})
    assert message in str(error.value)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_that_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="`margin` must be finite and at least 0"):
        Guardrail(metric="watch", margin=margin)


@pytest.mark.parametrize("power", [0.4, 1.0])
def test_a_power_that_is_refused(power: float) -> None:
    found = run(arm(0, watch=1.0), arm(1, watch=1.0)).effects["watch"].difference
    with pytest.raises(ConfigError, match="`power` must be at least .5 and below 1"):
        found.detectable(power)


def test_arms_that_measure_otherwise_are_refused() -> None:
    plain = arm(0, 9, watch=1.0)
    ratio = Arm(numerators={"watch": np.ones(9)}, denominators={"watch": np.ones(9)})
    with pytest.raises(DataError, match="only one arm has a denominator of 'watch'"):
        run(plain, ratio)
    known = Arm(numerators={"watch": np.ones(9)}, covariates={"watch": np.ones((9, 2))})
    with pytest.raises(DataError, match="0 covariates in the reference, 2 in the treatment"):
        run(plain, known)
