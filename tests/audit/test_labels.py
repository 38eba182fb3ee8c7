"""Counts and correlations of labels against arithmetic by hand and a second implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from polyrank.audit import labels as labels_module
from polyrank.audit.labels import (
    CONSTANT,
    NO_ROWS,
    LabelEvidence,
    correlation,
    label_evidence,
    rank_correlation,
    ranks,
)
from polyrank.data import EncodedLog, Encoders
from polyrank.schema import Binary, Categorical, Duration, Keys, Schema

SCHEMA = Schema(
    features=(Categorical(name="item", min_frequency=1),),
    tasks=(
        Binary(name="click"),
        Binary(name="like"),
        Binary(name="buy", within="click"),
        Duration(name="watch"),
    ),
    keys=Keys(weight="weight"),
)


def table(rows: int = 400) -> pa.Table:
    """Likes follow clicks; the last tenth weighs nothing and says the opposite."""
    rng = np.random.default_rng(0)
    click = rng.random(rows) < 0.4
    like = np.where(rng.random(rows) < 0.8, click, ~click)
    weight = np.where(np.arange(rows) < rows * 9 // 10, rng.integers(1, 5, rows), 0)
    watch = np.exp(rng.normal(2, 1, rows) + click)
    return pa.table(
        {
            "item": rng.integers(0, 9, rows),
            "click": np.where(weight > 0, click, ~click).astype(float),
            "like": pa.array(like.astype(float), mask=rng.random(rows) < 0.2),
            "buy": (click & (rng.random(rows) < 0.5)).astype(float),
            "watch": pa.array(watch, mask=rng.random(rows) < 0.1),
            "weight": weight.astype(float),
        }
    )


def encoded(folder: Path, given: pa.Table, schema: Schema = SCHEMA) -> EncodedLog:
    encoders = Encoders.fit(schema, [given])
    return EncodedLog.build(folder, encoders, [given], fingerprint="f", shard_rows=63)


def columns(given: pa.Table) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """By task, NaN where there is no label, of the rows that weigh."""
    kept = given.filter(pa.array(given["weight"].to_numpy() > 0))
    found = {
        name: kept[name].to_numpy(zero_copy_only=False).astype(float)
        for name in ("click", "like", "buy", "watch")
    }
    found["buy"] = np.where(found["click"] == 1, found["buy"], np.nan)
    return found


def test_counts_and_correlations(tmp_path: Path) -> None:
    given = table()
    train, held = encoded(tmp_path / "a", given), encoded(tmp_path / "b", table(100))
    found = label_evidence({"train": train, "validation": held}, SCHEMA)
    assert set(found.counts) == {"train", "validation"}
    seen = columns(given)
    for task, values in seen.items():
        count = found.counts["train"][task]
        there = values[~np.isnan(values)]
        assert count.rows == len(there)
        assert count.share == pytest.approx(len(there) / 360)
        assert count.mean == pytest.approx(there.mean())
        assert count.positives == (None if task == "watch" else int((there == 1).sum()))
    both = ~np.isnan(seen["like"])
    click, like = seen["click"][both], seen["like"][both]
    pair = found.pairs["click/like"]
    assert pair.rows == both.sum()
    assert pair.pearson == pytest.approx(np.corrcoef(click, like)[0, 1])
    assert pair.pearson is not None
    assert pair.pearson > 0.4
    either = ((click == 1) | (like == 1)).sum()
    assert pair.jaccard == pytest.approx(((click == 1) & (like == 1)).sum() / either)
    assert pair.spearman is None
    both = ~np.isnan(seen["watch"])
    pair = found.pairs["click/watch"]
    click, watch = seen["click"][both], seen["watch"][both]
    assert pair.spearman == pytest.approx(stats.spearmanr(click, watch).statistic)
    assert pair.pearson == pytest.approx(np.corrcoef(click, watch)[0, 1])
    assert pair.jaccard is None
    pair = found.pairs["click/buy"]  # within clicks there is no row without one
    assert (pair.pearson, pair.reason) == (None, CONSTANT)
    assert LabelEvidence.from_json(found.to_json()) == found


def test_tasks_in_another_order_have_the_same_numbers(tmp_path: Path) -> None:
    given = table()
    other = SCHEMA.model_copy(update={"tasks": SCHEMA.tasks[::-1]})
    found = label_evidence({"train": encoded(tmp_path / "a", given)}, SCHEMA)
    turned = label_evidence({"train": encoded(tmp_path / "b", given, other)}, other)
    assert turned.counts == found.counts
    for name, pair in found.pairs.items():
        one, two = name.split("/")
        assert turned.pairs[f"{two}/{one}"] == pair


def test_a_large_log_is_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "SAMPLE", 100)
    given = table()
    found = label_evidence({"train": encoded(tmp_path, given)}, SCHEMA)
    fourth = given.take(pa.array(range(0, 400, 4)))
    seen = columns(fourth)
    both = ~np.isnan(seen["like"])
    pair = found.pairs["click/like"]
    assert found.sampled == 90
    assert pair.pearson == pytest.approx(np.corrcoef(seen["click"][both], seen["like"][both])[0, 1])
    assert pair.rows > 200


def test_labels_that_never_meet(tmp_path: Path) -> None:
    half = np.arange(40) < 20
    given = table(40).set_column(2, "like", pa.array((np.arange(40) % 2).astype(float), mask=half))
    given = given.set_column(
        1, "click", pa.array((np.arange(40) % 3 > 0).astype(float), mask=~half)
    )
    pair = label_evidence({"train": encoded(tmp_path, given)}, SCHEMA).pairs["click/like"]
    assert (pair.rows, pair.pearson, pair.jaccard, pair.reason) == (0, None, None, NO_ROWS)


def test_correlations_of_numbers() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, 50).astype(float), rng.normal(size=50)
    assert ranks(one) == pytest.approx(stats.rankdata(one))
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert correlation(one * 1e200, other * 1e-200) == pytest.approx(correlation(one, other))
    assert correlation(one, one) == pytest.approx(1.0)
    assert correlation(one[:1], other[:1]) is None
    assert correlation(one, np.zeros(50)) is None
