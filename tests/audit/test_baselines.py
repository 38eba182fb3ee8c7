"""Trees against LightGBM called by hand on the log's own columns, constants against arithmetic."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from polyrank.audit import baselines, trees
from polyrank.audit.baselines import NOT_INSTALLED, Baseline, as_json, boosted_trees, constants
from polyrank.audit.trees import fit, known_rows, predict
from polyrank.data import EncodedLog, Encoders
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Keys,
    Multiclass,
    Numeric,
    Regression,
    Schema,
    Sequence,
)

SCHEMA = Schema(
    features=(
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="shown", side="bias", min_frequency=1),
        Bag(name="tags", side="item", min_frequency=1),
        Sequence(name="history", side="user", shares="item", max_length=5),
        Embedding(name="vector", side="item", dim=2),
        Numeric(name="age", side="user"),
        Numeric(name="hour", side="context", scaling="bins"),
    ),
    tasks=(
        Binary(name="click", keep_rate=0.5),
        Duration(name="watch", unit="ms", within="click"),
        Regression(name="score"),
        Multiclass(name="mood", classes={"bad": 0.0, "good": 5.0}),
    ),
    keys=Keys(weight="weight"),
)


def table(rows: int, seed: int) -> pa.Table:
    """Who saw the item before clicks on it; how long follows the age."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 30, rows)
    seen = rng.random(rows) < 0.5
    history = [
        [int(own)] * 2 if had else [int(own + 1) % 30] for own, had in zip(item, seen, strict=True)
    ]
    age = rng.normal(40, 10, rows)
    return pa.table(
        {
            "item": item,
            "shown": rng.integers(0, 3, rows),
            "tags": [[int(own % 3)] if own % 4 else [] for own in item],
            "history": pa.array(history, pa.list_(pa.int64())),
            "vector": pa.array(rng.normal(size=(rows, 2)).tolist(), pa.list_(pa.float32(), 2)),
            "age": pa.array(age, mask=rng.random(rows) < 0.05),
            "hour": rng.uniform(0, 24, rows),
            "click": (rng.random(rows) < np.where(seen, 0.8, 0.2)).astype(float),
            "watch": 1000 * np.exp((age - 40) / 10 + rng.normal(0, 0.2, rows)),
            "score": pa.array(age + rng.normal(0, 1, rows), mask=rng.random(rows) < 0.3),
            "mood": np.where(age + rng.normal(0, 5, rows) > 40, "good", "bad"),
            "weight": rng.integers(0, 3, rows).astype(float),
        }
    )


ROWS = {"train": table(900, 0), "validation": table(300, 1)}
Parts = dict[str, EncodedLog]


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return Encoders.fit(SCHEMA, [ROWS["train"]])


