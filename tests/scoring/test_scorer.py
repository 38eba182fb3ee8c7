"""The scorer: the same predictions in one row, in any batch and at any place in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import Encoders, Reader, open_log
from polyrank.errors import ConfigError, DataError
from polyrank.scoring import PREFIX, Scorer, TorchEngine
from polyrank.scoring.engines import BLOCK_ROWS
from tests import feeds

TASKS = feeds.schema().task_names


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(feeds.bundle())


@pytest.fixture(scope="module")
def whole(scorer: Scorer) -> pa.Table:
    return scorer.score(feeds.log())


def _predictions(table: pa.Table) -> np.ndarray:
    return np.stack([table[PREFIX + task].to_numpy() for task in TASKS], axis=1)


def test_every_row_is_scored_in_its_place(whole: pa.Table) -> None:
    assert whole.num_rows == feeds.ROWS
    assert whole["request_id"].equals(feeds.log()["request_id"])
    assert whole.column_names[: len(whole.column_names) - len(TASKS)] == [
        "user_id",
        "item_id",
        "request_id",
        "time_ms",
        "position",
    ]


def test_predictions_are_those_of_the_network(scorer: Scorer, whole: pa.Table) -> None:
    bundle = scorer.bundle
    batch = bundle.encoders.encode(
        next(Reader(open_log(feeds.log()), bundle.schema).chunks("all")), labels=False
    )
    direct = bundle.model.predict(batch)
    for task in TASKS:
        found = whole[PREFIX + task].to_numpy()[: len(batch)]
        assert np.allclose(found, direct[task].detach().numpy(), rtol=1e-5, atol=1e-6)


@cache
def _all() -> np.ndarray:
    return _predictions(Scorer(feeds.bundle()).score(feeds.log()))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, feeds.ROWS - 1), min_size=1, max_size=80))
def test_a_row_scores_the_same_bits_alone_and_among_any_others(rows: list[int]) -> None:
    found = _predictions(Scorer(feeds.bundle()).score(feeds.log().take(pa.array(rows))))
    assert np.array_equal(found, _all()[rows])


def test_ids_never_seen_and_missing_values_are_scored(scorer: Scorer) -> None:
    row = feeds.log().slice(0, 1)
    for name, value in (("item_id", [2**62]), ("item_category", ["never seen"])):
        place = row.column_names.index(name)
        row = row.set_column(place, name, pa.array(value))
    for name in ("user_activity", "user_country", "user_history"):
        place = row.column_names.index(name)
        row = row.set_column(place, name, pa.nulls(1, row[name].type))
    assert np.isfinite(_predictions(scorer.score(row))).all()


def test_labels_and_keys_are_not_needed(scorer: Scorer, whole: pa.Table) -> None:
    features = feeds.log().select(list(scorer.bundle.schema.feature_columns())).slice(0, 50)
    assert np.array_equal(_predictions(scorer.score(features)), _predictions(whole.slice(0, 50)))


def test_a_missing_feature_is_named(scorer: Scorer) -> None:
    with pytest.raises(DataError, match="item_category"):
        scorer.score(feeds.log().drop_columns(["item_category"]))


def test_no_row_gives_no_score(scorer: Scorer) -> None:
    with pytest.raises(DataError):
        scorer.score(feeds.log().slice(0, 0))


def test_side_tables_are_joined_only_where_the_input_lacks_them() -> None:
    scorer = Scorer(feeds.bundle(joined=True))
    bare = scorer.score(feeds.bare_log())
    given = scorer.score(feeds.log())
    assert np.array_equal(_predictions(bare), _predictions(given))


def test_a_side_table_can_be_replaced(tmp_path: Path) -> None:
    items = feeds.items()
    shuffled = items.take(pa.array(np.arange(items.num_rows)[::-1]))
    place = items.column_names.index("item_id")
    other = shuffled.set_column(place, "item_id", items["item_id"])
    pq.write_table(other, tmp_path / "items.parquet")
    scorer = Scorer(feeds.bundle(joined=True), tables={"items": tmp_path / "items.parquet"})
    plain = Scorer(feeds.bundle(joined=True))
    assert not np.allclose(
        _predictions(scorer.score(feeds.bare_log())), _predictions(plain.score(feeds.bare_log()))
    )
    with pytest.raises(ConfigError, match="no side table 'item'. Did you mean 'items'"):
        Scorer(feeds.bundle(joined=True), tables={"item": tmp_path / "items.parquet"})


def test_a_file_is_scored_whole_and_in_order(
    scorer: Scorer, whole: pa.Table, tmp_path: Path
) -> None:
    pq.write_table(feeds.log(), tmp_path / "log.parquet")
    out = tmp_path / "scores.parquet"
    assert scorer.score_file(tmp_path / "log.parquet", out, keep=["surface"]) == feeds.ROWS
    found = pq.read_table(out)
    assert np.array_equal(_predictions(found), _predictions(whole))
    assert found["surface"].to_pylist() == feeds.log()["surface"].to_pylist()
    with pytest.raises(ConfigError, match="already exists"):
        scorer.score_file(tmp_path / "log.parquet", out)
    with pytest.raises(ConfigError, match="no column 'surfac' to keep. Did you mean 'surface'"):
        scorer.score_file(tmp_path / "log.parquet", out, keep=["surfac"], replace=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_every_prediction_says_which_quantity_it_is(scorer: Scorer, tmp_path: Path) -> None:
    scorer.score_file(feeds.log(), tmp_path / "scores.parquet")
    rows = feeds.log().slice(0, 5)
    for schema in (
        scorer.score(rows).schema,
        scorer.rank(rows).schema,
        pq.read_schema(tmp_path / "scores.parquet"),
    ):
        told = {
            field.name: field.metadata[b"quantity"].decode()
            for field in schema
            if field.name.startswith(PREFIX)
        }
        assert set(told) == {PREFIX + task for task in TASKS}
        assert told[PREFIX + "click"] == "P(click = 1)"
        assert told[PREFIX + "purchase"] == "P(purchase = 1 | click = 1)"
        assert told[PREFIX + "watch_time"] == "watch_time in s | click = 1"


def test_a_log_that_is_refused_leaves_the_old_scores(scorer: Scorer, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    out.write_bytes(b"PAR1before")
    length = feeds.log().column_names.index("item_length_s")
    infinite = pa.array([float("inf")] * feeds.ROWS)
    with pytest.raises(DataError, match="item_length_s"):
        scorer.score_file(
            feeds.log().set_column(length, "item_length_s", infinite), out, replace=True
        )
    assert out.read_bytes() == b"PAR1before"
    assert list(tmp_path.iterdir()) == [out]


def test_the_engine_gives_empty_arrays_for_an_empty_batch(scorer: Scorer) -> None:
    encoders: Encoders = scorer.bundle.encoders
    table = next(Reader(open_log(feeds.log()), scorer.bundle.schema).chunks("all"))
    batch = encoders.encode(table.slice(0, 0), labels=False)
    found = TorchEngine(scorer.bundle.model).predict(batch)
    assert {task: value.shape for task, value in found.items()} == dict.fromkeys(TASKS, (0,))


def test_a_large_batch_passes_in_blocks_and_keeps_its_bits(scorer: Scorer) -> None:
    times, model = 3, scorer.bundle.model
    chunk = next(Reader(open_log(feeds.log()), scorer.bundle.schema).chunks("all"))
    batch = scorer.bundle.encoders.encode(pa.concat_tables([chunk] * times), labels=False)
    assert len(batch) > 2 * BLOCK_ROWS
    seen: list[int] = []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = TorchEngine(model).predict(batch)
    handle.remove()
    assert max(seen) == BLOCK_ROWS
    assert len(seen) == 3
    for place, task in enumerate(TASKS):
        assert np.array_equal(found[task], np.tile(_all()[:, place], times))
