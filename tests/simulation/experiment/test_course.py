"""The course of an experiment: who is there, and that arms differ by their rankings alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyrank.bundle import Bundle
from polyrank.errors import ConfigError
from polyrank.fusion import Demotion, WeightedSum
from polyrank.scoring import Order, Scorer
from polyrank.simulation import Feed, FeedConfig
from polyrank.simulation.experiment import (
    BundlePolicy,
    Course,
    Experiment,
    ExperimentConfig,
    LoggingPolicy,
    Policy,
    RandomPolicy,
    SatisfactionOracle,
)
from polyrank.simulation.experiment.days import MOST_REQUESTS, Day, draw_day
from polyrank.simulation.experiment.outcomes import COUNTS, TIMES
from polyrank.simulation.experiment.returning import draw_bases
from polyrank.simulation.world import World
from tests.simulation.experiment.conftest import CONFIG


def users_of(table: pa.Table, day: int, *, returned: bool = False) -> list[int]:
    rows = table.filter(pc.equal(table["day"], day))
    rows = rows.filter(rows["returned"]) if returned else rows
    found: list[int] = rows["user"].to_pylist()
    return found


def test_who_came_back_is_there(course: Course, world: World) -> None:
    for table in course.arms.values():
        assert users_of(table, 1) == list(range(world.config.num_users))
        for day in range(1, CONFIG.days):
            assert users_of(table, day + 1) == users_of(table, day, returned=True)
        assert table["day"].to_numpy().max() == CONFIG.days
    assert users_of(course.before, 0) == list(range(world.config.num_users))


def test_equal_policies_have_equal_outcomes_to_the_bit(
    course: Course, world: World, arms: Mapping[str, Policy]
) -> None:
    again: dict[str, Policy] = {
        "a": LoggingPolicy(),
        "b": LoggingPolicy(),
        "oracle": SatisfactionOracle(),
    }
    found = Experiment(world, CONFIG).run(again)
    assert found.arms["a"].equals(found.arms["b"])
    # Whatever other arms there are, and however many.
    assert found.arms["a"].equals(course.arms["logging"])
    assert found.arms["oracle"].equals(course.arms["satisfaction_oracle"])
    assert not found.arms["a"].equals(found.arms["oracle"])


def test_more_days_change_none_before(course: Course, world: World) -> None:
    short = Experiment(world, ExperimentConfig(days=2)).run({"logging": LoggingPolicy()})
    long = course.arms["logging"]
    assert short.arms["logging"].equals(long.filter(pc.less_equal(long["day"], 2)).combine_chunks())


def test_a_split_gives_each_user_to_one_arm_with_the_same_fate(
    course: Course, world: World, arms: Mapping[str, Policy]
) -> None:
    split = Experiment(world, ExperimentConfig(days=4, design="split")).run(arms)
    everyone = np.concatenate(list(split.assigned.values()))
    assert sorted(everyone) == list(range(world.config.num_users))
    for name, users in split.assigned.items():
        assert 150 < len(users) < 250  # 200 expected, 12 is one standard deviation
        whole = course.arms[name]
        mine = whole.filter(pc.is_in(whole["user"], pa.array(users))).combine_chunks()
        assert split.arms[name].equals(mine)


def test_days_differ_and_requests_follow_activity(world: World) -> None:
    config = ExperimentConfig(requests_per_day=4)
    counts = np.array(
        [
            np.bincount(draw_day(world, config, day).requests.user_R, minlength=800)
            for day in range(20)
        ]
    )
    assert counts.min() == 1
    assert counts.max() == MOST_REQUESTS
    share_U = np.diff(world.users.activity_U, prepend=0.0)
    calm_U = share_U * 800 < 1.5  # whom the limit does not touch
    expected = 1 + 3 * 800 * share_U[calm_U].mean()
    assert counts[:, calm_U].mean() == pytest.approx(expected, rel=0.03)
    assert len({tuple(day) for day in counts}) == 20


def test_the_oracle_is_not_beaten_by_chance() -> None:
    for seed in range(3):
        small = Feed(FeedConfig(seed=seed, num_users=400, num_items=100, signal=1.0)).world
        arms: dict[str, Policy] = {"random": RandomPolicy(), "oracle": SatisfactionOracle()}
        found = Experiment(small, ExperimentConfig(days=2)).run(arms)
        satisfied, returned = (
            {
                name: table[column].to_numpy(zero_copy_only=False)
                for name, table in found.arms.items()
            }
            for column in ("satisfied_long_views", "return_probability")
        )
        assert satisfied["oracle"].sum() > 1.2 * satisfied["random"].sum()
        first = slice(0, 400)  # the first day, with the same users
        gain_U = returned["oracle"][first] - returned["random"][first]
        assert gain_U.mean() > 2 * gain_U.std() / 20


def test_outcomes_recomputed_by_a_slow_loop() -> None:
    feed = Feed(FeedConfig(seed=9, num_users=12, num_items=40, candidates_per_request=4))
    config = ExperimentConfig(days=3, candidates=6, requests_per_day=3)
    course = Experiment(feed.world, config).run({"oracle": SatisfactionOracle()})
    base_U = draw_bases(feed.config, config.returns)
    there, expected = list(range(12)), []
    for number in (1, 2, 3):
        day = draw_day(feed.world, config, number)
        rows = {user: dict.fromkeys([*COUNTS, *TIMES], 0.0) for user in there}
        for place, user in enumerate(day.requests.user_R):
            if user in rows:
                for name, value in slow_request(feed.world, config, day, place).items():
                    rows[user][name] += value
        for user, row in rows.items():
            logit = base_U[user]
            logit += 0.4 * math.log2(1 + row["satisfied_long_views"])
            logit -= 0.4 * math.log2(1 + row["quick_exits"])
            logit -= 0.2 * math.log2(1 + row["background_plays"])
            logit -= 1.2 * math.log2(1 + row["reports"])
            probability = 1 / (1 + math.exp(-logit))
            row |= {"user": user, "day": number, "return_probability": probability}
            row["returned"] = day.return_U[user] < probability
            expected.append(row)
        there = [user for user in there if rows[user]["returned"]]
    found = course.arms["oracle"].to_pylist()
    assert len(found) == len(expected) < 36
    assert sum(row["clicks"] for row in expected) > 20
    for mine, other in zip(found, expected, strict=True):
        assert mine == pytest.approx(other)


def slow_request(world: World, config: ExperimentConfig, day: Day, place: int) -> dict[str, float]:
    """What one request brought: a list in order, one candidate after the other."""
    truth, fate = day.truth, day.requests.fate
    feed = world.config
    num = config.candidates
    worth = [truth.click[place, k] * truth.satisfaction[place, k] for k in range(num)]
    order = sorted(range(num), key=lambda k: (-worth[k], k))
    row = dict.fromkeys([*COUNTS, *TIMES], 0.0)
    row["requests"] = 1
    for position, k in enumerate(order[: feed.candidates_per_request], start=1):
        if fate.click_RK[place, k] >= position**-feed.examination_power * truth.click[place, k]:
            continue
        draw = fate.watch_RK[place, k]
        mean = truth.watch_time_s[place, k]
        spread = feed.watch_noise
        median = mean * math.sin(math.pi * spread) / (math.pi * spread)
        watch = min(median * (draw / (1 - draw)) ** spread, 86_400)
        is_long = draw > 1 - truth.long_view[place, k]
        satisfied = day.satisfied_RK[place, k] < truth.satisfaction[place, k]
        bought = fate.purchase_RK[place, k] < truth.purchase[place, k] / truth.long_view[place, k]
        row["clicks"] += 1
        row["long_views"] += is_long
        row["likes"] += fate.like_RK[place, k] < truth.like[place, k]
        row["purchases"] += is_long and bought
        row["reports"] += fate.report_RK[place, k] < truth.report[place, k]
        row["satisfied"] += satisfied
        row["satisfied_long_views"] += satisfied and is_long
        row["quick_exits"] += not satisfied and watch < 5
        row["background_plays"] += not satisfied and watch >= 60
        row["watch_s"] += watch
        row["unsatisfied_s"] += 0 if satisfied else watch
        row["background_s"] += watch if not satisfied and watch >= 60 else 0
    return row


def test_days_are_reported_as_they_end(world: World) -> None:
    told: list[tuple[int, dict[str, int]]] = []
    course = Experiment(world, ExperimentConfig(days=2)).run(
        {"random": RandomPolicy()}, lambda day, there: told.append((day, dict(there)))
    )
    table = course.arms["random"]
    assert told == [(day, {"random": len(users_of(table, day))}) for day in (1, 2)]


@pytest.mark.parametrize(("candidates", "shown"), [(9, 10), (301, 10)])
def test_too_few_or_too_many_candidates(world: World, candidates: int, shown: int) -> None:
    with pytest.raises(ConfigError, match=rf"from {shown}, .* 300 items .* got {candidates}"):
        Experiment(world, ExperimentConfig(candidates=candidates))


def test_no_arm(world: World) -> None:
    with pytest.raises(ConfigError, match="at least one arm"):
        Experiment(world).run({})


def test_a_split_that_leaves_an_arm_without_users() -> None:
    few = Feed(FeedConfig(num_users=1, num_items=60)).world
    experiment = Experiment(few, ExperimentConfig(days=1, design="split"))
    told = r"design: a split of 1 user over 2 arms leaves none to '(one|other)'\. Raise `num_users`"
    with pytest.raises(ConfigError, match=told):
        experiment.run({"one": RandomPolicy(), "other": RandomPolicy()})


def test_an_arm_that_cannot_rank_says_so_before_all_else(world: World, bundle: Bundle) -> None:
    reads = Demotion(column="publisher", decay=0.5)
    model = WeightedSum(terms={"click": 1.0})
    order = Order(schema=bundle.schema, model=model, demotion=reads)
    mine = BundlePolicy(Scorer(bundle), order)
    arms: dict[str, Policy] = {"good": RandomPolicy(), "mine": mine}
    with pytest.raises(ConfigError, match="arm 'mine': cannot rank .* column 'publisher'"):
        Experiment(world, CONFIG).check(arms)
