"""Purchases without a click: what ``outside`` makes of them, verb by verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyrank.evaluation import Evaluation
from tests.cli.workbench import ROWS, TEST_ROWS, feed_log, run, schema_tree, succeed, write_run

ODD = [5, 700, ROWS - 3]
"""Rows with a purchase and no click: two to train on, one to test on."""


def config_of(folder: Path, outside: str) -> Path:
    click = np.nan_to_num(feed_log()["click"].to_numpy())
    buy = (np.arange(ROWS) % 3 == 0) & (click == 1)
    click[ODD], buy[ODD] = 0, True
    log = pa.table(
        {
            name: column
            for name, column in zip(feed_log().column_names, feed_log().columns, strict=True)
            if name not in ("click", "purchase")
        }
    )
    log = log.append_column("click", pa.array(click)).append_column(
        "purchase", pa.array(buy.astype(np.int8))
    )
    inner = {"kind": "binary", "name": "purchase", "within": "click", "outside": outside}
    tasks = [{"kind": "binary", "name": "click"}, inner]
    return write_run(folder, log, schema=schema_tree() | {"tasks": tasks})


@pytest.mark.parametrize(
    ("outside", "used", "told"),
    [
        ("mask", TEST_ROWS, "3 rows: label 'purchase' is 1 outside its sample space: masked"),
        ("drop", TEST_ROWS - 1, "3 rows: dropped, label 'purchase' is not 0 where 'click' is 0"),
    ],
)
def test_train_and_evaluate_read_alike(tmp_path: Path, outside: str, used: int, told: str) -> None:
    config = config_of(tmp_path, outside)
    succeed("validate", config)
    out = succeed("train", config, "--test")
    assert told in out
    bundle = tmp_path / "run" / "bundle"
    card = json.loads((bundle / "card.json").read_text())
    assert card["data"]["test"]["rows"] == used
    words = ("evaluate", bundle, tmp_path / "log.parquet", "--part", "test", "--json")
    report = Evaluation.from_json(succeed(*words, "--resamples", 0))
    assert report.row("click", "auc").rows == used


def test_refused_rows_stop_every_verb_that_reads_labels(tmp_path: Path) -> None:
    config = config_of(tmp_path, "refuse")
    for verb in ("validate", "train"):
        outcome = run(verb, config)
        assert outcome.code == 3
        assert "the label is 0 or null where 'click' is 0 (outside: refuse)" in outcome.err
    succeed("train", config, "--set", "data.max_quarantine_share=0.01", "--test")
    bundle, out = tmp_path / "run" / "bundle", tmp_path / "scored.parquet"
    words = ("evaluate", bundle, tmp_path / "log.parquet", "--part", "test")
    assert run(*words, "--max-quarantine-share", "0").code == 3
    succeed(*words, "--resamples", 0)
    assert succeed("score", bundle, tmp_path / "log.parquet", out).startswith(f"{ROWS:,} rows")
