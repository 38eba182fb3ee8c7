"""What heads predict beside, on its way to a scored table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import Bundle, Card, describe_tasks, load_bundle, save_bundle
from polyrank.data import Encoders, Reader, open_log
from polyrank.errors import ConfigError
from polyrank.model import ModelConfig, RankingModel
from polyrank.ranker import Ranker
from polyrank.schema import (
    Binary,
    Categorical,
    Duration,
    Keys,
    Multiclass,
    Ordinal,
    Regression,
    Schema,
)
from polyrank.scoring import Scorer
from tests.cli.workbench import run, succeed

SCHEMA = Schema(
    features=(Categorical(name="item", side="item", min_frequency=1),),
    tasks=(
        Binary(name="click"),
        Duration(name="watch", within="click", unit="ms", length="length", censored="cut"),
        Duration(name="again", label="watch", length="length"),
        Regression(name="price"),
    ),
    keys=Keys(user="user"),
)
HEADS = {"watch": {"kind": "tpm", "leaves": 8}, "again": {"kind": "d2q"}}
ROWS = 300
BESIDE = ["watch.p10", "watch.p50", "watch.p90"]


@cache
def _log() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": rng.integers(0, 9, ROWS),
            "item": rng.integers(0, 12, ROWS),
            "click": np.ones(ROWS, dtype=np.int64),
            "watch": np.round(rng.gamma(2, 9e3, ROWS)),
            "cut": (rng.random(ROWS) < 0.2).astype(np.int64),
            "length": pa.array(rng.uniform(1e3, 6e4, ROWS), mask=rng.random(ROWS) < 0.1),
            "price": rng.normal(5, 2, ROWS),
        }
    )


@cache
def _bundle(with_quantiles: bool = True) -> Bundle:
    heads: Mapping[str, Any] = HEADS if with_quantiles else {"again": {"kind": "d2q"}}
    encoders = Encoders.fit(SCHEMA, [_log()])
    config = ModelConfig.model_validate({"embedding_dim": 4, "heads": heads})
    model = RankingModel(SCHEMA, encoders.layout, config, seed=1).eval()
    card = Card(tasks=describe_tasks(SCHEMA), data={})
    return Bundle(
        schema=SCHEMA, encoders=encoders, model=model, model_config=config, tables={}, card=card
    )


def _candidates() -> pa.Table:
    return _log().drop_columns(["click", "watch", "cut", "price"])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("further") / "bundle"
    save_bundle(_bundle(), path)
    return path


def test_columns_stand_beside_and_change_nothing() -> None:
    plain = Scorer(_bundle()).score(_candidates())
    wide = Scorer(_bundle()).score(_candidates(), further=True)
    assert wide.column_names == [*plain.column_names, *(f"predicted_{name}" for name in BESIDE)]
    assert wide.select(plain.column_names).equals(plain)
    found = np.stack([wide[f"predicted_{name}"].to_numpy() for name in BESIDE], axis=1)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) > 0).all()
    assert found.min() >= 0
    assert found.max() <= _log()["watch"].to_numpy().max()


def test_metadata_say_which_quantity_a_column_is() -> None:
    schema = Scorer(_bundle()).score(_candidates(), further=True).schema
    told = schema.field("predicted_watch.p90").metadata
    assert told == {b"quantity": b"p90 of watch in ms | click = 1"}
    assert schema.field("predicted_watch").metadata == {b"quantity": b"watch in ms | click = 1"}


@pytest.mark.parametrize("within", [None, "click"])
def test_metadata_of_levels_and_classes_are_chances(within: str | None) -> None:
    rng = np.random.default_rng(0)
    tasks = (
        Binary(name="click"),
        Ordinal(name="rating", levels=(1, 2.5), within=within),
        Multiclass(name="react", classes={"like": 1, "none": 0}, within=within),
    )
    schema = Schema(features=SCHEMA.features, tasks=tasks)
    table = pa.table(
        {
            "item": rng.integers(0, 12, ROWS),
            "click": rng.integers(0, 2, ROWS),
            "rating": rng.choice([1.0, 2.5], ROWS),
            "react": rng.choice(["like", "none"], ROWS),
        }
    )
    (rows,) = Reader(open_log(table), schema).chunks("all")
    encoders, config = Encoders.fit(schema, [rows]), ModelConfig(embedding_dim=4)
    bundle = Bundle(
        schema=schema,
        encoders=encoders,
        model=RankingModel(schema, encoders.layout, config, seed=1).eval(),
        model_config=config,
        tables={},
        card=Card(tasks=describe_tasks(schema), data={}),
    )
    found = Scorer(bundle).score(table.select(["item"]), further=True).schema
    told = {
        field.name.removeprefix("predicted_"): field.metadata[b"quantity"].decode()
        for field in found
        if ".prob_" in field.name
    }
    space = "" if within is None else " | click = 1"
    assert told == {
        "rating.prob_1": f"P(rating = 1{space})",
        "rating.prob_2.5": f"P(rating = 2.5{space})",
        "react.prob_like": f"P(react = like{space})",
        "react.prob_none": f"P(react = none{space})",
    }


def test_a_loaded_bundle_scores_the_same_bits_in_any_batch(saved: Path) -> None:
    wide = Scorer(_bundle()).score(_candidates(), further=True)
    loaded = Scorer(load_bundle(saved))
    assert loaded.score(_candidates(), further=True).equals(wide)
    for row in (0, 17, ROWS - 1):
        alone = loaded.score(_candidates().slice(row, 1), further=True)
        assert alone.equals(wide.slice(row, 1).combine_chunks())


def test_the_face_gives_them_too() -> None:
    ranker = Ranker(SCHEMA)
    ranker._scorer = Scorer(_bundle())
    found = ranker.score(_candidates(), ["item"], further=True)
    assert found.equals(Scorer(_bundle()).score(_candidates(), ["item"], further=True))
    assert found.column_names[-3:] == [f"predicted_{name}" for name in BESIDE]


def test_a_refused_row_has_no_quantiles() -> None:
    rows = _candidates()
    length = rows["length"].to_numpy().copy()
    length[3] = -1.0
    place = rows.column_names.index("length")
    bad = rows.set_column(place, "length", pa.array(length, mask=np.isnan(length)))
    scorer = Scorer(_bundle())
    chunks = list(scorer.score_chunks(bad, further=True, max_quarantine_share=0.1))
    found = pa.concat_tables(chunks)["predicted_watch.p50"].to_numpy()
    assert np.isnan(found).nonzero()[0].tolist() == [3]


def test_asking_for_what_no_head_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="predicts anything beside") as refused:
        Scorer(_bundle(False)).score(_candidates(), further=True)
    assert "tpm" in str(refused.value.hint)


def test_a_column_of_that_name_is_not_kept() -> None:
    rows = _candidates().append_column("predicted_watch.p50", pa.array(np.zeros(ROWS)))
    scorer = Scorer(_bundle())
    assert "predicted_watch.p50" in scorer.score(rows, ["predicted_watch.p50"]).column_names
    with pytest.raises(ConfigError, match="cannot be kept"):
        scorer.score(rows, ["predicted_watch.p50"], further=True)


def test_the_command_writes_them_when_asked(saved: Path, tmp_path: Path) -> None:
    pq.write_table(_candidates(), tmp_path / "log.parquet")
    succeed("score", saved, tmp_path / "log.parquet", tmp_path / "plain.parquet")
    succeed("score", saved, tmp_path / "log.parquet", tmp_path / "wide.parquet", "--further")
    plain, wide = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("plain", "wide"))
    beside = [f"predicted_{name}" for name in BESIDE]
    assert wide.column_names == [*plain.column_names, *beside]
    expected = Scorer(_bundle()).score(_candidates(), further=True)
    for name in beside:
        assert np.array_equal(wide[name].to_numpy(), expected[name].to_numpy())


def test_the_command_refuses_where_there_is_nothing(tmp_path: Path) -> None:
    save_bundle(_bundle(False), tmp_path / "bundle")
    pq.write_table(_candidates(), tmp_path / "log.parquet")
    outcome = run(
        "score", tmp_path / "bundle", tmp_path / "log.parquet", tmp_path / "out", "--further"
    )
    assert outcome.code == 2
    assert not (tmp_path / "out").exists()
