"""The real logs, read from beside the repository."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from polyrank.errors import ConfigError
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Schema,
    Sequence,
    guess_schema,
    parse,
    to_yaml,
)
from polyrank.schema.guess import Guess

ROOT = Path(os.environ.get("POLYRANK_DATA") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not ROOT.is_dir(), reason=f"the real logs are not at {ROOT.name}"),
]

CLICKS = ["is_click", "is_like", "is_follow", "is_comment", "is_forward", "long_view"]
LABELS = {*CLICKS, "is_hate", "is_profile_enter", "play_time_ms"}
AFTERWARDS = {"profile_stay_time", "comment_stay_time"}


def kuairand(name: str) -> pa.Table:
    return pq.read_table(ROOT / "kuairand" / f"{name}.parquet")


LOG = "log_standard_0425_0430"
TABLES = {
    "users": "user_features_pure",
    "videos": "video_features_basic_pure",
    "history": "user_history_to_0424",
}


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return kuairand(LOG)


@pytest.fixture(scope="module")
def joined(log: pa.Table) -> Guess:
    return guess_schema(log, tables={name: kuairand(file) for name, file in TABLES.items()})


def check_log(schema: Schema) -> None:
    assert (schema.keys.user, schema.keys.item, schema.keys.time) == (
        "user_id",
        "video_id",
        "time_ms",
    )
    assert schema.keys.position is None
    assert {task.label for task in schema.tasks} == LABELS
    assert not (LABELS | AFTERWARDS | {"date", "time_ms"}) & set(schema.feature_columns())
    for task in schema.tasks:
        assert task.within is None
        assert task.sign == ("bad" if task.name == "is_hate" else "good")
    play = schema.task("play_time_ms")
    assert isinstance(play, Duration)
    assert play.unit == "ms"
    assert isinstance(schema.task("is_click"), Binary)


def test_kuairand(log: pa.Table) -> None:
    guess = guess_schema(log)
    check_log(guess.schema)
    assert set(guess.schema.feature_columns()) == {"video_id", "hourmin", "duration_ms", "tab"}
    assert guess.schema.feature("duration_ms").side == "item"
    assert guess.schema.feature("tab").side == "context"
    assert guess.schema.deduplicate is not None


@pytest.mark.parametrize(
    "part",
    [
        lambda log: log.slice(0, 3_000),
        lambda log: log.slice(50_000, 20_000),
        lambda log: log.take(list(range(0, log.num_rows, 7))),
    ],
)
def test_part_of_it_shows_the_same(log: pa.Table, part: Callable[[pa.Table], pa.Table]) -> None:
    schema = guess_schema(part(log), num_rows=log.num_rows).schema
    assert (schema.keys.user, schema.keys.item, schema.keys.time) == (
        "user_id",
        "video_id",
        "time_ms",
    )
    assert {"is_click", "long_view", "is_like", "play_time_ms"} <= set(schema.task_names) <= LABELS
    assert not (LABELS | AFTERWARDS | {"date"}) & set(schema.feature_columns())


def test_kuairand_with_its_side_tables(joined: Guess) -> None:
    schema = joined.schema
    check_log(schema)
    assert [(table.name, table.on, table.prefix) for table in schema.tables] == [
        ("users", "user_id", ""),
        ("videos", "video_id", ""),
        ("history", "user_id", ""),
    ]
    features = {feature.name: feature for feature in schema.features}
    tag = features["tag"]
    assert isinstance(tag, Bag)
    assert (tag.separator, tag.side) == (",", "item")
    for name in ("watch_seq", "like_seq", "long_watch_seq"):
        sequence = features[name]
        assert isinstance(sequence, Sequence)
        assert (sequence.shares, sequence.pooling, sequence.side) == (
            "video_id",
            "attention",
            "user",
        )
    assert features["is_live_streamer"].missing_values == (-124,)
    assert {features[n].side for n in ("register_days", "onehot_feat3", "fans_user_num")} == {
        "user"
    }
    assert {features[n].side for n in ("author_id", "music_id", "video_duration")} == {"item"}
    assert {features[n].kind for n in ("onehot_feat4", "music_type", "author_id")} == {
        "categorical"
    }
    assert {features[n].kind for n in ("fans_user_num", "register_days", "server_width")} == {
        "numeric"
    }
    assert not {"last_time_ms", "upload_dt", "visible_status"} & features.keys()


def test_its_yaml_says_why_and_parses_back(joined: Guess) -> None:
    text = to_yaml(joined)
    assert parse(Schema, YAML(typ="safe", pure=True).load(io.StringIO(text))) == joined.schema
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.lstrip().startswith("- {"):
            assert lines[at - 1].lstrip().startswith("# "), line


@pytest.fixture(scope="module")
def census() -> Any:
    return pq.read_table(ROOT / "census_income" / "census_income_test.parquet")


def test_census_has_no_label_that_can_be_told(census: pa.Table) -> None:
    with pytest.raises(ConfigError, match="looks like a label") as caught:
        guess_schema(census)
    assert "'income_50k': 'income_50k'" in str(caught.value)


def test_census_with_its_labels_named(census: pa.Table) -> None:
    labels = {"income": "income_50k", "never_married": "marital_stat=Never married"}
    schema = guess_schema(census, labels=labels).schema
    positives = {task.name: task.positive for task in schema.tasks if isinstance(task, Binary)}
    assert {name: str(values[0]).strip() for name, values in positives.items()} == {
        "income": "50000+.",
        "never_married": "Never married",
    }
    assert schema.keys.named() == {"weight": "instance_weight"}
    assert set(schema.feature_columns()) == set(census.column_names) - {
        "income_50k",
        "marital_stat",
        "instance_weight",
    }
    assert schema.deduplicate is None
    kinds = {feature.name: feature.kind for feature in schema.features}
    assert set(kinds.values()) == {"numeric", "categorical"}
    for name in ("age", "wage_per_hour", "capital_gains", "stock_dividends", "weeks_worked"):
        assert kinds[name] == "numeric", name
    for name in ("det_ind_code", "education", "sex", "country_self", "vet_benefits"):
        assert kinds[name] == "categorical", name
    question = schema.feature("mig_chg_msa")
    assert isinstance(question, Categorical)
    assert question.missing_values == ("?",)
