"""What only bias models read, in training, no other verb needs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Bundle, Card, describe_tasks
from polyrank.config import EvaluationConfig
from polyrank.data import Encoders, Reader, open_log
from polyrank.errors import DataError
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Binary, Categorical, Keys, Schema
from polyrank.scoring import Scorer, compare_scorers, evaluate_log

SCHEMA = Schema(
    features=(
        Categorical(name="item", min_frequency=1),
        Categorical(name="place", side="bias", min_frequency=1),
    ),
    tasks=(Binary(name="click"), Binary(name="like", examined_by="position")),
    keys=Keys(user="user", item="item", position="position", propensity="chance"),
)
ROWS = 200
SHOWN = ["place", "position", "chance"]
CONFIG = EvaluationConfig(resamples=0)


def _log() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": rng.integers(0, 20, ROWS),
            "item": rng.integers(0, 9, ROWS),
            "place": rng.integers(0, 3, ROWS),
            "position": rng.integers(1, 6, ROWS),
            "chance": rng.uniform(0.1, 1, ROWS),
            "click": rng.integers(0, 2, ROWS),
            "like": rng.integers(0, 2, ROWS),
        }
    )


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    encoders = Encoders.fit(SCHEMA, [next(Reader(open_log(_log()), SCHEMA).chunks("all"))])
    config = ModelConfig.model_validate({"embedding_dim": 4})
    model = RankingModel(SCHEMA, encoders.layout, config, seed=1).eval()
    card = Card(tasks=describe_tasks(SCHEMA), data={})
    return Scorer(
        Bundle(
            schema=SCHEMA, encoders=encoders, model=model, model_config=config, tables={}, card=card
        )
    )


@pytest.mark.parametrize("gone", [*([name] for name in SHOWN), SHOWN])
def test_metrics_are_the_same_without(scorer: Scorer, gone: list[str]) -> None:
    less = _log().drop_columns(gone)
    assert evaluate_log(scorer, less, CONFIG).to_json() == (
        evaluate_log(scorer, _log(), CONFIG).to_json()
    )
    found, known = (
        compare_scorers(scorer, scorer, log, metrics=["auc"], resamples=40)
        for log in (less, _log())
    )
    assert found.to_json() == known.to_json()


@pytest.mark.parametrize("gone", SHOWN)
def test_training_needs_them(gone: str) -> None:
    with pytest.raises(DataError, match=gone):
        Reader(open_log(_log().drop_columns([gone])), SCHEMA)


def test_where_they_are_there_they_are_checked(scorer: Scorer) -> None:
    log = _log().set_column(3, "position", pa.array(np.zeros(ROWS, dtype=np.int64)))
    with pytest.raises(DataError, match="position"):
        evaluate_log(scorer, log, CONFIG)
