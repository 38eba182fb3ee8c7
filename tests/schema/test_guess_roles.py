"""Each planted role is found, whatever it is called and wherever it stands."""

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
    Sequence,
    guess_schema,
)
from tests.schema.logs import (
    BASIC,
    ROWS,
    P,
    log,
)

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
