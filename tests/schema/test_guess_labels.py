"""Logs whose labels do not look like any, and labels that the user names."""

import numpy as np
import pyarrow as pa
import pytest

from polyrank.errors import ConfigError
from polyrank.schema import Binary, Duration, Regression, Schema, guess_schema
from tests.schema.logs import ROWS, log, null_unless, parts

P = parts()
CENSUS = pa.table(
    {
        "age": P["age"],
        "marital": np.array(["Never married", "Married", "Divorced", " Widowed "])[P["hour"] % 4],
        "income=k": np.where(P["like"], "50000+.", "- 50000."),
        "children": P["hour"] % 5,
        "member": P["click"].astype(bool),
        "pay_s": P["seconds"],
        "score": P["real"],
        "k": P["like"] + 1,
        "tags": P["past"],
        "empty": pa.nulls(ROWS),
    }
)


def tasks(**labels: str) -> Schema:
    return guess_schema(CENSUS, labels=labels).schema


def test_without_any_label_the_error_says_what_could_be_one() -> None:
    plain = CENSUS.drop_columns(["pay_s"])
    with pytest.raises(ConfigError, match="no column of the log looks like a label") as caught:
        guess_schema(plain)
    hint = str(caught.value.hint)
    assert "labels={'k': 'k', 'Never_married': 'marital=Never married'}" in hint
    assert "--label k=k --label 'Never_married=marital=Never married' on the command line" in hint
    assert "Columns with few values: 'income=k', 'member', 'k', 'marital'." in hint
    assert "score" not in hint


def test_the_kinds_of_a_response_are_offered_first() -> None:
    kind = np.array(["pv", "buy", "cart", "fav"])[P["hour"] % 4]
    table = pa.table({"item_id": P["item"], "city": P["city"], "behavior_type": kind})
    with pytest.raises(ConfigError, match=r"'behavior_type=") as caught:
        guess_schema(table)
    assert "city=" not in str(caught.value)
    asked = {"buy": "behavior_type=buy", "cart": "behavior_type=cart"}
    schema = guess_schema(table, labels=asked).schema
    assert [(task.name, task.label) for task in schema.tasks] == [
        ("buy", "behavior_type"),
        ("cart", "behavior_type"),
    ]
    assert schema.feature_columns() == ("item_id", "city")


def test_nothing_at_all_could_be_a_label() -> None:
    with pytest.raises(ConfigError, match=r"labels=\{'click': 'column'\}"):
        guess_schema(pa.table({"x": P["real"]}))


def test_the_rarer_of_two_values_means_one() -> None:
    task = tasks(income="income=k").task("income")
    assert task == Binary(name="income", label="income=k", positive=("50000+.",))
    assert tasks(k="k").task("k") == Binary(name="k", positive=(2,))


def test_a_value_may_be_named() -> None:
    schema = tasks(rich="income=k=- 50000.", single="marital=Never married", lone="marital=Widowed")
    positives = {task.name: task.positive for task in schema.tasks if isinstance(task, Binary)}
    assert positives == {
        "rich": ("- 50000.",),
        "single": ("Never married",),
        "lone": (" Widowed ",),
    }
    assert tasks(two="children=2").task("two") == Binary(
        name="two", label="children", positive=(2,)
    )
    assert tasks(m="member=True").task("m") == Binary(name="m", label="member", positive=(1,))


def test_the_longest_column_before_an_equals_sign_is_meant() -> None:
    table = pa.table({"a": P["hour"], "a=b": P["hour"] + 100, "c": P["real"]})
    task = guess_schema(table, labels={"x": "a=b=107"}).schema.task("x")
    assert task == Binary(name="x", label="a=b", positive=(107,))
    task = guess_schema(table, labels={"x": "a=7"}).schema.task("x")
    assert task == Binary(name="x", label="a", positive=(7,))


def test_other_scales() -> None:
    schema = tasks(member="member", kids="children", score="score")
    assert schema.task("member") == Binary(name="member")
    assert schema.task("kids") == Regression(name="kids", label="children")
    assert isinstance(schema.task("score"), Regression)
    watched = log({"item_id": "item", "click": "click", "play_time_ms": "milliseconds"})
    task = guess_schema(watched, labels={"time": "play_time_ms"}).schema.task("time")
    assert isinstance(task, Duration)
    assert task.unit == "ms"


def test_only_what_is_asked_for_becomes_a_task_and_nothing_else_leaks() -> None:
    table = log({"item_id": "item", "click": "click", "like": "like", "buy": "buy_if_click"})
    seen = pa.array(np.arange(ROWS) % 2)
    table = table.append_column("like_mask", seen).append_column("click_mask", seen)
    guess = guess_schema(table, labels={"tap": "click", "sale": "buy"})
    assert [task.name for task in guess.schema.tasks] == ["tap", "sale"]
    assert guess.schema.feature_columns() == ("item_id",)
    assert guess.schema.task("tap").mask == "click_mask"
    assert guess.schema.space("sale") == ()  # the mask hides some clicks
    assert {"ignored.like", "ignored.like_mask"} <= guess.notes.keys()
    assert "ignored.click_mask" not in guess.notes


def test_spaces_of_labels_that_were_asked_for() -> None:
    table = log({"item_id": "item", "click": "click", "buy": "buy_if_click"})
    schema = guess_schema(table, labels={"sale": "buy", "tap": "click"}).schema
    assert schema.space("sale") == ("tap",)


def test_a_key_may_be_asked_for_as_a_label() -> None:
    table = pa.table({"item_id": P["item"], "user": P["user"], "x": P["real"]})
    schema = guess_schema(table, labels={"who": "user=1003"}).schema
    assert schema.keys.user is None
    assert schema.task("who") == Binary(name="who", label="user", positive=(1003,))


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("incom", "the log has no column 'incom'. Did you mean 'income=k'?"),
        ("mariatl=Married", "the log has no column 'mariatl'. Did you mean 'marital'?"),
        ("marital", "holds 4 different values, and nothing says which of them means 1"),
        ("marital=Maried", "holds no 'Maried' in the sample. Did you mean 'Married'?"),
        ("score=1", "holds no '1' in the sample"),
        ("age=203", "holds no '203'"),
        ("tags", "cannot be a label: it is of kind list"),
        ("empty", "cannot be a label: it is null in every row"),
    ],
)
def test_labels_that_cannot_be(label: str, why: str) -> None:
    with pytest.raises(ConfigError, match="label 'x'") as caught:
        tasks(x=label)
    assert why in str(caught.value)


def test_one_class_only() -> None:
    table = CENSUS.append_column("rare", pa.array(np.arange(ROWS) == 3))
    with pytest.raises(ConfigError, match="1 in 1 and 0 in 799 rows"):
        guess_schema(table, labels={"x": "rare"})
    with pytest.raises(ConfigError, match="holds 1 different values"):
        guess_schema(table.append_column("one", pa.array([1] * ROWS)), labels={"x": "one"})


def test_a_label_needs_a_name_that_can_be_addressed() -> None:
    with pytest.raises(ConfigError, match="white space"):
        tasks(**{"my label": "member"})


def test_missing_labels_stay_missing() -> None:
    table = pa.table({"a": P["age"], "b": null_unless(P["like"], P["click"])})
    assert guess_schema(table, labels={"b": "b"}).schema.task("b").within is None
