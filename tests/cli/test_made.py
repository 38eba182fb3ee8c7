"""A label made by rule and the same label in a column of its own make the same run, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle
from polyrank.evaluation import Evaluation
from tests.cli.workbench import (
    ROWS,
    TEST_ROWS,
    VALIDATION_ROWS,
    feed_log,
    run,
    schema_tree,
    succeed,
    write_run,
)

WATCH = {
    "kind": "duration",
    "name": "watch",
    "label": "watch_time_s",
    "within": "click",
    "length": "item_length_s",
}
THROUGH = {"kind": "watch_through", "of": "watch", "share": 0.4}
DWELL = {"kind": "long_dwell", "of": "watch", "by": ["item_category"], "percentile": 50}
RULES = {"watch_through": THROUGH, "long_dwell": DWELL}
FEW = ("--resamples", 40)
TRAIN_ROWS = ROWS - VALIDATION_ROWS - TEST_ROWS


def watched_through(rows: list[dict[str, Any]]) -> list[float | None]:
    """``THROUGH`` row by row."""
    return [
        None if row["watch_time_s"] is None else row["watch_time_s"] >= 0.4 * row["item_length_s"]
        for row in rows
    ]


def long_dwells(rows: list[dict[str, Any]]) -> list[float | None]:
    """``DWELL`` row by row; of the training rows 128 dwells are on animals, 99 on films."""
    known = [row for row in rows[:TRAIN_ROWS] if row["watch_time_s"] is not None]
    limits = {}
    for category in {row["item_category"] for row in rows}:
        own = [row for row in known if row["item_category"] == category]
        own = own if len(own) >= 100 else known
        ranked = sorted(row["watch_time_s"] for row in own)
        limits[category] = ranked[-(-len(ranked) * 50 // 100) - 1]
    assert len(set(limits.values())) == 2
    return [
        None if row["watch_time_s"] is None else row["watch_time_s"] > limits[row["item_category"]]
        for row in rows
    ]


def config_of(folder: Path, task: dict[str, Any], log: pa.Table | None = None) -> Path:
    folder.mkdir()
    made = {"kind": "binary", "name": "made", "within": "click", **task}
    tasks = [{"kind": "binary", "name": "click"}, WATCH, made]
    return write_run(folder, log, schema=schema_tree() | {"tasks": tasks})


def with_labels(labels: list[Any]) -> pa.Table:
    return feed_log().append_column("by_hand", pa.array(labels, pa.float64()))


@pytest.fixture(scope="module", params=RULES)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folder of a run by rule, and of one with the labels of a loop in a column."""
    by_hand = {"watch_through": watched_through, "long_dwell": long_dwells}[request.param]
    labels = by_hand(feed_log().to_pylist())
    assert 0.2 < sum(map(bool, labels)) / sum(label is not None for label in labels) < 0.8
    rule = RULES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    configs = [
        config_of(folder / "rule", {"rule": rule}),
        config_of(folder / "column", {"label": "by_hand"}, with_labels(labels)),
    ]
    for config in configs:
        assert ": no problem\n" in succeed("validate", config)
        succeed("train", config, "--test")
    return [config.parent for config in configs]


def test_the_same_weights_and_metrics(runs: list[Path]) -> None:
    by_rule, by_column = (run / "run" / "bundle" for run in runs)
    assert (by_rule / "weights.safetensors").read_bytes() == (
        by_column / "weights.safetensors"
    ).read_bytes()
    cards = [json.loads((bundle / "card.json").read_text()) for bundle in (by_rule, by_column)]
    told = cards[0]["tasks"]["made"]
    rule = {
        "rule": "binary, 1 where watch is at least 0.4 of its length, within click",
        "dwell": "binary, 1 where watch is above percentile 50 of its item_category, within click",
    }["dwell" if "long_dwell" in str(by_rule) else "rule"]
    assert told == f"{rule}; predicted: P(made = 1 | click = 1)"
    assert cards[0]["metrics"] == cards[1]["metrics"]
    assert cards[0]["ledger"]["parts"] == cards[1]["ledger"]["parts"]
    assert Evaluation.from_json(cards[0]["metrics"]["test"]).row("made", "auc").rows > 0