@pytest.fixture(scope="module")
def parts(encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("logs")
    return {
        part: EncodedLog.build(folder / part, encoders, [rows], fingerprint="f")
        for part, rows in ROWS.items()
    }


def seen(part: str, task: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows with a label that weigh."""
    rows = ROWS[part]
    weighs = rows["weight"].to_numpy() > 0
    if task == "watch":
        weighs &= rows["click"].to_numpy() == 1
    there = weighs & np.array([value is not None for value in rows[task].to_pylist()])
    return np.asarray(there)


def test_the_columns_say_what_the_rows_say(encoders: Encoders, parts: Parts) -> None:
    found = known_rows(parts["validation"], SCHEMA, encoders)
    rows, names = ROWS["validation"], list(found.columns.names)
    assert not any("shown" in name for name in names)
    assert found.columns.categorical == {"item"}
    column = {name: found.x_NC[:, place] for place, name in enumerate(names)}
    item = rows["item"].to_numpy()
    codes = {(int(a), float(b)) for a, b in zip(item, column["item"], strict=True)}
    assert len(codes) == len({a for a, _ in codes}) == len({b for _, b in codes}) == 30
    history = rows["history"].to_pylist()
    times = [own.count(int(i)) for own, i in zip(history, item, strict=True)]
    assert column["history: has it"].tolist() == times
    assert column["history: length"].tolist() == [len(own) for own in history]
    tags = [name for name in names if name.startswith("tags: ") and name != "tags: length"]
    marked = np.column_stack([column[name] for name in tags])
    assert marked.sum(1).tolist() == [len(own) for own in rows["tags"].to_pylist()]
    assert column["vector: 1"] == pytest.approx([own[1] for own in rows["vector"].to_pylist()])
    order = np.argsort(rows["hour"].to_numpy())
    assert (np.diff(column["hour"][order]) >= 0).all()
    assert column["hour"].max() > 3


def test_the_model_is_the_one_that_the_settings_say(encoders: Encoders, parts: Parts) -> None:
    """Rounds, early stopping and predictions, from LightGBM by hand."""
    train, held = (known_rows(parts[part], SCHEMA, encoders) for part in ("train", "validation"))
    task = SCHEMA.task("click")
    places = list(range(len(train.columns.names)))
    found = fit(task, places, train, held, seed=3)
    sets: list[Any] = []
    for part, known in (("train", train), ("validation", held)):
        there = seen(part, "click")
        label = ROWS[part]["click"].to_numpy()[there]
        weight = ROWS[part]["weight"].to_numpy()[there]
        sets.append(
            lgb.Dataset(
                known.x_NC[there],
                label,
                weight=weight,
                feature_name=[f"c{place}" for place in places],
                categorical_feature=["c0"],
                reference=sets[0] if sets else None,
            )
        )
    settings = {"objective": "binary", "metric": "binary_logloss", "num_leaves": 31}
    settings |= {"learning_rate": 0.05, "min_child_samples": 20, "seed": 3, "verbosity": -1}
    settings |= {"feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1}
    settings |= {"num_threads": 1, "deterministic": True}
    stop = lgb.early_stopping(50, verbose=False)
    booster = lgb.train(settings, sets[0], 2000, valid_sets=[sets[1]], callbacks=[stop])
    assert found.rounds == booster.best_iteration
    raw = booster.predict(held.x_NC, num_threads=1)
    # Half of the negatives were dropped: odds are half of what the log shows.
    assert predict(task, found, held.x_NC) == pytest.approx(raw / 2 / (raw / 2 + 1 - raw))


def test_trees_learn_what_there_is_and_in_its_unit(encoders: Encoders, parts: Parts) -> None:
    found = boosted_trees(SCHEMA, encoders, parts, "validation")
    assert set(found.predictions) == set(SCHEMA.task_names)
    rows = ROWS["validation"]
    there = seen("validation", "click")
    auc = roc_auc_score(rows["click"].to_numpy()[there], found.predictions["click"][there])
    assert auc > 0.75
    for task in ("watch", "score", "mood"):
        there = seen("validation", task)
        labels = rows[task].to_numpy(zero_copy_only=False)[there]
        labels = np.where(labels == "good", 5.0, 0.0) if task == "mood" else labels.astype(float)
        error = np.abs(found.predictions[task][there] - labels).mean()
        assert error < 0.8 * np.abs(np.median(labels) - labels).mean()
    for told in found.told.values():
        assert told.reason is None
        assert "rounds on 900 rows" in told.told
        assert "ids" not in told.told
        assert told.seconds is not None
    assert Baseline.from_json(as_json(found)["click"]) == found.told["click"]


def test_ids_are_left_out_where_they_only_tell_of_training(
    encoders: Encoders, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "OPEN", 5)
    monkeypatch.setattr(trees, "MOST_ROWS", 450)
    monkeypatch.setattr(trees, "MOST_TAGS", 2)
    wanted = {**parts, "test": parts["validation"]}
    found = boosted_trees(SCHEMA, encoders, wanted, "test", tasks=["score"])
    told = found.told["score"].told
    assert told.endswith((", without ids", ", with ids"))
    assert "450 rows" in told
    assert len(found.predictions["score"]) == 300
    train = known_rows(parts["train"], SCHEMA, encoders)
    held = known_rows(parts["validation"], SCHEMA, encoders)
    assert train.columns.open == {"item"}
    every = list(range(len(train.columns.names)))
    scores = [
        fit(SCHEMA.task("score"), places, train, held, seed=0).score
        for places in (every, every[1:])
    ]
    assert told.endswith(", without ids") == (scores[1] < scores[0])


def test_constants(encoders: Encoders, parts: Parts) -> None:
    found = constants(SCHEMA, encoders, parts["train"], 300)
    rows = ROWS["train"]
    weight = rows["weight"].to_numpy()
    rate = np.average(rows["click"].to_numpy(), weights=weight)
    corrected = 1 / (1 + math.exp(-(math.log(rate / (1 - rate)) + math.log(0.5))))
    assert found.predictions["click"] == pytest.approx(np.full(300, corrected))
    there = seen("train", "watch")
    pairs = sorted(zip(rows["watch"].to_numpy()[there], weight[there], strict=True))
    repeated = np.repeat([a for a, _ in pairs], [int(b) for _, b in pairs])
    assert found.told["watch"].value == pytest.approx(np.median(repeated), rel=0.02)
    good = np.array(rows["mood"].to_pylist()) == "good"
    assert found.told["mood"].value == pytest.approx(np.average(5.0 * good, weights=weight))
    assert found.told["click"].told == f"the training rate, {corrected:.4g}"


def test_what_cannot_be_fitted_says_why(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = ROWS["validation"].set_column(7, "click", pa.array(np.zeros(300)))
    encoders = Encoders.fit(SCHEMA, [ROWS["train"]])
    empty = EncodedLog.build(tmp_path, encoders, [never], fingerprint="f")
    given = {**parts, "validation": empty}
    found = boosted_trees(SCHEMA, encoders, given, "validation", tasks=["click", "watch"])
    assert found.predictions == {}
    assert found.told["click"].reason == "labels of one class only in validation"
    assert found.told["watch"].reason == "no label in validation"
    unknown = constants(SCHEMA, encoders, empty, 3)
    assert unknown.told["watch"].reason == "no label in training"
    assert "watch" not in unknown.predictions

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    none = baselines.boosted_trees(SCHEMA, encoders, given, "validation")
    assert {told.reason for told in none.told.values()} == {NOT_INSTALLED}
    assert none.predictions == {}
