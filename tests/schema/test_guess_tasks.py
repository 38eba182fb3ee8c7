"""Tasks, their units, masks and sample spaces; what comes after the impression."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.schema import (
    Binary,
    Duration,
    Regression,
)
from tests.schema.logs import (
    RNG,
    ROWS,
    P,
    feature_of,
    guessed,
    ignored,
    null_unless,
)


@pytest.mark.parametrize(
    ("values", "positive", "missing"),
    [
        (P["like"].astype(bool), (), ()),
        (P["like"].astype(float), (), ()),
        (P["like"].astype(np.uint8), (), ()),
        (np.where(P["like"], "yes", "no"), ("yes",), ()),
        (np.where(P["like"], "True", "False"), ("True",), ()),
        (np.where(P["like"], "1", "0"), ("1",), ()),
        (np.where(P["like"], 1, -1), (1,), ()),
        (np.where(P["click"], P["like"], -1), (), (-1,)),
        (pa.array(np.where(P["like"], "Y", "N")).dictionary_encode(), ("Y",), ()),
    ],
)
def test_yes_and_no_in_every_form(values: Any, positive: Any, missing: Any) -> None:
    task = guessed(share=values)[0].task("share")
    assert isinstance(task, Binary)
    assert (task.positive, task.missing_values) == (positive, missing)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("purchase", np.zeros(ROWS, dtype=np.int64), "only 0"),
        ("purchase", np.ones(ROWS, dtype=bool), "only True"),
        ("purchase", (np.arange(ROWS) == 3).astype(int), "1 in 1 and 0 in 799"),
        ("orders", P["count"], "leak"),
        ("order_status", P["device"], "leak"),
        ("click_through", P["real"], "leak"),
        ("revenue", P["real"], "money"),
        ("is_rand", np.zeros(ROWS, dtype=np.int8), "It is 0 in every row"),
        (
            "comment_stay_time",
            (np.arange(ROWS) % 20 == 0) * P["time"] % 997,
            "0 in 95.0% of the rows",
        ),
        ("watch_time", P["real"], "no time >= 0"),
        ("watch_time", np.full(ROWS, 3), "too little"),
        ("duration", P["milliseconds"], "time spent"),
        ("rating", np.full(ROWS, 3), "holds no scale"),
        ("rating", P["device"], "holds no scale"),
        ("action", np.array(["pv", "buy", "cart"])[np.arange(ROWS) % 3], "are responses"),
    ],
)
def test_what_comes_after_the_impression_is_never_a_feature(
    name: str, values: Any, why: str
) -> None:
    assert why in ignored(name, values)


def test_the_length_of_an_item_is_a_feature() -> None:
    length = (P["price"] * 1000).astype(np.int64)
    assert feature_of("duration_ms", length).side == "item"
    # Without items to compare, the name says nothing against it.
    assert feature_of("duration_ms", length, item_id=None).kind == "numeric"


@pytest.mark.parametrize(
    "name", ["is_weekend", "is_new_user", "is_video", "is_ad", "male", "has_app", "f_flag"]
)
def test_flags_known_beforehand_are_features(name: str) -> None:
    assert feature_of(name, P["like"]).kind == "categorical"


def test_a_flag_of_many_values_is_a_feature() -> None:
    assert feature_of("is_grade", P["hour"]).kind == "categorical"


@pytest.mark.parametrize("name", ["is_member", "follow", "clicked", "like_rate", "rating"])
@pytest.mark.parametrize("of", ["user", "item"])
def test_a_property_of_a_user_or_item_is_no_response(name: str, of: str) -> None:
    assert feature_of(name, P[of] % 3 // 2).side == of


@pytest.mark.parametrize(
    "name", ["clicks_7d", "like_count", "avg_watch_time", "num_orders", "item_ctr", "last_play_ms"]
)
def test_what_sums_up_the_past_is_a_feature(name: str) -> None:
    assert feature_of(name, P["count"]).kind == "numeric"


def test_grades() -> None:
    stars = RNG.integers(1, 6, ROWS)
    seen = RNG.uniform(0, 1.3, ROWS)
    schema, _ = guessed(rating=stars, watch_ratio=seen, star=P["like"])
    assert isinstance(schema.task("rating"), Regression)
    assert isinstance(schema.task("watch_ratio"), Regression)
    assert isinstance(schema.task("star"), Binary)


@pytest.mark.parametrize(
    ("name", "scale", "unit"),
    [
        ("watch_time", 20, "s"),
        ("watch_time", 20_000, "ms"),
        ("watch_time_min", 20, "min"),
        ("watch_time_ms", 20, "ms"),
        ("watch_time_s", 20_000, "s"),
        ("view_length_millis", 3, "ms"),
        ("dwell", 5, "s"),
    ],
)
def test_the_unit_is_named_or_follows_from_the_size(name: str, scale: int, unit: str) -> None:
    values = RNG.lognormal(0, 0.5, ROWS) * scale
    schema, notes = guessed(**{name: values})
    task = schema.task(name)
    assert isinstance(task, Duration)
    assert task.unit == unit
    assert ("check it" in notes[f"tasks.{name}"]) == (name in ("watch_time", "dwell"))


def test_a_day_of_watching_raises_the_limit_and_says_so() -> None:
    values = RNG.uniform(0, 100, ROWS)
    values[3] = 200_000.5
    schema, notes = guessed(watch_time_s=values)
    task = schema.task("watch_time_s")
    assert isinstance(task, Duration)
    assert task.limit == 200_001.0
    assert "limit" in notes["tasks.watch_time_s"]


def test_missing_times() -> None:
    task = guessed(watch_time_s=np.where(P["click"], P["seconds"], -1))[0].task("watch_time_s")
    assert task.missing_values == (-1.0,)


def test_null_without_a_click_is_a_space() -> None:
    shown = null_unless(P["seconds"], P["click"])
    schema, notes = guessed(purchase=P["buy_if_click"], watch_time_s=shown)
    assert schema.space("purchase") == schema.space("watch_time_s") == ("click",)
    assert "its space" in notes["tasks.purchase"]


def test_zero_without_a_click_is_none() -> None:
    schema, notes = guessed(purchase=P["buy"])
    assert schema.space("purchase") == ()
    assert "1 only where 'click' is 1, but observed elsewhere" in notes["tasks.purchase"]


def test_a_funnel_of_three() -> None:
    cart = P["click"] * RNG.integers(0, 2, ROWS)
    buy = cart * RNG.integers(0, 2, ROWS)
    schema, _ = guessed(
        cart=null_unless(cart, P["click"]),
        purchase=null_unless(buy, cart),
        refund=null_unless(RNG.integers(0, 2, ROWS), buy),
    )
    assert schema.space("refund") == ("purchase", "cart", "click")


def test_nulls_that_follow_no_label_are_no_space() -> None:
    schema, _ = guessed(purchase=null_unless(P["buy"], P["hour"] > 3))
    assert schema.space("purchase") == ()


def test_a_sentinel_outside_the_space_is_like_null() -> None:
    schema, _ = guessed(purchase=np.where(P["click"], P["buy"], -1))
    assert schema.space("purchase") == ("click",)


def test_masks() -> None:
    seen = RNG.integers(0, 2, ROWS)
    schema, notes = guessed(like_mask=seen, share_mask=seen, share=np.zeros(ROWS, dtype=int))
    assert schema.task("like").mask == "like_mask"
    assert "like_mask" not in schema.feature_columns()
    assert "no task" in notes["ignored.share_mask"]


def test_a_mask_that_follows_a_click_is_a_space() -> None:
    schema, _ = guessed(like_mask=P["click"].astype(bool))
    assert schema.space("like") == ("click",)
