"""Keys, moments and repeated impressions."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.schema import (
    Categorical,
    guess_schema,
)
from tests.schema.logs import (
    BASIC,
    ROWS,
    P,
    guessed,
    ignored,
    log,
    null_unless,
)


def test_no_keys_at_all() -> None:
    table = log({"click": "click", "a": "age", "b": "real"})
    assert guess_schema(table).schema.keys.named() == {}


def test_an_id_of_the_row_is_no_request() -> None:
    assert "row" in ignored("impression_id", np.arange(ROWS) + 10**6)
    assert guessed(impression_id=np.arange(ROWS))[0].keys.request is None


def test_a_request_that_gathers_rows_wins_over_one_that_does_not() -> None:
    schema, _ = guessed(impression_id=np.arange(ROWS), session_id=P["request"])
    assert schema.keys.request == "session_id"


def test_attributes_of_a_user_are_no_key() -> None:
    schema, _ = guessed(user_id=None, user_city_id=P["user"] % 7, user_group=P["user"] % 3)
    assert schema.keys.user is None
    assert schema.feature("user_city_id").side == "user"


def test_a_bare_noun_with_few_values_is_no_id() -> None:
    kind = np.array(["shoe", "hat"])[P["item"] % 2]
    schema, _ = guessed(item_id=None, product=kind)
    assert schema.keys.item is None
    assert isinstance(schema.feature("product"), Categorical)


@pytest.mark.parametrize(
    ("values", "is_key"),
    [
        (P["position"], True),
        (P["position"] - 1, False),
        (P["position"] / 2, False),
        (P["item"] % 9 + 1, False),  # a rank of the item, the same in every list
        (np.ones(ROWS, dtype=np.int64), False),
    ],
)
def test_a_position_counts_from_one_and_differs_between_lists(values: Any, is_key: bool) -> None:
    schema, notes = guessed(rank=values)
    assert (schema.keys.position == "rank") == is_key
    if values.min() == 0:
        assert "must count from 1" in notes["ignored.rank"]


@pytest.mark.parametrize("values", [P["real"], P["propensity"] * 0, P["propensity"] + 1])
def test_a_propensity_is_a_probability(values: Any) -> None:
    assert guessed(propensity=values)[0].keys.propensity is None


def test_a_propensity_or_weight_with_gaps_is_no_key() -> None:
    gaps = null_unless(P["propensity"], P["click"])
    schema, _ = guessed(propensity=gaps, sample_weight=gaps)
    assert (schema.keys.propensity, schema.keys.weight) == (None, None)


@pytest.mark.parametrize(("values", "is_key"), [(P["weight"], True), (P["price"], False)])
def test_the_weight_of_an_item_is_a_feature(values: Any, is_key: bool) -> None:
    schema, _ = guessed(weight=values)
    assert (schema.keys.weight == "weight") == is_key
    assert ("weight" in schema.feature_columns()) != is_key


@pytest.mark.parametrize(
    "values",
    [
        pa.array(P["time"]).cast(pa.timestamp("ms")),
        pa.array(P["time"] * 1_000_001).cast(pa.timestamp("ns", "UTC")),
        pa.array(P["time"]).cast(pa.timestamp("ms")).cast(pa.date32()),
        P["time"] // 1000,
        P["time"] * 10**6,
        P["time"].astype(np.float64),
        (P["time"] - P["time"][0]) // 1000,
        20231101 + (P["time"] - P["time"][0]) // 86_400_000,
    ],
)
def test_moments_in_every_form(values: Any) -> None:
    schema, _ = guessed(time_ms=None, event_time=values)
    assert schema.keys.time == "event_time"
    assert "event_time" not in schema.feature_columns()


def test_the_finest_moment_is_the_time_and_the_others_are_no_features() -> None:
    day = 20231101 + (P["time"] - P["time"][0]) // 86_400_000
    schema, notes = guessed(date=day, hour_start=P["time"] // 3_600_000 * 3600)
    assert schema.keys.time == "time_ms"
    assert {"ignored.date", "ignored.hour_start"} <= notes.keys()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("upload_time", 1_600_000_000 + P["item"]),
        ("register_date", pa.array(19_000 + P["user"] % 99, pa.int32()).cast(pa.date32())),
        ("click_time", null_unless(P["time"], P["click"])),
        ("server_time", null_unless(P["time"], P["click"])),
        ("published", [f"2023-11-{day:02d}" for day in P["item"] % 28 + 1]),
        ("day", [f"2023/11/{day:02d} 10:00:00" for day in P["item"] % 28 + 1]),
        ("day_text", [f"202311{day:02d}" for day in P["item"] % 28 + 1]),
        ("hour", 23_110_100 + (P["time"] - P["time"][0]) // 3_600_000),
    ],
)
def test_other_moments_are_neither_key_nor_feature(name: str, values: Any) -> None:
    assert "moment" in ignored(name, values)
    assert guessed(**{name: values})[0].keys.time == "time_ms"


def test_a_moment_of_the_item_is_no_time_of_the_row() -> None:
    schema, _ = guessed(time_ms=None, created_at=1_600_000_000 + P["item"] * 1000)
    assert schema.keys.time is None


def test_a_time_with_gaps_is_no_key() -> None:
    schema, _ = guessed(time_ms=null_unless(P["time"], P["click"]))
    assert schema.keys.time is None


def test_parts_of_the_day_are_features() -> None:
    schema, _ = guessed(hour=P["hour"], time=P["hour"] % 4, month=P["hour"] % 12 + 1)
    assert {"hour", "time", "month"} <= set(schema.feature_columns())


def test_what_only_grows_with_time_is_no_feature() -> None:
    assert "grows" in ignored("batch", np.arange(ROWS) // 50)


def test_repeated_impressions() -> None:
    table = log(BASIC)
    once = guess_schema(table)
    assert once.schema.deduplicate is None
    twice = guess_schema(pa.concat_tables([table, table.slice(5, 3)]))
    assert twice.schema.deduplicate is not None
    assert twice.schema.deduplicate.window == 0
    assert twice.notes["deduplicate"].startswith("3 of 803 rows")
    large = guess_schema(pa.concat_tables([table, table]), num_rows=10**8).schema.deduplicate
    assert large is not None
    assert large.window == 1_000_000


def test_rows_without_a_user_and_a_moment_may_be_equal() -> None:
    table = log({"item_id": "item", "click": "click"})
    assert guess_schema(pa.concat_tables([table, table])).schema.deduplicate is None
