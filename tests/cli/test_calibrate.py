"""``polyrank calibrate``, and what ``train`` says of the calibration it fitted."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from polyrank.bundle import load_bundle
from polyrank.evaluation import Comparison
from tests.cli.workbench import contents, run, succeed


def test_a_run_calibrates_every_binary_task_or_says_why_not(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    told = loaded.card.calibration
    binary = {task.name for task in loaded.schema.tasks if task.kind == "binary"}
    assert set(told["tasks"]) == binary
    for task, sentence in told["tasks"].items():
        kept = sentence.split(" ")[0] != "identity"
        assert kept == (task in loaded.calibration)
    assert told["on"].endswith("rows of the validation part")
    assert "## Calibration" in succeed("card", bundle)


def test_a_bundle_is_calibrated_anew_and_differs_in_nothing_else(
    trained: Path, bundle: Path, tmp_path: Path
) -> None:
    before = contents(bundle)
    log, out = trained / "test.parquet", tmp_path / "fresh"
    screen = succeed("calibrate", bundle, log, out, "--method", "isotonic")
    assert contents(bundle) == before
    assert f"{bundle} on {log}" in screen
    assert "fitted on the" in screen
    assert f"written to {out}, version {load_bundle(out).version[:12]}" in screen
    after = contents(out)
    changed = {name for name in before if before[name] != after[name]}
    allowed = {"calibration.json", "card.json", "card.md", "MANIFEST.json", "profile.json"}
    assert changed <= allowed
    told = load_bundle(out).card.calibration
    if told["comparison"] is not None:
        rows = Comparison.from_json(told["comparison"]).rows
        assert all(row.b <= row.a for row in rows if row.metric == "log_loss")


def test_by_a_column(trained: Path, bundle: Path, tmp_path: Path) -> None:
    log = trained / "test.parquet"
    assert "surface" in pq.read_schema(log).names
    screen = succeed("calibrate", bundle, log, tmp_path / "fresh", "--by", "surface")
    assert "segmented" in screen
    refused = run("calibrate", bundle, log, tmp_path / "other", "--by", "continent")
    assert refused.code == 3
    assert "continent" in refused.err
    assert not (tmp_path / "other").exists()


def test_what_is_refused(trained: Path, bundle: Path, tmp_path: Path) -> None:
    log = trained / "test.parquet"
    same = run("calibrate", bundle, log, bundle)
    assert same.code == 2
    assert "is the bundle that is read" in same.err
    method = run("calibrate", bundle, log, tmp_path / "fresh", "--method", "isotonick")
    assert method.code == 2
    assert "isotonic" in method.err
    taken = tmp_path / "taken"
    succeed("calibrate", bundle, log, taken)
    assert run("calibrate", bundle, log, taken).code == 2
    succeed("calibrate", bundle, log, taken, "--force")
