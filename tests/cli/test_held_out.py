"""Judging a bundle on the log it came from: by its own split, and with a warning otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.workbench import (
    ROWS,
    TEST_ROWS,
    VALIDATION_ROWS,
    feed_log,
    run,
    succeed,
    tree_of,
    write_run,
    write_yaml,
)

TRAINED = ROWS - VALIDATION_ROWS - TEST_ROWS


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one log that its split divides."""
    folder = tmp_path_factory.mktemp("whole")
    succeed("train", write_run(folder), "--test")
    return folder


def test_a_part_of_the_log_is_judged_as_the_run_reported_it(whole: Path) -> None:
    bundle = whole / "run" / "bundle"
    card = json.loads((bundle / "card.json").read_text())
    for part in ("validation", "test"):
        words = ("evaluate", bundle, whole / "log.parquet", "--part", part, "--resamples", 0)
        outcome = run(*words, "--json")
        assert outcome.code == 0
        assert outcome.err == ""
        assert json.loads(outcome.out)["rows"] == json.loads(card["metrics"][part])["rows"]
    seen = run("evaluate", bundle, whole / "log.parquet", "--part", "train", "--resamples", 0)
    assert "was trained on these rows" in seen.err
    assert f"{TRAINED:,}" in seen.out


def test_two_bundles_are_compared_on_the_part_that_both_held_out(
    whole: Path, trained: Path, tmp_path: Path
) -> None:
    bundle, log = whole / "run" / "bundle", whole / "log.parquet"
    words = ("--part", "test", "--resamples", 0, "--json")
    compared = json.loads(succeed("compare", bundle, bundle, log, *words))
    assert {row["rows"] for row in compared["rows"] if row["task"] == "click"} == {TEST_ROWS}
    tree = tree_of(output=str(tmp_path / "run"))
    tree["data"] |= {"root": str(whole)}
    del tree["data"]["split"]["test_from"]
    succeed("train", write_yaml(tmp_path / "ranker.yaml", tree))
    other = tmp_path / "run" / "bundle"
    assert "has no part 'test'" in run("evaluate", other, log, "--part", "test").error["message"]
    outcome = run("compare", bundle, other, log, "--part", "validation")
    assert outcome.code == 2
    assert "hold out other rows as 'validation'" in outcome.error["message"]
    parts = run("evaluate", trained / "run" / "bundle", log, "--part", "test")
    assert parts.code == 2
    assert "its parts are files" in parts.error["message"]


def test_the_training_log_is_no_judge(whole: Path, trained: Path, tmp_path: Path) -> None:
    bundle, log = whole / "run" / "bundle", whole / "log.parquet"
    outcome = run("evaluate", bundle, log, "--resamples", 0)
    assert outcome.code == 0
    assert "log that the bundle was trained on, training rows included" in outcome.err
    assert "--part validation or --part test" in outcome.err
    parts = trained / "run" / "bundle"
    both = run("compare", bundle, parts, log, "--resamples", 0)
    assert [line.split(": ")[1] for line in both.err.splitlines()] == [str(bundle), str(parts)]
    same = run("evaluate", parts, trained / "train.parquet", "--resamples", 0)
    assert "is the log that" in same.err
    for part in ("validation", "test"):
        held_out = trained / f"{part}.parquet"
        assert run("evaluate", parts, held_out, "--resamples", 0).err == ""
    copied = tmp_path / "copied.parquet"
    pq.write_table(feed_log().slice(TRAINED - 100, 300), copied)
    early = feed_log()["time_ms"].to_numpy()[TRAINED - 100 : TRAINED + 200]
    early = int((early <= feed_log()["time_ms"][TRAINED - 1].as_py()).sum())
    for path in (bundle, parts):
        warned = run("evaluate", path, copied, "--resamples", 0).err
        assert f"{early:,} of 300 rows ({early / 300:.0%}) are not later" in warned
    pq.write_table(feed_log().slice(TRAINED + 50), copied)
    assert run("evaluate", parts, copied, "--resamples", 0).err == ""


def _refusing(log: pa.Table, rows: list[int]) -> pa.Table:
    activity = log["user_activity"].to_numpy().copy()
    activity[rows] = np.inf
    place = log.schema.get_field_index("user_activity")
    return log.set_column(place, "user_activity", pa.array(activity))


def test_rows_that_training_set_aside_are_set_aside_later_too(tmp_path: Path) -> None:
    bad = [7, TRAINED + 3, ROWS - 2]
    config = write_run(tmp_path, _refusing(feed_log(), bad))
    log, bundle = tmp_path / "log.parquet", tmp_path / "run" / "bundle"
    succeed("train", config, "--set", "data.max_quarantine_share=0.01")
    evaluated = json.loads(succeed("evaluate", bundle, log, "--resamples", 0, "--json"))
    assert {row["rows"] for row in evaluated["rows"] if row["task"] == "click"} == {ROWS - 3}
    compared = json.loads(succeed("compare", bundle, bundle, log, "--resamples", 0, "--json"))
    assert {row["rows"] for row in compared["rows"] if row["task"] == "click"} == {ROWS - 3}
    out = tmp_path / "scored.parquet"
    told = succeed("score", bundle, log, out)
    assert told == f"2,400 rows scored into {out}, 3 of them refused (NaN)\n"
    scored = pq.read_table(out)
    assert scored["item_id"].to_pylist() == feed_log()["item_id"].to_pylist()
    assert np.flatnonzero(np.isnan(scored["predicted_click"].to_numpy())).tolist() == bad


def test_the_share_of_refused_rows_is_an_option_of_each_verb(bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "bad.parquet"
    pq.write_table(_refusing(feed_log(), [5]), log, row_group_size=500)
    out = tmp_path / "scored.parquet"
    for words in (
        ("evaluate", bundle, log, "--resamples", 0),
        ("compare", bundle, bundle, log, "--resamples", 0),
        ("score", bundle, log, out),
    ):
        refused = run(*words)
        assert refused.code == 3
        assert "set --max-quarantine-share to at least 0.0005" in refused.error["hint"]
        assert "bad.parquet, row 5, column 'user_activity'" in refused.err
        succeed(*words, "--max-quarantine-share", 0.0005)
    whole = pq.read_table(out)
    pq.write_table(feed_log(), log)
    succeed("score", bundle, log, out, "--force")
    clean = pq.read_table(out)
    others = np.arange(ROWS) != 5
    assert whole.filter(pa.array(others)).equals(clean.filter(pa.array(others)))
