"""Arms against each other: sums are sums, claims are told as the intervals say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyrank.errors import ConfigError
from polyrank.simulation.experiment import (
    METRICS,
    Course,
    Experiment,
    ExperimentConfig,
    Policy,
    RandomPolicy,
    arm_of,
    compare,
    find,
    story,
)
from polyrank.simulation.experiment.claims import way
from polyrank.simulation.experiment.comparison import user_sums
from polyrank.simulation.experiment.outcomes import COUNTS, TIMES
from polyrank.simulation.world import World
from tests.simulation.experiment.conftest import CONFIG

USERS = 400


def test_sums_by_user_are_sums_of_rows(course: Course) -> None:
    for name, table in course.arms.items():
        arm = arm_of(course, name)
        for key, metric in METRICS.items():
            rows = table[metric.column].to_numpy(zero_copy_only=False).astype(float)
            assert arm.numerators[key].sum() == pytest.approx(rows.sum())
            if metric.over is not None:
                assert arm.denominators[key].sum() == pytest.approx(
                    pc.sum(table[metric.over]).as_py()
                )
        one = table.filter(pc.equal(table["user"], 17))
        assert arm.numerators["clicks"][17] == pc.sum(one["clicks"]).as_py()
        # Nobody comes back on more days than there are, and who is there once more came back.
        assert 0 <= arm.numerators["returns"].min() <= arm.numerators["returns"].max() <= 4


def test_sums_of_some_users(course: Course) -> None:
    table = course.arms["logging"]
    users = np.array([3, 5, 799])
    sums = user_sums(table, users)
    for place, user in enumerate(users):
        rows = table.filter(pc.equal(table["user"], int(user)))
        for name in (*COUNTS, *TIMES):
            assert sums[name][place] == pytest.approx(pc.sum(rows[name]).as_py())


def test_a_split_has_the_day_before_as_covariates(world: World) -> None:
    arms: dict[str, Policy] = {"a": RandomPolicy(), "b": RandomPolicy()}
    course = Experiment(world, ExperimentConfig(days=2, design="split")).run(arms)
    arm = arm_of(course, "a")
    assert arm.covariates["clicks"].shape == (len(course.assigned["a"]), 2)
    before = course.before["clicks"].to_numpy()[course.assigned["a"]]
    np.testing.assert_array_equal(arm.covariates["clicks"][:, 0], before)
    found = compare(course, "a", "b")
    assert found.sample_ratio is not None
    assert found.effects["watch_s"].variance_reduction > 0


def test_splits_of_one_arm_are_told_apart_as_often_as_they_may(course: Course) -> None:
    """A/A: 200 splits of the users of one ranking."""
    rng = np.random.default_rng(0)
    table = course.arms["logging"]
    false = dict.fromkeys(("returns", "clicks", "watch_s"), 0)
    for _ in range(200):
        half_U = rng.permutation(800) < 400
        users = {"a": np.flatnonzero(half_U), "b": np.flatnonzero(~half_U)}
        split = Course(
            config=ExperimentConfig(days=4, design="split"),
            before=course.before,
            arms={"a": table, "b": table},
            assigned=users,
        )
        effects = compare(split, "a", "b").effects
        for metric in false:
            false[metric] += effects[metric].difference.p_value(always=False) < 0.05
    for metric, count in false.items():
        assert 1 <= count <= 20, metric  # 10 expected, 3.1 is one standard deviation


def made(gains: Mapping[str, Mapping[str, float]], seed: int = 0) -> Course:
    """Arms of one day whose outcomes are drawn around 100, times what ``gains`` says."""
    rng = np.random.default_rng(seed)
    arms = {}
    for name, gain in gains.items():
        columns = {column: np.full(USERS, 100.0) for column in (*COUNTS, *TIMES, "returned")}
        for column, factor in gain.items():
            columns[column] = 100.0 * factor + rng.normal(size=USERS)
        users = np.arange(USERS)
        arms[name] = pa.table({"user": users, "day": np.ones(USERS, np.int64), **columns})
    whole = {name: np.arange(USERS) for name in arms}
    return Course(config=CONFIG, before=arms[name], arms=arms, assigned=whole)


PLAIN = dict.fromkeys(("clicks", "quick_exits", "background_plays", "returned"), 1.0)
EVEN = {"watch_s": 1.0, "purchases": 1.0, "reports": 1.0, **PLAIN}
AS_TOLD = {
    "random": EVEN | {"returned": 0.8},
    "logging": EVEN | {"returned": 0.9},
    "click_only": EVEN | {"clicks": 1.2, "quick_exits": 1.5, "returned": 0.85},
    "watch_only": EVEN | {"background_plays": 1.4},
    "tuned": EVEN,
    "satisfaction_oracle": EVEN | {"returned": 1.03},
}


def answers(course: Course) -> dict[str, str]:
    return {claim.name: claim.answer for claim in story(course)}


def test_a_story_that_came_so() -> None:
    course = made(AS_TOLD)
    assert set(answers(course).values()) == {"holds"}
    assert len(story(course)) == 6
    # (1 - .8) / (1.03 - .8) of the way
    assert way(course, "tuned") == pytest.approx(0.2 / 0.23, abs=0.02)
    near = next(claim for claim in story(course) if claim.name == "near_oracle")
    assert near.value == pytest.approx(1 / 1.03 - 1, abs=0.003)
    assert "87% of the way there from random" in near.told
    assert math.isnan(way(course, "tuned", "random", "random"))


@pytest.mark.parametrize(
    ("claim", "arm", "gain", "answer"),
    [
        ("bait_clicks", "click_only", {"clicks": 0.9}, "fails"),
        ("bait_clicks", "click_only", {"clicks": 1.0}, "not shown"),
        ("bait_exits", "click_only", {"quick_exits": 0.8}, "fails"),
        ("bait_returns", "click_only", {"returned": 1.1}, "fails"),
        ("background", "watch_only", {"background_plays": 0.7}, "fails"),
        ("near_oracle", "satisfaction_oracle", {"returned": 1.1}, "fails"),
        ("near_oracle", "satisfaction_oracle", {"returned": 1 / 0.95}, "not shown"),
        ("verdict", "logging", {"reports": 0.8}, "fails"),
        ("verdict", "logging", {"returned": 1.2}, "fails"),
        ("verdict", "logging", {"returned": 1.0}, "not shown"),
    ],
)
def test_a_story_that_came_otherwise(
    claim: str, arm: str, gain: dict[str, float], answer: str
) -> None:
    told = answers(made({**AS_TOLD, arm: AS_TOLD[arm] | gain}, seed=1))
    assert told.pop(claim) == answer


def test_the_story_tells_of_the_arms_that_are_there() -> None:
    some = {name: AS_TOLD[name] for name in ("tuned", "watch_only")}
    assert list(answers(made(some))) == ["background"]
    assert story(made({"random": EVEN})) == ()
    near = {name: AS_TOLD[name] for name in ("tuned", "satisfaction_oracle")}
    assert "random" not in story(made(near))[0].told
    still = {"tuned": {"watch_s": 1.0}, "satisfaction_oracle": {"watch_s": 1.0}}
    assert story(made(still))[0].answer == "not shown"


def test_findings_are_plain_data(course: Course) -> None:
    found = find(course)
    tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert tree["reference"] == "logging"
    assert set(tree["differences"]) == set(course.arms) - {"logging"}
    table = course.arms["random"]
    rate = pc.sum(table["clicks"]).as_py() / pc.sum(table["requests"]).as_py()
    assert tree["arms"]["random"]["clicks"] == pytest.approx(rate)
    base = tree["arms"]["logging"]["clicks"]
    assert tree["differences"]["random"]["clicks"]["relative"] == pytest.approx(rate / base - 1)
    assert tree["way"]["random"] == 0
    assert tree["way"]["satisfaction_oracle"] == 1
    assert tree["verdicts"]["satisfaction_oracle"]["launch"] is True
    assert tree["verdicts"]["random"]["returns"] == "worse"


def test_unknown_arms_are_refused(course: Course) -> None:
    with pytest.raises(ConfigError, match="no arm 'loging'.*logging"):
        find(course, "loging")
    with pytest.raises(ConfigError, match="compared with itself"):
        compare(course, "random", "random")
    with pytest.raises(ConfigError, match="compared with itself"):
        find(made({"random": EVEN}), "random")
