"""What rankings would have earned, from a bundle and a log, against a loop over requests."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Bundle
from polyrank.data import Encoders, Reader, open_log
from polyrank.errors import ConfigError, DataError
from polyrank.fusion import Demotion, Expression, RankEnsemble, WeightedSum
from polyrank.fusion.off_policy import IPS, SNIPS, ClippedIPS, DoublyRobust, Estimator, WeightJitter
from polyrank.scoring import (
    PREFIX,
    Judgement,
    Order,
    Question,
    Scorer,
    estimate_jittered,
    estimate_log,
)
from polyrank.scoring.off_policy_log import LoggedRows, read_logged
from tests import feeds

CLICK = Question(worth={"click": 1.0}, places=2, propensity="propensity")
FEW = {
    "ips": IPS(min_effective=5),
    "snips": SNIPS(min_effective=5),
    "dr": DoublyRobust(min_effective=5),
}
BY_CLICK = WeightedSum(terms={"click": 1.0})


@cache
def scorer() -> Scorer:
    return Scorer(feeds.bundle())


def orders() -> dict[str, Order]:
    return {
        "in force": Order.of(feeds.bundle()),
        "click": Order(schema=feeds.schema(), model=BY_CLICK),
        "formula": Order(
            schema=feeds.schema(),
            model=Expression(expression="watch_time * click - like", weights={}),
            demotion=Demotion(column="item_category", decay=0.5),
        ),
    }


def judged(log: pa.Table, question: Question = CLICK, **options: Any) -> Judgement:
    estimator: Estimator = options.pop("estimator", FEW["snips"])
    options = {"temperature": 1.5, **options}
    return estimate_log(scorer(), log, orders(), question, estimator=estimator, **options)


def put(log: pa.Table, name: str, values: Any) -> pa.Table:
    column = pa.array(values) if not isinstance(values, pa.Array) else values
    if name not in log.column_names:
        return log.append_column(name, column)
    return log.set_column(log.column_names.index(name), name, column)


def changed(
    log: pa.Table, name: str, change: Callable[[dict[str, Any]], Any], type_: Any = None
) -> pa.Table:
    """``log`` whose column ``name`` is what ``change`` makes of each row."""
    return put(log, name, pa.array([change(row) for row in rows_of(log)], type_))


def rows_of(log: pa.Table) -> list[dict[str, Any]]:
    """The rows, by their keys and labels."""
    given = {"request_id", "user_id", "position", "propensity", *feeds.schema().label_columns()}
    kept = [name for name in log.column_names if name in given or name.startswith("weight_")]
    rows: list[dict[str, Any]] = log.select(kept).to_pylist()
    return rows


# Against a second implementation.


def by_hand(
    log: pa.Table, order: Order, worth: Mapping[str, float], places: int, temperature: float
) -> dict[str, float]:
    """IPS, SNIPS and DR of a log by a loop over requests and places."""
    scored = scorer().score(log)
    given = {task: scored[PREFIX + task].to_numpy() for task in feeds.schema().task_names}
    value = {
        task: given[task] * (given["click"] if feeds.schema().space(task) else 1.0)
        for task in given
    }
    context = {name: np.array(log[name].to_pylist()) for name in order.columns}
    code = {key: place for place, key in enumerate(sorted(set(log["request_id"].to_pylist())))}
    request_N = np.array([code[key] for key in log["request_id"].to_pylist()])
    score_N = order.score(given, request_N, context).score_N
    rows = rows_of(log)
    lists: dict[int, list[int]] = defaultdict(list)
    for row, request in enumerate(request_N):
        lists[int(request)].append(row)
    for one in lists.values():
        one.sort(key=lambda row: rows[row]["position"])
    squares = sum(((score_N[one] - score_N[one].mean()) ** 2).sum() for one in lists.values())
    scale = temperature * math.sqrt(squares / (len(rows) - len(lists)))
    ips, robust, count = 0.0, 0.0, 0
    earned: dict[int, float] = defaultdict(float)
    total: dict[int, float] = defaultdict(float)
    numbers: dict[int, int] = defaultdict(int)
    for one in lists.values():
        importance = 1.0
        power = np.exp((score_N[one] - score_N[one].max()) / scale)
        model = np.array([sum(w * value[task][row] for task, w in worth.items()) for row in one])
        for place, row in enumerate(one[:places]):
            left = power[place:].sum()
            mean = importance * float(power[place:] @ model[place:]) / left
            importance *= power[place] / left / rows[row]["propensity"]
            click = bool(rows[row]["click"])
            label = {task: float(rows[row][task] or 0) * click for task in worth if task != "click"}
            label["click"] = float(click)
            reward = sum(w * label[task] for task, w in worth.items())
            ips += importance * reward
            robust += mean + importance * (reward - model[place])
            earned[place] += importance * reward
            total[place] += importance
            numbers[place] += 1
            count += 1
    snips = sum(numbers[place] * earned[place] / total[place] for place in numbers) / count
    return {"ips": ips / count, "dr": robust / count, "snips": snips}


@pytest.mark.parametrize(
    ("worth", "places", "temperature"),
    [
        ({"click": 1.0}, 1, 1.5),
        ({"click": 2.0, "purchase": 30.0, "like": -1.0}, 3, 2.0),
        ({"long_view": 1.0}, 10, 8.0),
    ],
)
def test_values_are_those_of_a_loop_over_requests(
    worth: dict[str, float], places: int, temperature: float
) -> None:
    log = feeds.log()
    question = Question(worth=worth, places=places, propensity="propensity")
    expected = {
        name: by_hand(log, order, worth, places, temperature) for name, order in orders().items()
    }
    for kind, estimator in FEW.items():
        loose = estimator.model_copy(update={"min_effective": 2.0})
        found = judged(log, question, estimator=loose, temperature=temperature)
        assert [one.name for one in found.policies] == list(orders())
        for policy in found.policies:
            assert policy.estimate is not None, policy.refused
            value = expected[policy.name][kind]
            assert policy.estimate.value == pytest.approx(value, rel=1e-6)
            assert policy.estimate.rows == 300 * places
        assert (found.requests, found.left_out, found.clusters) == (300, {}, "users")


def test_differences_are_those_of_the_values() -> None:
    found = judged(feeds.log())
    base = found.policies[0]
    assert base.to_in_force is None
    for policy in found.policies:
        assert policy.estimate is not None
        assert policy.to_logged is not None
        gain = policy.estimate.value - found.logged.value
        assert policy.to_logged.value == pytest.approx(gain, abs=1e-12)
        if policy is not base:
            assert base.estimate is not None
            assert policy.to_in_force is not None
            apart = policy.estimate.value - base.estimate.value
            assert policy.to_in_force.value == pytest.approx(apart, abs=1e-12)
    clicks = [row["click"] for row in rows_of(feeds.log()) if row["position"] <= 2]
    assert found.logged.value == pytest.approx(np.mean(clicks))
    tree = json.loads(found.to_json())
    assert tree["policies"][1]["estimate"]["value"] == found.policies[1].estimate.value  # type: ignore[union-attr]
    assert tree["policies"][0]["to_in_force"] is None


def test_the_order_of_rows_and_further_files_do_not_matter() -> None:
    log = feeds.log()
    mixed = log.take(np.random.default_rng(0).permutation(log.num_rows))
    one, other = judged(log), judged(mixed)
    for before, after in zip(one.policies, other.policies, strict=True):
        assert before.estimate is not None
        assert after.estimate is not None
        assert after.estimate.value == pytest.approx(before.estimate.value, rel=1e-6)
        assert after.estimate.upper == pytest.approx(before.estimate.upper, rel=1e-6)


def test_a_schema_that_names_its_propensities_needs_no_column_named() -> None:
    keys = feeds.schema().keys.model_copy(update={"propensity": "propensity"})
    schema = feeds.schema().model_copy(update={"keys": keys})
    bundle = replace(feeds.bundle(), schema=schema)
    plain = replace(CLICK, propensity=None)
    order = {"in force": Order.of(bundle)}
    found = estimate_log(
        Scorer(bundle), feeds.log(), order, plain, estimator=FEW["snips"], temperature=1.5
    )
    assert found.policies[0].estimate == judged(feeds.log()).policies[0].estimate
    with pytest.raises(DataError, match=r"has no `keys\.propensity`, and no --propensity names"):
        judged(feeds.log(), plain)


def test_a_value_model_that_compares_a_request_sees_it_whole() -> None:
    order = {"ranks": Order(schema=feeds.schema(), model=RankEnsemble(terms={"click": 1.0}))}
    found = estimate_log(scorer(), feeds.log(), order, CLICK, estimator=FEW["ips"], temperature=1.5)
    expected = by_hand(feeds.log(), order["ranks"], {"click": 1.0}, 2, 1.5)["ips"]
    assert found.policies[0].estimate is not None
    assert found.policies[0].estimate.value == pytest.approx(expected, rel=1e-6)


# Which requests count.


def read(log: pa.Table, question: Question = CLICK, **options: Any) -> LoggedRows:
    return read_logged(scorer(), log, list(orders().values()), question, **options)


def first(row: dict[str, Any], number: int = 3) -> bool:
    """Whether a row is of the first requests of the log."""
    return request_ids().index(row["request_id"]) < number


@cache
def request_ids() -> list[int]:
    """In the order of the log."""
    ids: list[int] = feeds.log()["request_id"].to_pylist()[::10]
    return ids


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "a place twice": (
        "position",
        lambda row: 4 if first(row) and row["position"] == 5 else row["position"],
        "whose rows are not each place from 1 once",
    ),
    "no place": (
        "position",
        lambda row: None if first(row) and row["position"] == 10 else row["position"],
        "whose rows are not each place from 1 once",
    ),
    "one unknown propensity": (
        "propensity",
        lambda row: None if first(row) and row["position"] == 2 else row["propensity"],
        "with a propensity that is unknown or not in (0, 1]",
    ),
    "a propensity of 0": (
        "propensity",
        lambda row: 0.0 if first(row) and row["position"] == 2 else row["propensity"],
        "with a propensity that is unknown or not in (0, 1]",
    ),
    "more below": (
        "propensity",
        lambda row: 0.9 if first(row) and row["position"] == 10 else row["propensity"],
        "whose last place has a propensity below 1: candidates below it were not logged",
    ),
    "no label": (
        "click",
        lambda row: None if first(row) and row["position"] == 2 else row["click"],
        "whose reward was not observed",
    ),
    "no propensities at all": (
        "propensity",
        lambda row: None if first(row) else row["propensity"],
        "without propensities",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_requests_are_left_out_with_their_reason(case: str) -> None:
    column, change, reason = BROKEN[case]
    log = changed(feeds.log(), column, change, feeds.log()[column].type)
    found = read(log)
    assert found.left_out == {reason: 3}
    assert (found.num_requests, len(found.reward_N)) == (297, 2970)
    kept = feeds.log().slice(30)
    assert np.array_equal(found.propensity_N, kept["propensity"].to_numpy())
    for name in ("click", "like"):
        rows = read(kept).predictions[name]
        np.testing.assert_allclose(found.predictions[name], rows, rtol=1e-6)


def test_an_unobserved_reward_below_the_places_does_not_matter() -> None:
    log = changed(feeds.log(), "click", lambda row: None if row["position"] > 2 else row["click"])
    assert read(log).left_out == {}
    with pytest.raises(DataError, match="300 of 300 requests cannot be told of.*not observed"):
        read(log, replace(CLICK, places=3))


def test_many_broken_requests_are_refused() -> None:
    half = feeds.log().filter(pa.array(np.arange(3000) % 20 != 7))
    with pytest.raises(DataError, match="150 of 300 requests cannot be told of, and leaving out"):
        read(half)
    shown = feeds.log().filter(pa.array(feeds.log()["position"].to_numpy() <= 4))
    with pytest.raises(DataError, match="300 whose last place has a propensity below 1: cand"):
        read(shown)


def test_requests_without_propensities_may_be_many() -> None:
    def half(row: dict[str, Any]) -> Any:
        return row["propensity"] if first(row, 150) else None

    found = read(changed(feeds.log(), "propensity", half))
    assert found.left_out == {"without propensities": 150}
    assert found.num_requests == 150
    broken = changed(feeds.log(), "propensity", half)
    broken = broken.filter(pa.array(np.arange(3000) % 20 != 7))
    with pytest.raises(DataError, match=r"75 of 150 .* the others: 75 whose") as refused:
        read(broken)
    assert "75 without" not in str(refused.value), "no fault of those that were asked about"
    with pytest.raises(DataError, match="no request was randomised: 300 without propensities"):
        read(changed(feeds.log(), "propensity", lambda row: None, pa.float64()))


def test_a_uniformly_random_order_is_known_without_a_column() -> None:
    """The flag alone says what a column of 1 / (what is left) says."""
    log = changed(feeds.log(), "shuffled", lambda row: first(row, 200))
    known = changed(log, "uniform", lambda row: 1 / (11 - row["position"]))
    by_flag = read(log, Question(worth={"click": 1.0}, randomised="shuffled"))
    assert by_flag.left_out == {"not randomised": 100}
    by_column = read(known.slice(0, 2000), Question(worth={"click": 1.0}, propensity="uniform"))
    np.testing.assert_allclose(by_flag.propensity_N, by_column.propensity_N, rtol=1e-15)
    assert np.array_equal(by_flag.reward_N, by_column.reward_N)
    partly = changed(feeds.log(), "shuffled", lambda row: not first(row) or row["position"] > 1)
    told = read(partly, Question(worth={"click": 1.0}, randomised="shuffled")).left_out
    assert told == {"of which only some rows are marked as randomised": 3}


def test_a_row_without_a_request_is_a_list_of_its_own() -> None:
    log = changed(
        feeds.log(),
        "request_id",
        lambda row: None if row["position"] == 10 and first(row) else row["request_id"],
        feeds.log()["request_id"].type,
    )
    assert read(log).left_out == {
        "whose rows are not each place from 1 once": 3,
        "whose last place has a propensity below 1: candidates below it were not logged": 3,
    }


def test_users_are_clusters_and_requests_where_none_are_known() -> None:
    found = read(feeds.log())
    users = feeds.log()["user_id"].to_pylist()
    assert len(set(found.cluster_N.tolist())) == len(set(users))
    keys = feeds.schema().keys.model_copy(update={"user": None})
    schema = feeds.schema().model_copy(update={"keys": keys})
    encoders = Encoders.fit(schema, Reader(open_log(feeds.log()), schema).chunks("all"))
    bundle = replace(feeds.bundle(), schema=schema, encoders=encoders)
    found = read_logged(Scorer(bundle), feeds.log(), [], CLICK)
    assert found.clusters == "requests"
    assert np.array_equal(found.cluster_N, found.request_N)


def test_only_the_first_rows_are_held() -> None:
    found = read(feeds.log(), most_rows=1000)
    assert found.on == "the first 1,000 rows of a table"
    assert found.num_requests == 100


# Weights that were drawn.


def jittered() -> tuple[pa.Table, WeightJitter, dict[str, float]]:
    """Requests with drawn weights, on which a click is likelier the higher that of ``like``."""
    jitter, centre = WeightJitter(scale=0.3), {"click": 1.0, "like": 5.0}
    drawn = {
        request: jitter.draw(centre, request)
        for request in feeds.log()["request_id"].unique().to_pylist()
    }
    log = changed(feeds.log(), "weight_click", lambda row: drawn[row["request_id"]]["click"])
    return (
        changed(log, "weight_like", lambda row: drawn[row["request_id"]]["like"]),
        jitter,
        centre,
    )


def test_drawn_weights_are_importances_of_requests() -> None:
    log, jitter, centre = jittered()
    narrow, moved = WeightJitter(scale=0.2), {"click": 1.0, "like": 5.2}
    ways = {
        "in force": Order(schema=feeds.schema(), weights=centre),
        "moved": Order(schema=feeds.schema(), model=WeightedSum(terms=moved)),
    }
    found = estimate_jittered(
        scorer(),
        log,
        ways,
        Question(worth={"click": 1.0}, places=2),
        centre=ways["in force"],
        jitter=(jitter, narrow),
        estimator=IPS(min_effective=20),
    )
    for name, weights in (("in force", centre), ("moved", moved)):
        earned = []
        for row in rows_of(log):
            inside = all(
                abs(row[f"weight_{one}"] - weight) <= 0.2 * weight
                for one, weight in weights.items()
            )
            ratio = math.prod(0.3 * centre[one] / (0.2 * weights[one]) for one in weights)
            if row["position"] <= 2:
                earned.append(ratio * inside * row["click"])
        policy = next(one for one in found.policies if one.name == name)
        assert policy.estimate is not None, policy.refused
        assert policy.estimate.value == pytest.approx(np.mean(earned), rel=1e-9)
        assert policy.estimate.rows == 600
    assert found.ranking == "its weights, each drawn within 20.0% of it for every request"


def test_what_is_refused_of_drawn_weights() -> None:
    log, jitter, centre = jittered()
    order = {"in force": Order(schema=feeds.schema(), weights=centre)}

    def refused(table: pa.Table, message: str, **options: Any) -> None:
        given = {
            "centre": order["in force"],
            "jitter": (jitter, WeightJitter(scale=0.1)),
            **options,
        }
        with pytest.raises((ConfigError, DataError), match=message):
            estimate_jittered(
                scorer(), table, given.pop("orders", order), Question(worth={"click": 1.0}), **given
            )

    refused(log.drop_columns("weight_like"), "there is no column 'weight_like'")
    refused(log, "needs what a model expects of lists", estimator=DoublyRobust())
    refused(log, r"snips: importances rest on \d+\.\d effective .* the one that logged\.$")
    far = {"far": Order(schema=feeds.schema(), weights={"click": 2.0, "like": 5.0})}
    refused(log, "the log draws it from 0.7 to 1.3, which does not hold", orders=far)
    other = {"other": Order(schema=feeds.schema(), model=BY_CLICK)}
    refused(log, "weight 'like': is missing", orders=other)
    capped = {name: {"weight": weight, "upper": 0.5} for name, weight in centre.items()}
    for model in (RankEnsemble(terms=centre), WeightedSum.model_validate({"terms": capped})):
        apart = {"apart": Order(schema=feeds.schema(), model=model)}
        refused(log, "ranks by another formula than the log did, .* weights alone", orders=apart)
    demoted = Demotion(column="item_category", decay=0.5)
    plain = WeightedSum(terms=centre)
    late = {"late": Order(schema=feeds.schema(), model=plain, demotion=demoted)}
    refused(log, "late: ranks by another formula", orders=late)
    outside = changed(log, "weight_like", lambda row: 9.0)
    refused(outside, "have weights that a jitter of 0.3 around this centre never draws")
    mixed = changed(log, "weight_like", lambda row: 5.0 + row["position"] / 100)
    refused(mixed, "300 whose drawn weights are missing or differ between rows")
    gone = changed(log, "position", lambda row: None if row["position"] == 3 else row["position"])
    refused(gone, "300 with a row of unknown place")
    text = changed(log, "weight_like", lambda row: "5")
    refused(text, "column 'weight_like' holds large_string, where numbers are read")


# What is refused.


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"worth": {"clik": 1.0}}, r"'clik' is no task\. Did you mean 'click'"),
        ({"worth": {"click": math.inf}}, "'click' is worth inf"),
        ({"worth": {"click": 0.0}}, "no task earns anything. Write --reward TASK"),
        ({"worth": {}}, "no task earns anything"),
        ({"places": 0}, "--places: must be at least 1, got 0"),
        ({"propensity": "chance"}, "there is no column 'chance'"),
        ({"randomised": "random"}, "there is no column 'random'"),
        ({"propensity": "surface"}, r"column 'surface' holds \w+, where numbers are read"),
    ],
)
def test_questions_without_an_answer(question: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        judged(feeds.log(), replace(CLICK, **question))


def without_keys(bundle: Bundle, *roles: str) -> Bundle:
    keys = bundle.schema.keys.model_copy(update=dict.fromkeys(roles))
    return replace(bundle, schema=bundle.schema.model_copy(update={"keys": keys}))


def test_all_that_a_log_lacks_is_told_at_once_with_what_to_log() -> None:
    bare = Scorer(without_keys(feeds.bundle(), "request", "position"))
    with pytest.raises(DataError) as caught:
        read_logged(bare, feeds.log(), [], replace(CLICK, propensity=None))
    for part in ("`keys.request`", "`keys.position`", "`keys.propensity`", "every candidate"):
        assert part in str(caught.value)
    gone = feeds.log().drop_columns("position")
    with pytest.raises(DataError, match=r"`keys\.position` 'position' is no column of the log"):
        read(gone)


def flat(tree: Any) -> list[Any]:
    """What stands at any depth."""
    if isinstance(tree, dict | list | tuple):
        each = tree.values() if isinstance(tree, dict) else tree
        return [leaf for own in each for leaf in flat(own)]
    return [tree]


@pytest.mark.parametrize("lacks", [("position",), ("request",), ("request", "position")])
def test_a_served_log_tells_what_the_schema_has_no_keys_for(lacks: tuple[str, ...]) -> None:
    """By the server's own columns the same is told as by keys, and without either the cure."""
    names = {"request": ("request_id", "served_request"), "position": ("position", "served_rank")}
    log = feeds.log().append_column("served_request", feeds.log()["request_id"].cast("string"))
    want = judged(log)
    bare = Scorer(without_keys(feeds.bundle(), *lacks))
    renamed = {own: served for role, (own, served) in names.items() if role in lacks}
    served = log.drop_columns("served_request") if "request" in lacks else log
    served = served.rename_columns([renamed.get(name, name) for name in served.column_names])
    found = estimate_log(bare, served, orders(), CLICK, estimator=FEW["snips"], temperature=1.5)
    for one, other in zip(flat(asdict(found)), flat(asdict(want)), strict=True):
        is_float = isinstance(other, float)
        assert one == (pytest.approx(other, rel=1e-9, nan_ok=True) if is_float else other)
    with pytest.raises(DataError) as refused:
        read_logged(bare, served.drop_columns(list(renamed.values())), [], CLICK)
    for role in lacks:
        told = f"the schema has no `keys.{role}`, and the log no column {names[role][1]!r}"
        assert told in str(refused.value)


