"""Metrics compare with values: a label that is a lower bound is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Bundle, Card, describe_tasks
from polyrank.config import EvaluationConfig
from polyrank.data import EncodedLog, Encoders, Reader, open_log
from polyrank.evaluation import mae
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Binary, Categorical, Duration, Schema
from polyrank.scoring import PREFIX, Scorer, compare_scorers, evaluate_log
from polyrank.scoring.gains import measure_gains
from polyrank.training.validation import Truth

SCHEMA = Schema(
    features=(Categorical(name="item", min_frequency=1),),
    tasks=(
        Binary(name="click"),
        Duration(name="watch", within="click", censored="cut"),
        Duration(name="whole", label="watch"),
    ),
)
ROWS = 200
CONFIG = EvaluationConfig(resamples=0, metrics=("mae",))


def _log() -> pa.Table:
    rng = np.random.default_rng(0)
    cut_N = (rng.random(ROWS) < 0.3).astype(np.float64)
    return pa.table(
        {
            "item": rng.integers(0, 9, ROWS),
            "click": (rng.random(ROWS) < 0.7).astype(np.int64),
            "watch": rng.gamma(2, 20, ROWS),
            "cut": pa.array(cut_N, mask=rng.random(ROWS) < 0.1),
        }
    )


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    encoders = Encoders.fit(SCHEMA, [_log()])
    heads = {"watch": {"kind": "log_normal"}}
    config = ModelConfig.model_validate({"embedding_dim": 4, "heads": heads})
    model = RankingModel(SCHEMA, encoders.layout, config, seed=1).eval()
    card = Card(tasks=describe_tasks(SCHEMA), data={})
    return Scorer(
        Bundle(
            schema=SCHEMA, encoders=encoders, model=model, model_config=config, tables={}, card=card
        )
    )


def _values() -> np.ndarray:
    cut_N = _log()["cut"].fill_null(0.0).to_numpy()
    kept_N: np.ndarray = (_log()["click"].to_numpy() == 1) & (cut_N == 0)
    return kept_N


def _expected(scorer: Scorer, task: str) -> object:
    kept_N = _values() if task == "watch" else np.ones(ROWS, dtype=bool)
    scored = scorer.score(_log().drop_columns(["click", "watch", "cut"]))
    predicted_N = scored[PREFIX + task].to_numpy()
    found = mae(_log()["watch"].to_numpy()[kept_N], predicted_N[kept_N])
    return pytest.approx(found.value, rel=1e-6)


@pytest.mark.parametrize("task", ["watch", "whole"])
def test_evaluate_compares_with_values_only(scorer: Scorer, task: str) -> None:
    row = evaluate_log(scorer, _log(), CONFIG).row(task, "mae")
    assert row.value == _expected(scorer, task)
    assert row.rows == (_values().sum() if task == "watch" else ROWS)


@pytest.mark.parametrize("task", ["watch", "whole"])
def test_compare_compares_with_values_only(scorer: Scorer, task: str) -> None:
    found = compare_scorers(scorer, scorer, _log(), metrics=["mae"], resamples=40)
    assert found.row(task, "mae").a == _expected(scorer, task)


@pytest.mark.parametrize("task", ["watch", "whole"])
def test_gains_compare_with_values_only(scorer: Scorer, task: str) -> None:
    chunks = Reader(open_log(_log()), SCHEMA).chunks("all")
    gains = measure_gains(scorer, scorer, chunks, EvaluationConfig(resamples=40))
    assert gains.comparison is not None
    assert gains.comparison.row(task, "mae").b == _expected(scorer, task)


def test_where_all_are_lower_bounds_a_metric_is_undefined(scorer: Scorer) -> None:
    log = _log().set_column(3, "cut", pa.array(np.ones(ROWS)))
    found = evaluate_log(scorer, log, CONFIG)
    assert found.row("watch", "mae").reason is not None
    assert found.row("whole", "mae").rows == ROWS


def test_validation_sees_the_same_rows(scorer: Scorer, tmp_path: Path) -> None:
    chunks = Reader(open_log(_log()), SCHEMA).chunks("all")
    log = EncodedLog.build(tmp_path / "log", scorer.bundle.encoders, chunks, fingerprint="x")
    masks = Truth.of(log, SCHEMA).beside(np.zeros((ROWS, 3))).masks
    assert np.array_equal(masks["watch"], _values())
    assert masks["whole"].all()
