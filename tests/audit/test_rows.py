"""The rows that verdicts are read on: kept as they are, cut into slices, refused if they say
nothing."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.audit.jobs import Bench, run_job
from polyrank.audit.results import Store
from polyrank.audit.rows import PartRows, load, read_rows, require_labels, write_rows
from polyrank.audit.sampling import Sampled, sampled, unit_of
from polyrank.audit.slices import ACTIVITY, AGE, POPULARITY, Slice, slices_of
from polyrank.data import open_log
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.evaluation import evaluate
from polyrank.schema import Binary, Categorical, Schema
from polyrank.schema.features import Keys
from tests.audit.bench import JOINT, TASKS, bench, job, logs, run_config, sources, twin

CONFIG = run_config()


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(CONFIG, tmp_path_factory.mktemp("common"))


def test_observations_of_runs_are_those_their_metrics_came_from(
    common: Bench, tmp_path: Path
) -> None:
    store, results = Store(tmp_path), []
    for variant in (JOINT, twin("watch_time")):
        result, predictions = run_job(job(CONFIG, variant), common, tmp_path / variant.kind)
        store.write(result, predictions)
        results.append(result)
    results.append(replace(results[0], seed=1, status="failed"))
    half = Slice(
        codes_N=(np.arange(common.log.num_rows) % 2).astype(np.int32), names=("even", "odd")
    )
    with pytest.raises(ArtefactError, match="rows of the audit are not there"):
        load(tmp_path, CONFIG.schema_, results)
    write_rows(tmp_path, PartRows(truth=common.truth, slices={"half": half}), "key")
    assert read_rows(tmp_path, CONFIG.schema_, "another key") is None
    found = load(tmp_path, CONFIG.schema_, results)
    assert [*found] == [("joint", 0), ("twin watch_time", 0)]
    assert len(found) == 2
    assert {*found["joint", 0].predictions} == {*TASKS}
    seen = found["twin watch_time", 0]
    assert {*seen.predictions} == {"watch_time"}
    tasks = [CONFIG.schema_.task("watch_time")]
    evaluation = evaluate(seen, tasks, metrics=["mae"], slices=["half"], resamples=0)
    whole = evaluation.value("watch_time", "mae")
    assert whole == results[1].metrics["watch_time.mae"]
    parts = [evaluation.row("watch_time", "mae", f"half={name}") for name in half.names]
    mean = np.average([row.value for row in parts], weights=[row.rows for row in parts])
    assert mean == pytest.approx(whole)
    with pytest.raises(KeyError):
        found["joint", 1]


# Slices, by hand.


def schema_of(**keys: str) -> Schema:
    features = (Categorical(name="item"),)
    return Schema(features=features, tasks=(Binary(name="click"),), keys=Keys(**keys))


def classes(found: Slice) -> list[str]:
    return [str(name) for name in found.values()]


def test_users_and_items_are_classed_by_what_training_has_of_them() -> None:
    schema = schema_of(user="user", item="item", time="time")
    day = datetime.date(2022, 4, 1)
    days = [day + datetime.timedelta(days=count) for count in range(8)]
    train = [
        pa.table({"user": [1, 1, 1], "item": ["a", "a", "b"], "time": [days[0], days[2], days[1]]}),
        pa.table({"user": [1, 2, 3], "item": ["b", "a", "c"], "time": [days[1], days[0], days[4]]}),
    ]
    part = [
        pa.table(
            {"user": [1, 2], "item": ["a", "b"], "time": [days[7], days[7]], "tab": ["x", None]}
        ),
        pa.table(
            {"user": [3, 9], "item": ["c", "d"], "time": [days[7], days[7]], "tab": ["y", "x"]}
        ),
    ]
    found = slices_of(schema, train, part, ["tab"])
    none = "none in training"
    assert classes(found[ACTIVITY]) == ["4 rows", "1 row", "1 row", none]
    assert classes(found[POPULARITY]) == ["3 rows", "2 rows", "1 row", none]
    assert classes(found[AGE]) == ["oldest third", "middle third", "youngest third", none]
    assert classes(found["tab"]) == ["x", "null", "y", "x"]
    whole = [pa.concat_tables(train)]
    assert all(
        classes(one) == classes(found[name])
        for name, one in slices_of(schema, whole, part, ["tab"]).items()
    )


def test_many_chunks_count_as_one() -> None:
    schema = schema_of(user="user")
    train = [pa.table({"user": [number % 3] * (number % 3 + 1)}) for number in range(99)]
    part = [pa.table({"user": [0, 1, 2]})]
    rows = [33, 66, 99]
    assert classes(slices_of(schema, train, part, [])[ACTIVITY]) == [
        f"{count} rows" for count in rows
    ]


def test_thirds_hold_about_as_many_rows_each() -> None:
    schema = schema_of(user="user")
    train = [pa.table({"user": [user for user in range(9) for _ in range(user + 1)]})]
    found = slices_of(schema, train, [pa.table({"user": [*range(9)]})], [])[ACTIVITY]
    assert found.names == ("none in training", "1 to 3 rows", "4 to 6 rows", "7 to 9 rows")
    assert classes(found) == [name for name in found.names[1:] for _ in range(3)]


def test_no_keys_make_no_slices_and_strangers_one_class() -> None:
    part = [pa.table({"user": [7, 8], "tab": [1.5, 2.5]})]
    assert slices_of(schema_of(), [pa.table({"user": [1]})], part, []) == {}
    found = slices_of(schema_of(user="user"), [pa.table({"user": [1]})], part, ["tab"])
    assert classes(found[ACTIVITY]) == ["none in training"] * 2
    assert classes(found["tab"]) == ["1.5", "2.5"]


def test_a_column_of_many_values_is_no_slice() -> None:
    part = [pa.table({"id": [*range(1001)]})]
    with pytest.raises(ConfigError, match="'id' has 1,001 values, at most 1,000"):
        slices_of(schema_of(), [], part, ["id"])


# Labels that say nothing.


@pytest.mark.parametrize(
    ("labels", "observed", "told"),
    [
        ([0, 0, 1], [1, 1, 0], "none of 2 labels is positive"),
        ([1, 1, 0], [1, 1, 0], "all of 2 labels are positive"),
        ([1, 0, 1], [0, 0, 0], "no label was observed"),
    ],
)
def test_a_task_that_cannot_be_judged_is_named_with_a_cure(
    common: Bench, labels: Sequence[int], observed: Sequence[int], told: str
) -> None:
    wrong = replace(
        common.truth,
        labels_NT=np.array([labels] * 3, dtype=np.float64).T,
        observed_NT=np.array([observed] * 3, dtype=bool).T,
        weight_N=np.ones(3, dtype=np.float32),
    )
    with pytest.raises(DataError) as caught:
        require_labels(wrong, CONFIG.schema_, "the test part")
    assert f"task 'click': the test part: {told}. Hold out more rows" in str(caught.value)
    assert ("watch_time" in str(caught.value)) == (told == "no label was observed")
    single = run_config(("click", "long_view")).schema_.model_copy(
        update={"tasks": CONFIG.schema_.tasks[:1]}
    )
    with pytest.raises(DataError, match=told):
        require_labels(wrong, single, "the test part")


def test_labels_of_both_kinds_will_do(common: Bench) -> None:
    require_labels(common.truth, CONFIG.schema_, "the test part")


# Samples.


def users(source: Any) -> list[int]:
    return [user for chunk in source.chunks() for user in chunk.table["user_id"].to_pylist()]


def test_a_sample_has_whole_users_the_same_in_every_part() -> None:
    few = sampled(sources(), CONFIG.schema_, 0.5)
    train, kept = logs()["train"]["user_id"].to_pylist(), users(few.logs["train"])
    assert kept == [user for user in train if user in set(kept)]
    assert 0.3 < len({*kept}) / len({*train}) < 0.7
    test = logs()["test"]["user_id"].to_pylist()
    known = {*train} & {*test}
    assert {*users(few.logs["test"])} & known == {*kept} & known
    assert users(sampled(sources(), CONFIG.schema_, 1.0).logs["train"]) == train
    assert few.logs["train"].fingerprint() != sources().logs["train"].fingerprint()
    again = sampled(sources(), CONFIG.schema_, 0.5).logs["train"]
    assert again.fingerprint() == few.logs["train"].fingerprint()
    assert unit_of(CONFIG.schema_) == "users"


def test_rows_are_drawn_by_their_place_where_nothing_brings_them_together() -> None:
    table = pa.table({"user_id": [*range(2000)]})
    columns = [users(Sampled(open_log(table, chunk_rows=rows), None, 0.25)) for rows in (7, 2000)]
    assert columns[0] == columns[1]
    assert 400 < len(columns[0]) < 600
    assert unit_of(schema_of()) == "rows"
    assert unit_of(schema_of(request="request")) == "requests"
    source = Sampled(open_log(table), None, 0.25)
    assert [part.num_rows for part in source.parts()] == [None]
    assert users(source.each()[0]) == users(source.typed({})) == users(source)
    assert source.schema() == table.schema
