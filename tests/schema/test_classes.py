"""Tasks of levels and of classes: what they hold, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from polyrank.errors import ConfigError
from polyrank.heads.funnels import quantity
from polyrank.schema import (
    Binary,
    Multiclass,
    Numeric,
    Ordinal,
    Schema,
    guess_schema,
    parse,
)


def test_levels_are_one_to_five_unless_said() -> None:
    assert Ordinal(name="stars").values == (1, 2, 3, 4, 5)
    assert Ordinal(name="stars", levels=(-1, 0.5)).values == (-1, 0.5)


def test_classes_are_in_order_of_worth_however_they_are_named() -> None:
    given: dict[Any, float] = {"love": 3, 7: 1, "angry": -2, "like": 1}
    task = Multiclass(name="act", classes=given)
    assert task.names == ("angry", "7", "like", "love")
    assert list(task.values) == [-2, 1, 1, 3]
    assert task.numbers == (None, 7, None, None)
    turned = Multiclass(name="act", classes={"like": 1, "angry": -2, "7": 1, "love": 3})
    assert (task, hash(task)) == (turned, hash(turned))
    assert parse(Multiclass, json.loads(task.model_dump_json())).names == task.names


@pytest.mark.parametrize(
    ("name", "number"), [("7", 7), ("-7", -7), ("0", 0), ("07", None), ("-0", None), ("7.0", None)]
)
def test_a_class_is_a_number_only_where_it_is_written_as_one(name: str, number: int | None) -> None:
    assert Multiclass(name="act", classes={name: 0, "x": 1}).numbers[0] == number


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"classes": {"like": 1}},
            "`classes` must be 2 to 256, got 1; name every one that a label may be",
        ),
        (
            {"classes": {place: place for place in range(257)}},
            "`classes` must be 2 to 256, got 257; put some together",
        ),
        (
            {"classes": {1: 0, "1": 1}},
            "`classes` names a number both as such and as text; name it once",
        ),
        (
            {"classes": {True: 0, "no": 1}},
            "`classes` names True; a class is text or a whole number: write it so, text in quotes",
        ),
        (
            {"classes": {0.5: 0, "no": 1}},
            "`classes` names 0.5; a class is text or a whole number: write it so, text in quotes",
        ),
        ({"classes": {"a": 1, "b": "x"}}, "classes.b: must be a number, got 'x'"),
        ({"classes": {"a": 1, "b": float("inf")}}, "classes.b: Input should be a finite number"),
        ({"classes": ["a", "b"]}, "classes: must be a mapping, got ['a', 'b']"),
        ({}, "classes: is missing"),
        (
            {"classes": {"a": 1, 3: 2}, "missing_values": (3.0,)},
            "`missing_values` names 3.0, which `classes` names, too; leave it out of one",
        ),
    ],
)
def test_what_classes_refuse(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Multiclass(name="act", **settings)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"levels": (1,)}, "`levels` must be 2 to 256, got 1; name every one that a label may be"),
        ({"levels": (1, 3, 3)}, "`levels` must rise, got 1, 3, 3; sort them and name each once"),
        ({"levels": (1, 1e10)}, "levels.1: Input should be less than or equal to 1000000000"),
        (
            {"missing_values": (3,)},
            "`missing_values` names 3, which `levels` names, too; leave it out of one",
        ),
    ],
)
def test_what_levels_refuse(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Ordinal(name="stars", **settings)
    assert told in str(refused.value)


def test_nothing_lies_within_them() -> None:
    with pytest.raises(ConfigError, match="`within` names 'stars', which is no binary task"):
        Schema(
            features=(Numeric(name="age"),),
            tasks=(Ordinal(name="stars"), Binary(name="buy", within="stars")),
        )


def test_a_guess_says_that_few_grades_may_be_levels() -> None:
    rows = 400
    log = pa.table(
        {
            "item_id": [place % 20 for place in range(rows)],
            "rating": [1 + place // 7 % 5 for place in range(rows)],
            "user_rating": [place % 83 for place in range(rows)],
        }
    )
    guess = guess_schema(log)
    assert guess.notes["tasks.rating"].endswith(
        "; of so few levels it may be kind: ordinal, levels: [1, 2, 3, 4, 5]."
    )
    assert guess.schema.task("rating").kind == "regression"
    assert "ordinal" not in guess.notes["tasks.user_rating"]


def test_their_quantity_is_an_expected_value() -> None:
    schema = Schema(
        features=(Numeric(name="age"),),
        tasks=(
            Binary(name="click"),
            Ordinal(name="stars", within="click"),
            Multiclass(name="act", classes={"0": 0, "1": 1}),
        ),
    )
    assert quantity(schema, "stars") == "E(stars | click = 1)"
    assert quantity(schema, "act") == "E(worth of act)"