def test_evaluated_and_compared_alike_from_the_log(runs: list[Path]) -> None:
    by_rule, by_column = (run / "run" / "bundle" for run in runs)
    reports = [
        succeed("evaluate", bundle, folder / "log.parquet", "--part", "test", "--json", *FEW)
        for bundle, folder in zip((by_rule, by_column), runs, strict=True)
    ]
    assert reports[0] == reports[1]
    log = runs[1] / "log.parquet"
    succeed("compare", by_rule, by_rule, runs[0] / "log.parquet", "--part", "test", *FEW)
    refused = run("compare", by_rule, by_column, log, "--part", "test")
    assert refused.code == 2
    assert "task 'made' means something else in each bundle" in refused.err


def test_scoring_needs_neither_duration_nor_label(runs: list[Path], tmp_path: Path) -> None:
    candidates = feed_log().drop_columns(["watch_time_s", "click"]).slice(ROWS - 50)
    pq.write_table(candidates, tmp_path / "candidates.parquet")
    scored = []
    for folder in runs:
        out = tmp_path / f"{folder.name}.parquet"
        succeed("score", folder / "run" / "bundle", tmp_path / "candidates.parquet", out)
        scored.append(pq.read_table(out))
    assert scored[0].equals(scored[1])
    assert scored[0].num_rows == 50
    assert 0 < scored[0]["predicted_made"][0].as_py() < 1


def test_validation_and_test_rows_do_not_touch_the_thresholds(tmp_path: Path) -> None:
    """Ten times the dwell after training ends: the same thresholds, and other labels."""
    times = pa.array(
        [
            value if value is None or place < TRAIN_ROWS else 10 * value
            for place, value in enumerate(feed_log()["watch_time_s"].to_pylist())
        ],
        pa.float64(),
    )
    place = feed_log().schema.get_field_index("watch_time_s")
    longer = feed_log().set_column(place, "watch_time_s", times)
    fitted, rates = [], []
    for name, log in (("as_it_is", None), ("longer", longer)):
        config = config_of(tmp_path / name, {"rule": DWELL}, log)
        succeed("train", config, "--test")
        bundle = load_bundle(config.parent / "run" / "bundle")
        fitted.append(bundle.encoders.thresholds["made"])
        report = Evaluation.from_json(bundle.card.metrics["test"])
        rates.append(report.row("made", "auc").positives or 0)
    assert fitted[0] == fitted[1]
    assert len(fitted[0].contexts) == 1
    assert rates[0] < rates[1]


def test_bundles_with_thresholds_of_their_own_are_not_compared(tmp_path: Path) -> None:
    """And one that starts from the other keeps its thresholds, so that they are."""
    log = feed_log()
    first = config_of(tmp_path / "first", {"rule": DWELL})
    place = log.schema.get_field_index("item_category")
    backward = log.set_column(place, "item_category", log["item_category"].combine_chunks()[::-1])
    second = config_of(tmp_path / "second", {"rule": DWELL}, backward)
    third = config_of(tmp_path / "third", {"rule": DWELL}, backward)
    for config in (first, second):
        succeed("train", config)
    bundles = [config.parent / "run" / "bundle" for config in (first, second)]
    refused = run("compare", *bundles, tmp_path / "first" / "log.parquet", "--part", "test")
    assert refused.code == 2
    assert "what counts as 1 of task 'made' was fitted on other rows" in refused.err
    succeed("train", third, "--from", bundles[0])
    further = tmp_path / "third" / "run" / "bundle"
    log_path = tmp_path / "first" / "log.parquet"
    succeed("compare", bundles[0], further, log_path, "--part", "test", *FEW)


def test_explain_knows_a_network_before_it_is_trained(tmp_path: Path) -> None:
    assert "made" in succeed("explain", config_of(tmp_path / "run", {"rule": DWELL}))


def test_validate_tells_of_a_context_that_is_not_there(tmp_path: Path) -> None:
    rule = {**DWELL, "by": ["item_categry"]}
    refused = run("validate", config_of(tmp_path / "run", {"rule": rule}))
    assert refused.code == 3
    assert "lacks column 'item_categry' (`by` of task 'made')" in refused.err + refused.out
    assert "no label was observed" not in refused.err + refused.out
