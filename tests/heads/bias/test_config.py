"""Bias models that do not fit are refused, with the cure; so are schemas with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from polyrank.errors import ConfigError
from polyrank.heads.bias import BIASES
from polyrank.heads.funnels import quantity
from polyrank.model import ModelConfig
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Embedding,
    Keys,
    Numeric,
    Schema,
    Sequence,
    parse,
    to_yaml,
)
from tests.heads.bias.rows import EXAMINED, KINDS, PLAIN, SCHEMA, run_config
from tests.training.runs import config

ITEM = Categorical(name="item")
CLICK = (Binary(name="click"),)


def refused(bias: Mapping[str, Any], schema: Schema = SCHEMA, **model: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config(schema, model={"bias": dict(bias), **model})
    return caught.value


def test_every_bias_model_is_under_contract() -> None:
    assert {bias["kind"] for bias in KINDS.values()} == set(BIASES)


@pytest.mark.parametrize("name", KINDS)
def test_those_of_the_tests_fit(name: str) -> None:
    run = run_config(KINDS[name])
    assert parse(type(run), run.tree()) == run


@pytest.mark.parametrize(
    ("bias", "where", "message"),
    [
        ({"clik": {"kind": "pal"}}, "model.bias.clik", r"'clik', which is no task. Did you mean"),
        ({"stars": {"kind": "pal"}}, "model.bias.stars", "'stars' is regression. Give it to a"),
        (
            {"click": {"kind": "pal", "features": ["place", "devise"]}},
            "model.bias.click.features.1",
            "names 'devise', which is no feature. Did you mean 'device'",
        ),
        (
            {"click": {"kind": "shallow_tower", "features": ["item", "place", "device"]}},
            "model.bias.click.features.0",
            "names 'item', which has `side: item`",
        ),
        (
            {"click": {"kind": "pal", "features": ["place", "device", "place"]}},
            "model.bias.click.features.2",
            "names 'place' twice. Remove one",
        ),
        (
            {"click": {"kind": "pal", "features": ["place"]}},
            "model.bias",
            "'device' has `side: bias`, and no bias model reads it. Give a task one, such as",
        ),
        ({"click": {"kind": "pall"}}, "model.bias.click.kind", "unknown kind 'pall'"),
        ({"click": {"kind": "ipw", "floor": 0}}, "model.bias.click.floor", "greater than 0"),
        ({"click": {"kind": "shallow_tower", "dropout": 0}}, "model.bias.click.dropout", "than 0"),
    ],
)
def test_what_does_not_fit_is_refused(bias: dict[str, Any], where: str, message: str) -> None:
    error = refused(bias)
    problems = error.problems or (error,)
    told = {problem.where: str(problem) for problem in problems}
    assert where in told
    assert message in told[where]


def test_bias_features_that_no_bias_model_reads_are_refused_each() -> None:
    error = refused({})
    assert [problem.where for problem in error.problems] == ["model.bias", "model.bias"]
    assert "remove the feature" in str(error)


@pytest.mark.parametrize("bias", [{}, {"click": {"kind": "ipw", "source": "logged"}}])
def test_an_examination_that_no_bias_model_reads_is_refused(bias: Mapping[str, Any]) -> None:
    error = refused(bias, EXAMINED)
    assert error.where == "model.bias"
    assert "task 'click' has `examined_by: position`, and no bias model reads" in str(error)
    assert "Leave `examined_by` out, or set `bias: {click: {kind: ipw}}`" in str(error)
    assert config(EXAMINED, model={"bias": {"click": {"kind": "ipw"}}})


@pytest.mark.parametrize("kind", ["pal", "shallow_tower"])
def test_a_tower_without_bias_features_is_refused(kind: str) -> None:
    error = refused({"click": {"kind": kind}}, PLAIN)
    assert error.where == "model.bias.click"
    assert "the schema has none. Declare the position" in str(error)


def test_propensities_that_nothing_gives_are_refused() -> None:
    keys = Keys(item="item", position="position")
    bare = PLAIN.model_copy(update={"keys": keys, "tasks": CLICK})
    error = refused({"click": {"kind": "ipw", "source": "logged"}}, bare)
    assert error.where == "model.bias.click.source"
    assert "no `keys.propensity`. Name the column there" in str(error)
    error = refused({"click": {"kind": "ipw"}}, bare)
    assert error.where == "model.bias.click.source"
    assert "Set `examined_by: position` on the task" in str(error)


@pytest.mark.parametrize("funnel", ["esmm", "aitm", "escm2"])
@pytest.mark.parametrize("name", KINDS)
def test_a_funnel_lets_it_move_a_logit_that_is_no_joint(name: str, funnel: str) -> None:
    schema = run_config(KINDS[name]).schema_
    model = {"bias": {"click": dict(KINDS[name])}, "funnel": {"kind": funnel}}
    if name in ("pal", "shallow_tower") and funnel != "aitm":
        assert config(schema, model=model).model.funnel.kind == funnel
        return
    with pytest.raises(ConfigError, match="does not stand on 'click', since funnel") as caught:
        config(schema, model=model)
    assert caught.value.where == "model.bias.click"
    assert ("'shallow_tower' or 'pal'" in str(caught.value)) == (funnel != "aitm")


def test_a_task_that_no_funnel_owns_may_have_any() -> None:
    tasks = (*PLAIN.tasks, Binary(name="like"))
    schema = PLAIN.model_copy(update={"tasks": tasks})
    model = {
        "bias": {"like": {"kind": "ipw", "source": "logged"}},
        "funnel": {"kind": "esmm"},
    }
    assert "like" in config(schema, model=model).model.bias


def test_weights_do_not_stand_beside_list_terms() -> None:
    """Those would be of unweighted rows."""
    keys = Keys(item="item", position="position", propensity="propensity", request="request")
    schema = SCHEMA.model_copy(update={"keys": keys})
    tower = {"kind": "shallow_tower"}
    logged = {"kind": "ipw", "source": "logged"}
    error = refused({"click": logged, "buy": tower}, schema, lists={"click": {"kind": "ranknet"}})
    assert error.where == "model.bias.click"
    assert "which `model.lists` changes, too. Choose one of them" in str(error)
    assert config(schema, model={"bias": {"click": tower}, "lists": {"click": {"kind": "ranknet"}}})


# What is predicted.


@pytest.mark.parametrize(
    ("name", "seen"),
    [("pal", True), ("shallow_tower", False), ("ipw logged", False), ("ipw position", True)],
)
def test_it_says_whether_the_prediction_is_of_seen_rows(name: str, seen: bool) -> None:
    found = parse(ModelConfig, {"bias": {"click": KINDS[name]}}).seen_tasks
    assert found == (("click",) if seen else ())


def test_quantities_by_hand() -> None:
    assert quantity(SCHEMA, "click", seen=True) == "P(click = 1 | seen)"
    assert quantity(SCHEMA, "buy", seen=True) == "P(buy = 1 | click = 1, seen)"
    assert quantity(SCHEMA, "buy") == "P(buy = 1 | click = 1)"


# Schemas.


@pytest.mark.parametrize(
    "feature",
    [
        Numeric(name="x", side="bias"),
        Bag(name="x", side="bias"),
        Embedding(name="x", side="bias", dim=2),
        Sequence(name="x", side="bias", shares="item"),
    ],
)
def test_bias_features_are_single_ids(feature: Any) -> None:
    with pytest.raises(ConfigError, match=f"'x' has `side: bias` and is {feature.kind}") as caught:
        Schema(features=(ITEM, feature), tasks=CLICK)
    assert caught.value.where == "Schema: features.1.side"


@pytest.mark.parametrize("field", ["shares", "target"])
def test_nothing_on_another_side_reads_them(field: str) -> None:
    names = {"shares": "item", "target": "item", field: "place"}
    history = Sequence(
        name="h", shares=names["shares"], target=names["target"], pooling="attention"
    )
    place = Categorical(name="place", side="bias")
    with pytest.raises(ConfigError, match=f"`{field}` names 'place', which has `side: bias`"):
        Schema(features=(ITEM, place, history), tasks=CLICK)


def test_something_must_be_left_to_predict_from() -> None:
    with pytest.raises(ConfigError, match="all features have `side: bias`") as caught:
        Schema(features=(Categorical(name="place", side="bias"),), tasks=CLICK)
    assert caught.value.where == "Schema: features"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (Keys(), "keys.position and keys.item"),
        (Keys(item="item"), "needs keys.position"),
        (Keys(position="p"), "needs keys.item"),
    ],
)
def test_an_examination_needs_position_and_item(keys: Keys, told: str) -> None:
    tasks = (Binary(name="like"), Binary(name="click", examined_by="position"))
    with pytest.raises(ConfigError, match=told) as caught:
        Schema(features=(ITEM,), tasks=tasks, keys=keys)
    assert caught.value.where == "Schema: tasks.1.examined_by"
    assert "leave `examined_by` out" in str(caught.value)


def test_a_schema_with_both_is_yaml_that_parses_back() -> None:
    schema = SCHEMA.model_copy(update={"tasks": EXAMINED.tasks})
    text = to_yaml(schema)
    assert "side: bias" in text
    assert "examined_by: position" in text
    from ruamel.yaml import YAML

    assert parse(Schema, YAML(typ="safe", pure=True).load(text)) == schema
