"""Features, and columns of which none is made."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.schema import (
    Bag,
    Categorical,
    Sequence,
    guess_schema,
)
from tests.schema.logs import (
    RNG,
    ROWS,
    P,
    feature_of,
    guessed,
    ignored,
    log,
    null_unless,
)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", RNG.integers(0, 50, ROWS), "categorical"),
        ("x", RNG.integers(0, 10**6, ROWS), "numeric"),
        ("x", RNG.integers(0, 200, ROWS), "categorical"),
        ("x", RNG.integers(10**12, 10**13, 200)[P["item"] % 200], "categorical"),
        ("zip_code", RNG.integers(10_000, 99_999, ROWS) // 50, "categorical"),
        ("num_rooms", RNG.integers(0, 9, ROWS), "numeric"),
        ("age_group", RNG.integers(0, 9, ROWS), "categorical"),
        ("wage_per_hour", RNG.integers(0, 99, ROWS), "numeric"),
        ("amount", RNG.integers(0, 2, ROWS), "categorical"),
        ("flag", RNG.integers(0, 2, ROWS).astype(bool), "categorical"),
        ("x", RNG.normal(size=ROWS).astype(np.float16), "numeric"),
        ("x", RNG.integers(0, 9, ROWS).astype(float), "numeric"),
        ("x", null_unless(RNG.integers(0, 9, ROWS).astype(float), P["click"]), "categorical"),
        ("brand_id", RNG.integers(0, 99, ROWS).astype(float), "categorical"),
        ("x", pa.array(RNG.integers(0, 10**6, ROWS)).cast(pa.decimal128(38, 0)), "numeric"),
        ("x", pa.array(P["price"]).cast(pa.decimal128(20, 2)), "numeric"),
    ],
)
def test_numbers(name: str, values: Any, kind: str) -> None:
    assert feature_of(name, values).kind == kind


def test_zeros_with_a_long_tail_are_scaled_by_the_logarithm() -> None:
    assert feature_of("num_views", P["count"]).scaling == "log"
    assert feature_of("num_views", P["count"] + 1).scaling == "quantile"


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        (np.where(P["click"], P["hour"], -124), (-124,)),
        (np.where(P["click"], P["hour"], np.where(P["like"], -1, -999)), (-999, -1)),
        (np.where(P["click"], P["hour"], -7), ()),
        (np.where(P["click"], P["real"], -1), ()),
        (np.where(P["click"], P["price"], -1.0), (-1.0,)),
        (np.where(P["click"], P["city"], "UNKNOWN"), ("UNKNOWN",)),
        (np.where(P["click"], P["city"], ""), ("",)),
        (np.where(P["click"], "?", "-"), ()),
    ],
)
def test_values_that_stand_for_missing(values: Any, missing: Any) -> None:
    assert feature_of("x", values).missing_values == missing


@pytest.mark.parametrize("separator", ["|", ";", ",", ", ", " "])
def test_separators(separator: str) -> None:
    bag = feature_of("tags", [value.replace("|", separator) for value in P["genres"]])
    assert isinstance(bag, Bag)
    assert bag.separator == separator
    assert bag.side == "item"


@pytest.mark.parametrize(
    "values",
    [
        np.array(["(0,10]", "(10,20]", "(20,30]", "30+"])[P["hour"] % 4],
        np.array(["never been married", "is divorced now", "lives with others"])[P["hour"] % 3],
        np.array(["a,b", "c"])[P["hour"] % 2],
    ],
)
def test_phrases_and_ranges_are_no_bags(values: Any) -> None:
    assert feature_of("x", values).kind == "categorical"


def test_lists_of_ids() -> None:
    tags = [list(value.split("|")) for value in P["genres"]]
    numbers = [[len(tag) + 3 for tag in row] * 20 for row in tags]
    assert feature_of("topics", tags).separator is None
    assert feature_of("topics", numbers).max_length == 60


@pytest.mark.parametrize(
    ("name", "values", "shares"),
    [
        ("watch_seq", P["past"], "item_id"),
        ("history", [" ".join(map(str, row)) for row in P["past"]], "item_id"),
        ("basket", P["past"], "item_id"),
        ("author_seq", [[int(i) % 9 for i in row] for row in P["past"]], "author_id"),
        ("recent_categories", [[int(i) % 9 for i in row] for row in P["past"]], None),
        ("word_seq", [[f"w{i % 9}" for i in row] for row in P["past"]], None),
    ],
)
def test_pasts_share_the_ids_they_repeat(name: str, values: Any, shares: str | None) -> None:
    feature = feature_of(name, values, author_id=P["item"] % 9)
    if shares is None:
        assert isinstance(feature, Bag)
    else:
        assert isinstance(feature, Sequence)
        assert (feature.shares, feature.pooling) == (shares, "attention")
        assert feature.separator == (None if isinstance(values[0], list) else " ")


def test_a_past_of_categories_is_none_of_items_even_if_the_numbers_are_the_same() -> None:
    small = P["item"] - P["item"].min()
    past = [[int(i) % 9 for i in row] for row in P["past"]]
    assert feature_of("recent_categories", past, item_id=small).kind == "bag"
    assert feature_of("recent_ids", past, item_id=small).kind == "sequence"


@pytest.mark.parametrize("name", ["category", "gender", "tags"])
def test_values_that_differ_within_it_speak_against_a_trait(name: str) -> None:
    assert feature_of(name, P["device"]).side == "context"


def test_a_past_without_an_item_is_a_bag() -> None:
    assert feature_of("watch_seq", P["past"], item_id=None).kind == "bag"


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("title", P["noise_words"], "value of its own"),
        ("uuid", [f"id{i}" for i in range(ROWS)], "value of its own"),
        ("title", [f"T{i // 2 * (i % 4)}" for i in range(ROWS)], "free text"),
        ("row_id", RNG.permutation(ROWS), "id of the row"),
        ("country", ["xx"] * ROWS, "It is 'xx' in every row"),
        ("empty", pa.nulls(ROWS, pa.int64()), "null in every row"),
        ("lists", [[]] * ROWS, "null in every row|empty in every row"),
        ("payload", ['{"a": [1]}', '{"b": 2}'] * (ROWS // 2), "JSON"),
        ("ratio", np.where(P["click"], P["real"], np.inf), "infinity"),
        ("vec", [[0.5] * (1 + i % 3) for i in range(ROWS)], "differ in length"),
        ("vec", [[float("nan"), 1.0]] * ROWS, "NaN"),
        ("big", pa.array([2**64 - 1 - i % 3 for i in range(ROWS)], pa.uint64()), "beyond int64"),
        ("track_id", np.arange(ROWS) % 5 * 2.0**50 + 2.0**60, "id stored as floats"),
        ("truth_relevance", P["real"], "simulation"),
    ],
)
def test_columns_of_which_nothing_is_made(name: str, values: Any, why: str) -> None:
    note = ignored(name, values)
    assert any(part in note for part in why.split("|")), note


def test_many_but_frequent_ids_ask_for_more_rows_each() -> None:
    rows = 12_000
    click = RNG.integers(0, 2, rows)
    table = pa.table({"item_id": RNG.integers(0, 1_150, rows), "click": click})
    few = pa.table({"item_id": RNG.integers(0, 900, rows), "click": click})

    def least(table: pa.Table, num_rows: int | None = None) -> int:
        feature = guess_schema(table, num_rows=num_rows).schema.feature("item_id")
        assert isinstance(feature, Categorical)
        return feature.min_frequency

    assert (least(few), least(table), least(table, 10**7)) == (2, 5, 10)


def test_the_users_id_is_left_out_beside_features_of_the_user() -> None:
    schema, notes = guessed()
    assert "user_id" not in schema.feature_columns()
    assert "by heart" in notes["ignored.user_id"]


def test_it_stands_in_where_nothing_else_tells_users_apart() -> None:
    frequent = log({"user_id": "user", "item_id": "item", "click": "click"}, rows=1000)
    guess = guess_schema(frequent)
    assert guess.schema.feature("user_id").side == "user"
    assert "stop early" in guess.notes["features.user_id"]
    rare = log({"user_id": "user", "item_id": "item", "click": "click"}, rows=700)
    assert guess_schema(rare).schema.feature_columns() == ("item_id",)


def test_it_is_better_than_nothing() -> None:
    table = log({"user_id": "user", "click": "click"}, rows=100)
    assert guess_schema(table).schema.feature_columns() == ("user_id",)