def test_too_little_overlap_says_what_would_help() -> None:
    with pytest.raises(DataError) as caught:
        judged(feeds.log(), temperature=0.0, estimator=SNIPS(min_effective=60))
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    assert caught.value.message.startswith("3 rankings cannot be judged by the 3,000 rows")
    for one in told:
        assert "importances of place" in one
        assert "With --temperature" in one or "No temperature up to 4 gives more than" in one
    with pytest.raises(DataError, match=r"No temperature up to 4 .* Ask for fewer places\."):
        judged(feeds.log(), replace(CLICK, places=10), temperature=0.5, estimator=SNIPS())
    alone = {"in force": orders()["in force"]}
    with pytest.raises(
        DataError, match=r"place 1 rest on .* With --temperature [\d.]+ there would"
    ):
        estimate_log(
            scorer(),
            feeds.log(),
            alone,
            replace(CLICK, places=1),
            estimator=SNIPS(min_effective=15),
        )


def test_a_ranking_that_is_refused_leaves_the_others_told() -> None:
    """Whether it is the one in force or another."""
    question = replace(CLICK, places=1)
    ways = {
        name: Order(schema=feeds.schema(), weights={"click": sign})
        for name, sign in (("near", 1.0), ("far", -1.0))
    }
    limit = SNIPS(min_effective=20)
    for names in (["near", "far"], ["far", "near"]):
        found = estimate_log(
            scorer(),
            feeds.log(),
            {name: ways[name] for name in names},
            question,
            estimator=limit,
            temperature=1.5,
        )
        told, refused = (found.policies[names.index(name)] for name in ("near", "far"))
        assert refused.estimate is None
        assert (refused.to_logged, refused.to_in_force) == (None, None)
        assert "importances of place 1 rest on" in str(refused.refused)
        assert told.estimate is not None
        assert told.to_logged is not None
        assert told.to_in_force is None


def test_clipped_shares_are_told() -> None:
    found = judged(feeds.log(), estimator=ClippedIPS(cap=1.5, min_effective=5))
    assert all(one.estimate and one.estimate.clipped_share > 0.05 for one in found.policies)
