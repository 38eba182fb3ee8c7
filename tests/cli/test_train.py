"""``polyrank train``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle
from tests.cli.workbench import (
    ROWS,
    TEST_ROWS,
    VALIDATION_ROWS,
    contents,
    feed_log,
    run,
    schema_tree,
    succeed,
    told,
    tree_of,
    write_run,
    write_yaml,
)

FIRST = f"rows read {ROWS:,} = used {ROWS:,} + masked 0 + quarantined 0 + filtered 0"


def test_a_run_ends_with_ledger_metrics_and_bundle(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    outcome = run("train", config)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == FIRST
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert f"version {bundle.version[:12]}" in lines[-1]
    assert str(tmp_path / "run" / "bundle") in lines[-1]
    rows = {part: dates.rows for part, dates in bundle.card.data.items()}
    assert rows == {
        "train": ROWS - VALIDATION_ROWS - TEST_ROWS,
        "validation": VALIDATION_ROWS,
        "test": TEST_ROWS,
    }
    assert set(bundle.card.metrics) == {"validation"}
    assert "validation" in lines
    assert f"test: {TEST_ROWS:,} rows, not looked at" in outcome.out
    assert max(len(line) for line in outcome.out.splitlines()[:-1]) <= 100


def test_the_test_part_is_read_when_that_is_asked_for(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    first = run("train", config)
    assert "evaluate validation" in first.err
    assert "evaluate test" not in first.err
    later = run("train", config, "--resume", "--test")
    assert "evaluate test" in later.err
    assert "test" in later.out.splitlines()
    assert "not looked at" not in later.out
    before_tests, _, _ = first.out.partition("\ntest: ")
    assert later.out.startswith(before_tests)
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert set(bundle.card.metrics) == {"validation", "test"}
    again = run("train", config, "--test", "--output", tmp_path / "again", "--quiet")
    assert told(again.out) == told(later.out)


def test_progress_goes_to_stderr_and_quiet_shows_none(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    loud = run("train", config)
    assert "training 6 tasks on 1,600 rows" in loud.err
    assert "evaluate validation" in loud.err
    (tmp_path / "again").mkdir()
    quiet = run("train", config, "--quiet", "--output", tmp_path / "again")
    assert quiet.err == ""
    assert told(quiet.out) == told(loud.out)


def test_settings_stand_over_the_file(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    words = ["--set", "seed=5", "--set", "model.sharing={kind: single_task, widths: [8]}"]
    succeed("train", config, *words, "--output", tmp_path / "mine", "--quiet")
    bundle = load_bundle(tmp_path / "mine" / "bundle")
    assert bundle.card.run["seed"] == 5
    assert bundle.card.run["output"] == str(tmp_path / "mine")
    assert bundle.model_config.sharing.kind == "single_task"


def test_the_data_root_is_the_flag_then_the_file_then_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    pq.write_table(feed_log(), away / "log.parquet")
    rootless = tree_of(output=str(tmp_path / "run"))
    del rootless["data"]["root"]
    config = write_yaml(tmp_path / "ranker.yaml", rootless)
    assert run("train", config).error["where"] == f"in {tmp_path}"
    succeed("validate", config, "--data-root", away)
    monkeypatch.setenv("POLYRANK_DATA", str(away))
    succeed("validate", config)
    assert run("validate", config, "--data-root", tmp_path).code == 2
    assert run("validate", config, "--set", "data.root=.").code == 2


def test_a_second_run_in_the_folder_is_refused_and_a_resumed_one_is_the_same(
    tmp_path: Path,
) -> None:
    config = write_run(tmp_path)
    first = succeed("train", config, "--quiet")
    bundle = contents(tmp_path / "run" / "bundle")
    version = load_bundle(tmp_path / "run" / "bundle").version
    again = run("train", config)
    assert again.code == 2
    assert "holds a run already" in again.error["message"]
    assert "--resume" in again.error["hint"]
    for flags in (["--resume"], ["--resume", "--strict"]):
        assert told(succeed("train", config, *flags, "--quiet")) == told(first)
        assert contents(tmp_path / "run" / "bundle") == bundle
        assert load_bundle(tmp_path / "run" / "bundle").version == version


def test_strict_without_resume_is_a_mistake(tmp_path: Path) -> None:
    outcome = run("train", write_run(tmp_path), "--strict")
    assert outcome.code == 2
    assert "--resume" in outcome.err


def test_resuming_with_another_configuration_is_refused_with_the_difference(
    tmp_path: Path,
) -> None:
    config = write_run(tmp_path)
    succeed("train", config, "--quiet")
    outcome = run("train", config, "--resume", "--set", "training.learning_rate=0.5")
    assert outcome.code == 2
    assert "training.learning_rate: 0.001 in the checkpoint, 0.5 now" in outcome.error["message"]
    assert "training.batch_size" not in outcome.error["message"]


def test_a_report_that_cannot_be_made_is_refused_before_training(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    for setting, fragment in (
        ("evaluation.slices=[surfaec]", "'surface'"),
        ("evaluation.slices=[item_tags]", "single values"),
        ("evaluation.metrics=[auk]", "'auc'"),
        ("evaluation.resamples=3", "at least 40"),
    ):
        outcome = run("train", config, "--set", setting)
        assert outcome.code == 2
        assert fragment in outcome.err
        assert not (tmp_path / "run").exists()


def test_slices_and_metrics_of_the_configuration_are_shown(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    words = ["--set", "evaluation.slices=[surface]", "--set", "evaluation.metrics=[auc, mae]"]
    out = succeed("train", config, *words, "--quiet")
    assert "by surface" in out
    assert "home" in out
    assert "MAE" in out
    assert "log loss" not in out


def _dirty_log() -> pa.Table:
    """3 rows with a negative watch time, the last in the test part, 5 rows twice, 4 unlabelled."""
    log = feed_log()
    clicked = np.flatnonzero(log["click"].to_numpy() == 1)
    watch = log["watch_time_s"].to_numpy().copy()
    watch[[*clicked[:2], clicked[-1]]] = -1.0
    columns = {"watch_time_s": pa.array(watch, pa.float32(), mask=np.isnan(watch))}
    silent = np.flatnonzero(log["click"].to_numpy() == 0)[:4]
    for name in ("click", "like", "report"):
        mask = np.zeros(ROWS, dtype=np.bool_)
        mask[silent] = True
        columns[name] = pa.array(log[name].to_numpy(), pa.int8(), mask=mask)
    for name, values in columns.items():
        log = log.set_column(log.schema.get_field_index(name), name, values)
    return pa.concat_tables([log.slice(0, 50), log.slice(45, 5), log.slice(50)])


def test_the_ledger_is_exact(tmp_path: Path) -> None:
    schema = {**schema_tree(), "deduplicate": {}}
    config = write_run(tmp_path, _dirty_log(), schema=schema)
    assert run("train", config).code == 3
    out = succeed("train", config, "--set", "data.max_quarantine_share=0.01", "--quiet")
    line = f"rows read {ROWS + 5:,} = used {ROWS - 7:,} + masked 4 + quarantined 3 + filtered 5"
    assert out.splitlines()[0] == line
    parts = load_bundle(tmp_path / "run" / "bundle").card.ledger["parts"]
    told = ", ".join(f"{p} {parts[p]['used']:,}" for p in ("train", "validation", "test"))
    assert out.splitlines()[1] == f"used by part: {told}"
    assert sum(counts["used"] for counts in parts.values()) == ROWS - 7
    aside = pq.read_table(tmp_path / "run" / "quarantine.parquet")
    assert aside["quarantine_column"].to_pylist() == ["watch_time_s"] * 3
    ledger = load_bundle(tmp_path / "run" / "bundle").card.ledger
    fates = ("used", "masked", "quarantined", "filtered")
    assert ledger["read"] == sum(ledger[fate] for fate in fates)


def test_a_task_of_one_class_trains_and_its_metrics_have_a_reason(tmp_path: Path) -> None:
    log = feed_log()
    place = log.schema.get_field_index("report")
    log = log.set_column(place, "report", pa.array(np.zeros(ROWS), pa.int8()))
    config = write_run(tmp_path, log)
    out = succeed("train", config, "--quiet")
    assert "undefined: AUC of report: only one class: no positive label" in out
    checked = succeed("validate", config)
    assert (
        "warning: task 'report': all 1600 observed labels are 0 over the training rows" in checked
    )
