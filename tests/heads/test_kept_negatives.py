"""A log that kept a share of its negatives: corrected, it is calibrated as the whole log is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data.layout import TargetStats
from polyrank.evaluation import Observations, evaluate
from polyrank.heads import build_head
from polyrank.schema import Binary, Numeric
from polyrank.training import train
from tests.heads.optimum import smooth_optimum
from tests.training.runs import SCHEMA, config, prepared, table

STEADY = {"embedding_dropout": 0.0, "towers": {"widths": [8], "dropout": 0.0}}
STATS = TargetStats(mean=0.3, std=0.5, count=100)


@settings(max_examples=15, deadline=None)
@given(
    positives=st.integers(1, 40),
    kept=st.integers(1, 40),
    keep_one_in=st.sampled_from([1, 2, 5, 20]),
)
def test_what_is_learned_from_kept_negatives_predicts_the_rate_of_all(
    positives: int, kept: int, keep_one_in: int
) -> None:
    head = build_head(Binary(name="click", keep_rate=1 / keep_one_in), STATS)
    best = head.predict(smooth_optimum(head, [1.0] * positives + [0.0] * kept)).item()
    assert best == pytest.approx(positives / (positives + kept * keep_one_in), rel=1e-4)


def test_metrics_of_a_thinned_log_are_those_of_the_whole_log() -> None:
    """Three kinds of rows, of each one negative in four kept; predictions are the true rates."""
    rates, size = {0.05: 80, 0.2: 40, 0.6: 20}, {}
    for rate, rows in rates.items():
        size[rate] = (round(rate * rows), rows - round(rate * rows))
    found = {}
    for rate_kept, negatives in ((1.0, 1), (0.25, 4)):
        labels, predictions = [], []
        for rate, (ones, zeros) in size.items():
            labels += [1.0] * ones + [0.0] * (zeros // negatives)
            predictions += [rate] * (ones + zeros // negatives)
        observations = Observations(
            predictions={"click": np.array(predictions)},
            labels={"click": np.array(labels)},
            masks={"click": np.ones(len(labels), dtype=np.bool_)},
            keep_rates={"click": rate_kept},
        )
        metrics = ["ratio", "log_loss", "ece", "ne"]
        found[negatives] = evaluate(
            observations, [Binary(name="click")], metrics=metrics, resamples=0
        )
    for metric in ("ratio", "log_loss", "ece", "ne"):
        whole, thinned = (found[n].value("click", metric) for n in (1, 4))
        assert thinned == pytest.approx(whole, abs=1e-9), metric
    assert found[1].value("click", "ratio") == pytest.approx(1.0)


def test_a_network_trained_on_a_thinned_log_is_calibrated_on_the_whole_one(tmp_path: Path) -> None:
    """Without the correction it predicts far too much."""
    rng = np.random.default_rng(3)
    rows = table(4_000, 5).drop_columns(["like"])
    prob = 0.4 / (1 + np.exp(-(rows["age"].to_numpy() - 35) / 5))
    like = (rng.random(4_000) < prob).astype(float)
    whole = rows.append_column("like", pa.array(like))
    thinned = whole.filter(pa.array((like == 1) | (rng.random(4_000) < 0.2)))
    ratios = []
    for keep_rate in (0.2, 1.0):
        task = Binary(name="like", keep_rate=keep_rate)
        schema = SCHEMA.model_copy(update={"features": (Numeric(name="age"),), "tasks": (task,)})
        log = prepared(tmp_path / f"log {keep_rate}", thinned, thinned, schema)
        select = {"metrics": {"like.log_loss": 1.0}}
        run = config(schema, epochs=8, learning_rate=0.003, model=STEADY, select=select)
        model = train(run, log, tmp_path / f"run {keep_rate}").model
        with torch.inference_mode():
            predicted = model.eval().predict(log.encoders.encode(whole))["like"].numpy()
        ratios.append(float(predicted.sum() / like.sum()))
    corrected, plain = ratios
    assert corrected == pytest.approx(1.0, abs=0.1)
    assert plain > 1.8
