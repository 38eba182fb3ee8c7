"""``polyrank init``: what it writes trains as it stands."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from polyrank import starter
from polyrank.config import RunConfig, load_config
from polyrank.data import RandomSplit, Reader, TimeSplit, UserSplit, open_log
from polyrank.schema import Binary, Categorical, Keys, Schema, guess_schema
from polyrank.simulation import Feed
from tests.cli.workbench import FEED, ROWS, feed_log, run, succeed

DATA = Path(os.environ.get("POLYRANK_DATA") or Path(__file__).parents[3] / "shared" / "data")
TINY = [
    *("--set", "model.embedding_dim=4", "--set", "model.sharing={kind: mmoe, num_experts: 2, "),
    *("--set", "training.epochs=1", "--set", "training.precision=fp32"),
    *("--set", "evaluation.resamples=0", "--quiet"),
]
TINY[3] += "widths: [16]}"


def init(log: object, out: Path, *words: object) -> RunConfig:
    """The configuration that ``init`` writes."""
    told = succeed("init", log, "--out", out, *words)
    config = load_config(out)
    first, second = told.splitlines()
    tasks = ", ".join(config.schema_.task_names)
    assert first == f"{out}: {len(config.schema_.features)} features; tasks: {tasks}"
    assert second.endswith(f"polyrank validate {out}")
    return config


def train(config: Path) -> str:
    """It is checked, then trained, with a tiny network; what training says of its rows."""
    assert succeed("validate", config).endswith("no problem\n")
    words = ["--output", config.parent / "run"]
    return succeed("train", config, *TINY, *words).splitlines()[0]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.parquet"
    pq.write_table(feed_log(), path)
    return path


def test_a_parquet_log_trains_as_it_stands(log: Path, tmp_path: Path) -> None:
    config = init(log, tmp_path / "ranker.yaml")
    assert config.schema_ == guess_schema(feed_log()).schema
    assert config.data.log == "log.parquet"
    ledger = train(tmp_path / "ranker.yaml")
    assert ledger.startswith(f"rows read {ROWS:,} = used {ROWS:,} ")


def test_validation_and_test_are_the_last_tenths(log: Path, tmp_path: Path) -> None:
    split = init(log, tmp_path / "ranker.yaml").data.split
    assert isinstance(split, TimeSplit)
    times = feed_log()["time_ms"].to_numpy()
    test = times >= split.test_from
    validation = (times >= split.validation_from) & ~test
    assert test.mean() == pytest.approx(0.1, abs=0.01)
    assert validation.mean() == pytest.approx(0.1, abs=0.01)


def test_every_line_says_why(log: Path, tmp_path: Path) -> None:
    init(log, tmp_path / "ranker.yaml")
    text = (tmp_path / "ranker.yaml").read_text()
    for note in guess_schema(feed_log()).notes.values():
        assert note in text
    assert f'# What "log.parquet" seems to mean; {ROWS:,} rows, {ROWS:,} looked at.' in text
    assert "polyrank train ranker.yaml" in text


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(["|".join(map(str, value)) for value in column.to_pylist()])


def test_a_csv_log_trains_as_it_stands(tmp_path: Path) -> None:
    table = feed_log().drop_columns(["item_embedding"])
    for name in ("item_tags", "user_history"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, _joined(table[name]))
    moments = pc.cast(table["time_ms"], pa.timestamp("ms"))
    table = table.drop_columns(["time_ms"]).append_column("shown_at", moments)
    pv.write_csv(table, tmp_path / "log.csv")
    config = init(tmp_path / "log.csv", tmp_path / "ranker.yaml")
    assert config.schema_.keys.time == "shown_at"
    kinds = {feature.name: feature.kind for feature in config.schema_.features}
    assert kinds["item_tags"] == "bag"
    assert train(tmp_path / "ranker.yaml").startswith(f"rows read {ROWS:,} = used {ROWS:,} ")


def test_a_folder_of_files_with_a_side_table(tmp_path: Path) -> None:
    items = Feed(FEED).items()
    names = [name for name in items.column_names if name != "item_id"]
    (tmp_path / "log").mkdir()
    for number in range(3):
        part = feed_log().slice(number * 800, 800).drop_columns(names)
        pq.write_table(part, tmp_path / "log" / f"{number}.parquet")
    pv.write_csv(items.drop_columns(["item_embedding", "item_tags"]), tmp_path / "items.csv")
    out = tmp_path / "ranker.yaml"
    config = init(tmp_path / "log", out, "--table", f"items={tmp_path / 'items.csv'}")
    assert config.data.log == "log"
    assert config.data.tables == {"items": "items.csv"}
    assert {"item_category", "item_length_s"} <= set(config.schema_.feature_columns())
    assert train(out).startswith(f"rows read {ROWS:,} = used {ROWS:,} ")


def test_a_log_elsewhere_keeps_its_whole_path_and_no_variable_moves_it(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYRANK_DATA", "/nowhere")
    elsewhere = tmp_path / "runs" / "first"
    config = init(log, elsewhere / "ranker.yaml")
    assert config.data.log == str(log)
    beside = init(log, tmp_path / "ranker.yaml")
    assert beside.data.log == "log.parquet"
    monkeypatch.chdir(tmp_path)
    assert init("log.parquet", Path("again.yaml")).data.log == "log.parquet"
    for path in (elsewhere / "ranker.yaml", tmp_path / "ranker.yaml", Path("again.yaml")):
        assert "no problem" in succeed("validate", path)


def test_an_odd_file_name_is_quoted(tmp_path: Path) -> None:
    name = 'my log: "v1" #3.parquet'
    pq.write_table(feed_log(), tmp_path / name)
    config = init(tmp_path / name, tmp_path / "ranker.yaml")
    assert config.data.log == name


def test_a_file_that_is_there_stays_unless_asked(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranker.yaml"
    out.write_text("mine: 1\n")
    outcome = run("init", log, "--out", out)
    assert outcome.code == 2
    assert "--force" in outcome.error["hint"]
    assert out.read_text() == "mine: 1\n"
    init(log, out, "--force")


def _survey(rows: int = 1500) -> pa.Table:
    """A log without times, users or columns that are named like labels."""
    rng = np.random.default_rng(3)
    age = rng.integers(18, 80, rows)
    work = rng.choice(["office", "field", "none"], rows)
    paid = np.where(rng.random(rows) < age / 100, "50000+.", "- 50000.")
    return pa.table({"age": age, "work": work, "wage": paid, "region": rng.integers(0, 9, rows)})


def test_labels_by_name(tmp_path: Path) -> None:
    log, out = tmp_path / "survey.parquet", tmp_path / "ranker.yaml"
    pq.write_table(_survey(), log)
    unnamed = run("init", log, "--out", out)
    assert unnamed.code == 2
    assert "label" in unnamed.err
    config = init(log, out, "--label", "rich=wage=50000+.", "--label", "idle=work=none")
    assert config.schema_.task_names == ("rich", "idle")
    rich = config.schema_.task("rich")
    assert isinstance(rich, Binary)
    assert rich.positive == ("50000+.",)
    assert config.data.split == RandomSplit(validation=0.1, test=0.1)
    assert train(out).startswith("rows read 1,500 = used 1,500 ")


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["--label", "rich"], 2, "NAME=COLUMN"),
        (["--label", "rich=wages"], 2, "'wage'"),
        (["--label", "rich=wage=lots"], 2, "lots"),
        (["--table", "people"], 2, "NAME=PATH"),
        (["--table", "people=none.parquet"], 2, "none.parquet"),
        (["--out", "survey.parquet/ranker.yaml", "--label", "rich=wage=50000+."], 6, "ranker.yaml"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    fragment: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(_survey(), "survey.parquet")
    outcome = run("init", "survey.parquet", *words)
    assert outcome.code == code
    assert fragment in outcome.err
    assert not Path("ranker.yaml").exists()


def test_logs_that_are_none(tmp_path: Path) -> None:
    out = tmp_path / "ranker.yaml"
    assert run("init", tmp_path / "nothing.parquet", "--out", out).code == 2
    pq.write_table(feed_log().slice(0, 0), tmp_path / "empty.parquet")
    empty = run("init", tmp_path / "empty.parquet", "--out", out)
    assert (empty.code, empty.error["hint"]) == (3, "Guessing needs at least one.")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "empty.parquet").read_bytes()[:-9])
    assert run("init", tmp_path / "cut.parquet", "--out", out).code == 3
    (tmp_path / "two").mkdir()
    for name, kind in (("a", pa.int64()), ("b", pa.list_(pa.int64()))):
        column = pa.array([[1]] if name == "b" else [1], kind)
        pq.write_table(pa.table({"click": column}), tmp_path / "two" / f"{name}.parquet")
    two = run("init", tmp_path / "two", "--out", out)
    assert two.code == 3
    assert "type of a column" in two.error["message"]
    assert not out.exists()


@pytest.fixture
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only every eighth block of 50 rows is looked at."""
    monkeypatch.setattr(starter, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(starter, "_BLOCK", 50)


def _with_bad_rows(num_bad: int) -> pa.Table:
    """Negative watch times where nobody looks."""
    log = feed_log()
    watch = log["watch_time_s"].to_numpy().copy()
    unseen = np.arange(ROWS) // 50 % 8 != 0
    watch[np.flatnonzero(~np.isnan(watch) & unseen)[:num_bad]] = -3.0
    place = log.schema.get_field_index("watch_time_s")
    values = pa.array(watch, pa.float32(), mask=np.isnan(watch))
    return log.set_column(place, "watch_time_s", values)


@pytest.mark.usefixtures("short_look")
def test_a_few_refused_rows_are_set_aside_and_said_so(tmp_path: Path) -> None:
    pq.write_table(_with_bad_rows(4), tmp_path / "log.parquet")
    out = tmp_path / "ranker.yaml"
    config = init(tmp_path / "log.parquet", out)
    assert config.data.max_quarantine_share == pytest.approx(0.005)
    assert "4 rows break a rule" in out.read_text()
    assert "quarantined 4 " in train(out)


@pytest.mark.usefixtures("short_look")
def test_many_refused_rows_are_for_the_user_to_decide(tmp_path: Path) -> None:
    pq.write_table(_with_bad_rows(300), tmp_path / "log.parquet")
    out = tmp_path / "ranker.yaml"
    config = init(tmp_path / "log.parquet", out)
    assert config.data.max_quarantine_share == 0
    assert "300 rows break a rule" in out.read_text()
    assert run("validate", out).code == 3


# The split.

SCHEMA = Schema(features=(Categorical(name="item"),), tasks=(Binary(name="click"),))


def split_of(keys: Keys, **columns: Any) -> tuple[Any, str]:
    return starter.guess_split(SCHEMA.model_copy(update={"keys": keys}), pa.table(columns))


DAYS = [dt.date(2022, 4, 25) + dt.timedelta(days=day) for day in range(6)]


@pytest.mark.parametrize(
    ("times", "validation", "test"),
    [
        ([20220425, 20220426, 20220427, 20220428, 20220429, 20220430], 20220429, 20220430),
        (DAYS, "2022-04-29", "2022-04-30"),
        (pa.array(DAYS).cast(pa.timestamp("us")), "2022-04-29T00:00:00", "2022-04-30T00:00:00"),
        (
            pa.array(DAYS).cast(pa.timestamp("ns")).cast(pa.timestamp("ns", "Asia/Tokyo")),
            "2022-04-29T00:00:00+00:00",
            "2022-04-30T00:00:00+00:00",
        ),
        ([float(day) for day in range(6)], 4, 5),
        (list(range(100)), 80, 90),
        ([1] * 50 + [2] + [3] * 49, 2, 3),
        ([1, 2, 3], 2, 3),
        ([9] * 98 + [1, 2], 2, 9),
    ],
    ids=str,
)
def test_a_split_by_time(times: Any, validation: int | str, test: int | str) -> None:
    keys = Keys(time="when")
    split, why = split_of(keys, when=times)
    assert split == TimeSplit(validation_from=validation, test_from=test)
    assert '"when"' in why
    log = pa.table({"when": times, "item": [1] * len(times), "click": [1] * len(times)})
    reader = Reader(open_log(log), SCHEMA.model_copy(update={"keys": keys}), split=split)
    for part in ("train", "validation", "test"):
        assert list(reader.chunks(part))


def test_without_enough_times_users_divide_it_and_without_users_chance() -> None:
    two = [1, 2, 2, 1]
    by_user, why = split_of(Keys(time="when", user="who"), when=two)
    assert by_user == UserSplit(validation=0.1, test=0.1)
    assert "fewer than three" in why
    assert split_of(Keys(user="who"), when=two)[0] == by_user
    at_random, _ = split_of(Keys(time="when"), when=two)
    assert at_random == RandomSplit(validation=0.1, test=0.1, accept_leakage=True)
    assert split_of(Keys(), when=two)[0] == RandomSplit(validation=0.1, test=0.1)


@pytest.mark.parametrize("most", [50, 250, 350, 500, 700, 1900])
def test_a_long_log_is_looked_at_in_blocks_from_all_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for start in range(0, ROWS, 300):
        pq.write_table(feed_log().slice(start, 300), log / f"{start:04}.parquet")
    monkeypatch.setattr(starter, "SAMPLE_ROWS", most)
    monkeypatch.setattr(starter, "_BLOCK", 50)
    sample, num_rows = starter._look(open_log(log))
    assert num_rows == ROWS
    requests = feed_log()["request_id"].to_numpy()
    seen = np.isin(requests, sample["request_id"].to_numpy()).reshape(-1, 50).mean(axis=1)
    places = np.flatnonzero(seen)
    assert set(seen) == {0.0, 1.0}
    assert len(places) * 50 == sample.num_rows <= most
    stride = 2 ** round(np.log2(len(seen) / len(places)))
    assert places.tolist() == list(range(0, len(seen), stride))
    assert stride == 64 or 2 * (sample.num_rows - 50) >= most / 2
    if most == 500:
        init(log, tmp_path / "ranker.yaml")
        assert f"{sample.num_rows} looked at" in (tmp_path / "ranker.yaml").read_text()


# Real logs.


def every_eighth(log: Path, folder: Path) -> Path:
    """A log with every eighth row of another."""
    rows = pq.read_table(log)
    pq.write_table(rows.take(np.arange(0, len(rows), 8)), folder / log.name)
    return folder / log.name


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real logs are not at {DATA.name}")
class TestRealLogs:
    def test_kuairand(self, tmp_path: Path) -> None:
        folder, out = DATA / "kuairand", tmp_path / "ranker.yaml"
        tables = {
            "users": "user_features_pure.parquet",
            "videos": "video_features_basic_pure.parquet",
            "history": "user_history_to_0424.parquet",
        }
        flags: list[object] = []
        for name, file in tables.items():
            flags += ["--table", f"{name}={folder / file}"]
        log = every_eighth(folder / "log_standard_0425_0430.parquet", tmp_path)
        config = init(log, out, *flags)
        assert {"is_click", "long_view", "is_like"} <= set(config.schema_.task_names)
        words: list[object] = ["--set", "training.batch_size=512", "--output", tmp_path / "run"]
        told = succeed("train", out, *TINY, *words).splitlines()[0]
        assert told.startswith("rows read 11,848 = ")
        assert "quarantined 0" in told

    def test_census(self, tmp_path: Path) -> None:
        log = every_eighth(DATA / "census_income" / "census_income_test.parquet", tmp_path)
        out = tmp_path / "ranker.yaml"
        labels = ["--label", "income=income_50k=50000+."]
        labels += ["--label", "never_married=marital_stat=Never married"]
        config = init(log, out, *labels)
        assert config.schema_.task_names == ("income", "never_married")
        words = ["--set", "training.batch_size=512", "--output", tmp_path / "run"]
        told = succeed("train", out, *TINY, *words).splitlines()[0]
        assert told.startswith("rows read 12,471 = used 12,471 ")
