"""Verdicts: their definition, their corrections, and real metrics on simulated runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.audit.resampling import Draws, Kept, Pair, draws_of
from polyrank.audit.verdict import Verdict, Verdicts, Warnings, judge
from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import Observations, auc, resample
from tests.audit.verdict_rates import answers, detectable, held, losing, verdicts
from tests.audit.verdict_world import Task, World, observed

Floats = NDArray[np.float64]
FLAT = 40


def drawn(
    gains: list[float], *, task: str = "click", metric: str = "auc", slice_: str | None = None
) -> Draws:
    """Twins at .7; joint runs differ by ``gains``, users make no difference."""
    twin = np.full(len(gains), 0.7)
    sign = -1 if metric == "log_loss" else 1
    joint = twin + sign * np.array(gains)
    return Draws(
        task=task,
        metric=metric,
        slice=slice_,
        seeds=tuple(range(len(gains))),
        joint_S=joint,
        twin_S=twin,
        joint_SR=np.repeat(joint[:, None], FLAT, axis=1),
        twin_SR=np.repeat(twin[:, None], FLAT, axis=1),
        rows=1_000,
        positives=100,
        units=100,
    )


def around(mean: float, half: float) -> list[float]:
    """Three seeds whose interval of 95 % is ``mean`` +- ``half``."""
    step = half * math.sqrt(3) / 4.302652729911275
    return [mean - step, mean, mean + step]


def one(gains: list[float], margin: float = 0.002, **settings: Any) -> Verdict:
    found = judge([drawn(gains, **settings)], {"click": margin})
    assert isinstance(found, Verdicts)
    return found.tasks[0]


@pytest.mark.parametrize(
    ("mean", "half", "answer"),
    [
        (-0.010, 0.005, "harmed"),  # wholly below 0 and material
        (-0.003, 0.0029, "harmed"),  # below 0, not wholly below the margin
        (-0.001, 0.0005, "unharmed"),  # a sure loss that does not matter
        (-0.0015, 0.001, "undecided"),  # a sure loss that may matter
        (-0.003, 0.004, "undecided"),
        (0.000, 0.0015, "unharmed"),
        (0.000, 0.003, "undecided"),
        (0.001, 0.0005, "unharmed"),  # a sure gain that does not matter
        (0.003, 0.004, "unharmed"),
        (0.003, 0.006, "undecided"),
        (0.003, 0.002, "helped"),
    ],
)
@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_the_definition(mean: float, half: float, answer: str, metric: str) -> None:
    found = one(around(mean, half), metric=metric)
    assert found.gain.value == pytest.approx(mean, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=1e-9)
    assert found.answer == answer
    assert (found.reason is None) == (answer != "undecided")
    assert found.all_low == pytest.approx(found.low)
    assert found.p_value == found.adjusted
    assert found.unharmed_p is not None
    assert (found.unharmed_p < 0.5) == (mean > -0.002)


@pytest.mark.parametrize("margin", [0.0, 0.0005])
def test_runs_that_predict_the_same_are_unharmed(margin: float) -> None:
    found = one([0.0] * 3, margin)
    assert found.answer == "unharmed"
    assert (found.low, found.high) == (0.0, 0.0)
    assert one([-0.01] * 3, margin).answer == "harmed"


def test_harm_of_a_task_turns_into_help_when_the_runs_change_places() -> None:
    for mean, half in ((-0.01, 0.005), (0.01, 0.005), (-0.01, 0.02)):
        names = {"harmed": "helped", "helped": "harmed", "undecided": "undecided"}
        there, back = one(around(mean, half)), one(around(-mean, half))
        assert back.answer == names[there.answer]
        assert there.low is not None
        assert back.high == pytest.approx(-there.low)


def test_several_tasks_are_corrected_by_holm() -> None:
    # Alone each is harmed; beside two others the weaker ones are not.
    gains = {"sure": around(-0.03, 0.005), "weak": around(-0.01, 0.008), "none": around(0, 0.02)}
    margins = dict.fromkeys(gains, 0.001)
    found = judge([drawn(own, task=task) for task, own in gains.items()], margins)
    assert isinstance(found, Verdicts)
    by_task = {verdict.task: verdict for verdict in found.tasks}
    assert [verdict.answer for verdict in found.tasks] == ["harmed", "undecided", "undecided"]
    assert found.harmed == ("sure",)
    for task, own in gains.items():
        alone = judge([drawn(own, task=task)], margins)
        assert isinstance(alone, Verdicts)
        assert alone.tasks[0].p_value == by_task[task].p_value
        assert (alone.tasks[0].answer == "harmed") == (task != "none")
    p_values = [by_task[task].p_value for task in gains]
    assert all(value is not None for value in p_values)
    sure, weak, none = (float(value or 0) for value in p_values)
    assert by_task["sure"].adjusted == pytest.approx(3 * sure)
    assert by_task["weak"].adjusted == pytest.approx(2 * weak)
    assert by_task["none"].adjusted == pytest.approx(none)
    # At 1 - .05 / 3 and 2 degrees of freedom t is 7.6488.
    step = 0.005 / 4.302652729911275
    assert by_task["sure"].all_high == pytest.approx(-0.03 + 7.6488 * step, abs=1e-6)


def test_unharmed_is_corrected_too() -> None:
    gains = around(0.0, 0.0019)
    assert one(gains).answer == "unharmed"
    tasks = [drawn(gains, task=name) for name in "abc"]
    found = judge(tasks, dict.fromkeys("abc", 0.002))
    assert {verdict.answer for verdict in found.tasks if isinstance(verdict, Verdict)} == {
        "undecided"
    }


def test_relative_gains_and_their_mean() -> None:
    click = drawn([0.02, 0.03, 0.01])
    loss = drawn([-0.07, -0.14, 0.0], task="view", metric="log_loss")
    found = judge([click, loss], {"click": 0.01, "view": 0.01})
    assert found.tasks[0].relative.value == pytest.approx(0.02 / 0.2)  # RelaImpr
    assert found.tasks[1].relative.value == pytest.approx(-0.07 / 0.7)
    assert found.tasks[0].joint == pytest.approx(0.72)
    assert found.tasks[0].twin == pytest.approx(0.7)
    delta_m = found.delta_m
    assert delta_m.by_task == {
        "click": pytest.approx(0.02 / 0.7),
        "view": pytest.approx(-0.07 / 0.7),
    }
    assert delta_m.gain.value == pytest.approx((0.02 - 0.07) / 0.7 / 2)
    per_seed = np.array([0.02 - 0.07, 0.03 - 0.14, 0.01]) / 0.7 / 2
    assert delta_m.gain.error == pytest.approx(per_seed.std(ddof=1) / math.sqrt(3))
    assert delta_m.worst == "view"
    assert delta_m.least == pytest.approx(-0.1)


def test_a_twin_without_skill_has_no_relative_gain() -> None:
    at_chance = replace(drawn([0.1, 0.1]), twin_S=np.array([0.5, 0.6]))
    found = judge([at_chance], {"click": 0.01})
    assert found.tasks[0].relative.value is None
    assert found.tasks[0].relative.reason == "a twin is no better than chance"
    assert found.tasks[0].gain.value is not None


def test_a_task_whose_twins_failed_but_one_is_undecided_beside_the_others() -> None:
    many = drawn(around(-0.03, 0.005))
    single = replace(drawn([-0.03], task="view"), seeds=(2,))
    found = judge([many, single], {"click": 0.001, "view": 0.001})
    assert isinstance(found, Verdicts)
    assert [verdict.answer for verdict in found.tasks] == ["harmed", "undecided"]
    assert "one seed" in str(found.tasks[1].reason)
    assert found.tasks[1].low is None
    assert found.tasks[0].adjusted == found.tasks[0].p_value  # the other was never tested
    assert found.delta_m.gain.error is None
    assert found.delta_m.gain.seeds == 1
    third = many.joint_S[2] - 0.7
    assert found.delta_m.gain.value == pytest.approx((third - 0.03) / 0.7 / 2)


def test_an_undefined_metric_is_undecided_for_its_reason() -> None:
    nothing = replace(
        drawn([0.0, 0.0], task="view"),
        joint_S=np.full(2, np.nan),
        twin_S=np.full(2, np.nan),
        reason="no observed row",
    )
    found = judge([drawn(around(0.0, 0.001)), nothing], {"click": 0.002, "view": 0.002})
    assert isinstance(found, Verdicts)
    verdict = found.tasks[1]
    assert (verdict.answer, verdict.reason) == ("undecided", "no observed row")
    assert (verdict.joint, verdict.gain.value, verdict.low) == (None, None, None)
    assert verdict.relative.reason == "no observed row"
    assert found.tasks[0].answer == "unharmed"
    assert (found.delta_m.worst, found.delta_m.least) == (None, None)


def test_one_seed_can_only_warn() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.0001, FLAT)

    def warned(gain: float) -> Warnings:
        own = drawn([gain])
        found = judge([replace(own, joint_SR=own.joint_SR + noise)], {"click": 0.002})
        assert isinstance(found, Warnings)
        return found

    assert not hasattr(warned(-0.1).tasks[0], "answer")
    assert warned(-0.1).tasks[0].warns
    assert not warned(-0.0015).tasks[0].warns  # sure, and too small to matter
    assert warned(-0.0015).tasks[0].high < 0  # type: ignore[operator]
    assert not warned(0.1).tasks[0].warns
    assert "can only warn" in warned(-0.1).caution
    high = warned(-0.1).tasks[0].high
    assert high == pytest.approx(-0.1 + 1.984217 * noise.std(ddof=1) * math.sqrt(100 / 99))


def test_verdicts_are_plain() -> None:
    rng = np.random.default_rng(3)
    world = World(users=20, rows_each=6)
    draws = draws_of(Task(), "auc", world.pairs(rng, 3), slices=["half"], resamples=40)
    for found in (judge(draws, {"click": 0.01}),):
        tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert type(found).from_json(tree) == found


def test_draws_are_those_of_each_run() -> None:
    world = World(users=30, rows_each=6)
    pairs = world.pairs(np.random.default_rng(4), 3)
    whole, even, odd = draws_of(Task(), "auc", pairs, slices=["half"], resamples=40, seed=5)
    assert (whole.seeds, whole.rows, whole.units) == ((0, 1, 2), 180, 30)
    assert [own.slice for own in (whole, even, odd)] == [None, "half=even", "half=odd"]
    assert (even.rows, even.units) == (90, 15)
    for place, pair in enumerate(pairs.values()):
        for run, points, draws in (
            (pair.joint, whole.joint_S, whole.joint_SR),
            (pair.twin, whole.twin_S, whole.twin_SR),
        ):
            found = resample(run, [Task()], metrics=["auc"], resamples=40, seed=5)
            assert points[place] == found.points["click", "auc"]
            assert np.array_equal(draws[place], found.draws["click", "auc"])
    label, twin = pairs[1].twin.labels["click"], pairs[1].twin
    rows = np.asarray(twin.slices["half"]) == "odd"
    assert odd.twin_S[1] == auc(label[rows], twin.predictions["click"][rows]).value
    assert odd.positives == int(label[rows].sum())


def test_units_are_users_with_a_row_else_requests_else_rows() -> None:
    label = np.array([0, 1, 0, 1, 0, 1.0])
    user = np.array([0, 0, 1, 1, -1, -1])
    base = observed(np.linspace(0.1, 0.9, 6), label, user)
    for groups, mask, units in (
        ({"user": user, "request": np.arange(6)}, np.ones(6, dtype=bool), 4),
        ({"user": user}, np.arange(6) < 3, 2),
        ({"request": np.arange(6) // 3}, np.ones(6, dtype=bool), 2),
        ({}, np.arange(6) < 5, 5),
    ):
        run = replace(base, groups=groups, masks={"click": mask})
        assert draws_of(Task(), "auc", {0: Pair(run, run)}, resamples=40)[0].units == units


def test_a_slice_of_one_class_says_so_and_the_rest_is_judged() -> None:
    rng = np.random.default_rng(6)
    pairs = {
        seed: Pair(*(_without_positives_in_even(run) for run in pair))
        for seed, pair in World(users=20).pairs(rng, 3).items()
    }
    draws = draws_of(Task(), "auc", pairs, slices=["half"], resamples=40)
    found = judge(draws, {"click": 0.01})
    assert isinstance(found, Verdicts)
    even, odd = found.slices
    assert even.answer == "undecided"
    assert "no positive label" in str(even.reason)
    assert odd.gain.error is not None
    assert odd.adjusted == odd.p_value


def _without_positives_in_even(run: Observations) -> Observations:
    label = np.where(np.asarray(run.slices["half"]) == "even", 0.0, run.labels["click"])
    return replace(run, labels={"click": label})


def test_runs_of_other_rows_are_refused() -> None:
    rng = np.random.default_rng(7)
    pairs, others = World().pairs(rng, 2), World().pairs(rng, 2)
    with pytest.raises(DataError, match="labels of a and b differ"):
        draws_of(Task(), "auc", {0: pairs[0], 1: others[1]}, resamples=40)
    with pytest.raises(DataError, match="labels of a and b differ"):
        draws_of(Task(), "auc", {0: Pair(pairs[0].joint, others[0].twin)}, resamples=40)


@pytest.mark.parametrize(
    ("metric", "message"), [("ratio", "has no better end"), ("acu", "Did you mean 'auc'")]
)
def test_a_metric_that_cannot_judge_is_refused(metric: str, message: str) -> None:
    pairs = World(users=5).pairs(np.random.default_rng(0), 1)
    with pytest.raises(ConfigError) as error:
        draws_of(Task(), metric, pairs)
    assert message in str(error.value)


def test_no_pairs_and_no_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="no seed has both runs"):
        draws_of(Task(), "auc", {})
    with pytest.raises(ConfigError, match="all rows of each task once"):
        judge([], {})
    with pytest.raises(ConfigError, match="all rows of each task once"):
        judge([drawn([0.1, 0.2])] * 2, {"click": 0.1})
    with pytest.raises(ConfigError, match="all rows of each task once"):
        judge([drawn([0.1, 0.2]), drawn([0.1, 0.2], task="b", slice_="x=1")], {"click": 0.1})


def test_what_was_drawn_of_a_run_before_is_not_drawn_again() -> None:
    """Twins stand beside a second role: only its own runs are new, and nothing else changes."""
    rng = np.random.default_rng(3)
    first, other = World().pairs(rng, 2), World(joint=1.5).pairs(np.random.default_rng(3), 2)
    later = {seed: Pair(other[seed].joint, first[seed].twin) for seed in first}
    kept: Kept = {}
    given: dict[str, Any] = {"slices": ["half"], "resamples": 40}
    draws_of(Task(), "auc", first, kept=kept, **given)
    assert len(kept) == 2 * 2 * 3
    found = draws_of(Task(), "auc", later, kept=kept, roles=("remedy", "twin"), **given)
    assert len(kept) == 3 * 2 * 3
    for own, expected in zip(found, draws_of(Task(), "auc", later, **given), strict=True):
        assert np.array_equal(own.joint_SR, expected.joint_SR)
        assert np.array_equal(own.twin_SR, expected.twin_SR)
        assert np.array_equal(own.joint_S, expected.joint_S)


@pytest.mark.parametrize("margins", [{}, {"click": -0.1}, {"click": math.nan}])
def test_a_margin_that_is_refused(margins: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the margin must be at least 0"):
        judge([drawn([0.1, 0.2])], margins)


def test_a_confidence_that_is_refused() -> None:
    with pytest.raises(ConfigError, match="`confidence` must be between 0 and 1"):
        judge([drawn([0.1, 0.2])], {"click": 0.1}, confidence=1.0)


def test_simulated_runs_are_judged_as_they_are() -> None:
    even = verdicts(World(), 6)
    assert answers(even).get("harmed", 0) + answers(even).get("helped", 0) <= 0.2
    assert answers(verdicts(World(joint=2.5), 3)) == {"harmed": 1}
    assert answers(verdicts(World(twin=2.5), 3)) == {"helped": 1}


@pytest.mark.nightly
def test_false_alarms_coverage_and_power_over_hundreds_of_audits() -> None:
    world = World()
    even = verdicts(world, 400)
    alarms = answers(even).get("harmed", 0) + answers(even).get("helped", 0)
    assert 0.02 <= alarms <= 0.08
    assert 0.92 <= held(even, 0.0) <= 0.98
    # The same runs with a loss or a gain of that size put on: with the spread that was seen.
    size = detectable(even)
    p_values = [own.gain.p_value(sign * size) for own in even for sign in (-1, 1)]
    seen = np.mean([p_value is not None and p_value <= 0.05 for p_value in p_values])
    assert 0.72 <= seen <= 0.86
    worse = losing(world, size)
    assert 0.92 <= held(verdicts(worse, 200, start=1_000), worse.gain) <= 0.98
