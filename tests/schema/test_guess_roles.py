"""Each planted role is found, whatever it is called and wherever it stands."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyrank.errors import ConfigError, DataError
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Numeric,
    Regression,
    Schema,
    Sequence,
    guess_schema,
)
from tests.schema.logs import BASIC, ROWS, log, null_unless, parts

KEY_NAMES: dict[str, list[str]] = {
    "user": ["user_id", "uid", "userId", "UserID", "member_id", "customer_id", "user", "viewer id"],
    "item": ["item_id", "video_id", "photoId", "productid", "doc_id", "ASIN", "item", "movie_id"],
    "request": ["request_id", "session_id", "impression_id", "query_id", "srch_id", "requestId"],
    "time": ["time_ms", "timestamp", "ts", "event_time", "date_time", "createdAt", "request time"],
    "position": ["position", "rank", "pos", "item_position", "position_in_list"],
    "propensity": ["propensity", "propensity_score", "pscore", "action_prob", "logging_prob"],
    "weight": ["weight", "sample_weight", "instance_weight", "ips_weight"],
}
TASK_NAMES: dict[str, list[str]] = {
    "click": ["click", "is_click", "clicked", "isClicked", "label_click", "long_view", "is_finish"],
    "like": [
        "like",
        "is_like",
        "follow",
        "share",
        "add_to_cart",
        "purchase",
        "is_saved",
        "label",
    ],
    "report": ["report", "is_hate", "dislike", "skip", "not_interested", "hide", "is_blocked"],
    "seconds": ["watch_time_s", "dwell_sec", "stay_seconds", "view time", "watchTime", "listen_s"],
    "milliseconds": ["play_time_ms", "dwell_ms", "playtime", "watch_duration", "time_spent"],
}
FEATURE_NAMES: dict[str, list[str]] = {
    "age": ["age", "user_age", "x1"],
    "city": ["city", "user_city", "c_12"],
    "price": ["price", "item_price", "feature"],
    "genres": ["genres", "item_tags", "g"],
    "device": ["device_type", "os", "d"],
    "hour": ["hour", "hour_of_day"],
    "real": ["score", "f_1"],
    "count": ["num_views", "follower_count", "clicks_7d"],
    "vector": ["item_embedding", "vec"],
    "past": ["hist_items", "watch_seq", "recentItems"],
}


@st.composite
def named_logs(draw: st.DrawFn) -> tuple[dict[str, str], pa.Table]:
    """Names by part, and a log of them in any order."""
    every = KEY_NAMES | TASK_NAMES | FEATURE_NAMES
    names = {part: draw(st.sampled_from(known)) for part, known in every.items()}
    order = draw(st.permutations([*names]))
    return names, log({names[part]: part for part in order}, seed=draw(st.integers(0, 99)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(named_logs())
def test_every_planted_role_is_found(planted: tuple[dict[str, str], pa.Table]) -> None:
    names, table = planted
    schema = guess_schema(table).schema
    assert schema.keys.named() == {role: names[role] for role in KEY_NAMES}
    labels = {task.label: task for task in schema.tasks}
    assert labels.keys() == {names[part] for part in TASK_NAMES}
    for part in ("click", "like", "report"):
        task = labels[names[part]]
        assert isinstance(task, Binary)
        assert task.sign == ("bad" if part == "report" else "good")
    for part, unit in {"seconds": "s", "milliseconds": "ms"}.items():
        task = labels[names[part]]
        assert isinstance(task, Duration)
        assert task.unit == unit
    features = {feature.column: feature for feature in schema.features}
    assert features.keys() == {names["item"], *(names[part] for part in FEATURE_NAMES)}
    kinds = {part: type(features[names[part]]) for part in ["item", *FEATURE_NAMES]}
    assert kinds == {
        "item": Categorical,
        "age": kinds["age"] if names["age"] == "x1" else Numeric,
        "city": Categorical,
        "price": Numeric,
        "genres": Bag,
        "device": Categorical,
        "hour": Categorical,
        "real": Numeric,
        "count": Numeric,
        "vector": Embedding,
        "past": Sequence,
    }
    sides = {part: features[names[part]].side for part in kinds}
    assert sides["age"] == sides["city"] == sides["past"] == "user"
    assert sides["item"] == sides["price"] == sides["genres"] == "item"
    assert sides["device"] == sides["hour"] == "context"


@given(st.permutations(list(BASIC)))
@settings(max_examples=10)
def test_the_order_of_columns_means_nothing(order: list[str]) -> None:
    straight = guess_schema(log(BASIC))
    mixed = guess_schema(log({column: BASIC[column] for column in order}))
    assert set(mixed.schema.features) == set(straight.schema.features)
    assert set(mixed.schema.tasks) == set(straight.schema.tasks)
    assert mixed.schema.keys == straight.schema.keys
    assert mixed.notes == straight.notes


def guessed(**columns: Any) -> tuple[Schema, dict[str, str]]:
    """The guess for the basic log with ``columns`` added or, where None, removed."""
    table = log(BASIC)
    for name, values in columns.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, pa.array(values))
    guess = guess_schema(table)
    return guess.schema, guess.notes


def feature_of(name: str, values: Any, **rest: Any) -> Any:
    return guessed(**{name: values}, **rest)[0].feature(name)


def ignored(name: str, values: Any, **rest: Any) -> str:
    """The note on a column that must be neither feature nor label."""
    schema, notes = guessed(**{name: values}, **rest)
    assert name not in schema.feature_columns()
    assert name not in schema.label_columns()
    return notes[f"ignored.{name}"]


RNG = np.random.default_rng(5)
P = parts()
TIME_SORTED = np.arange(ROWS)


# --- keys


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


# --- tasks


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


# --- sample spaces


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


# --- features


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


# --- the user's id


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


# --- repeats


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


# --- what cannot be guessed


def test_an_empty_log() -> None:
    with pytest.raises(DataError, match=r"log: has no rows"):
        guess_schema(log(BASIC).slice(0, 0))


def test_a_column_named_twice() -> None:
    table = log(BASIC)
    twice = table.append_column("age", table.column("age"))
    with pytest.raises(DataError, match="names columns twice: 'age'"):
        guess_schema(twice)


def test_no_feature() -> None:
    with pytest.raises(ConfigError, match="no column of the log can be a feature") as caught:
        guess_schema(log({"click": "click", "time_ms": "time"}))
    assert caught.value.hint is not None
    with pytest.raises(ConfigError, match="'x': It is 1 in every row"):
        guess_schema(pa.table({"click": P["click"], "x": [1] * ROWS}))


def test_a_note_for_every_column() -> None:
    table = log({**KEY_LOG, "title": "noise_words", "v": "vector"})
    guess = guess_schema(table)
    known = {note.split(".", 1)[1] for note in guess.notes}
    known |= set(guess.schema.keys.named().values())
    assert set(table.column_names) <= known
    assert all(note.endswith(".") and "\n" not in note for note in guess.notes.values())


KEY_LOG = {**BASIC, "request_id": "request", "position": "position"}
