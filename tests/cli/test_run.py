"""What a run says while it prepares, and what it needs."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from polyrank.bundle import load_bundle
from polyrank.config import DataConfig, RunConfig, load_config
from polyrank.data import TimeSplit
from polyrank.errors import ConfigError, PolyrankError
from polyrank.run import Watcher, evaluations, progress, train_bundle
from polyrank.schema import parse
from polyrank.scoring import Scorer
from polyrank.simulation import Feed, feed_schema
from polyrank.training import RunPlan, Sources, open_sources
from tests.cli.workbench import FEED, feed_log, run, schema_tree, tree_of, write_run
from tests.training.runs import Recorder


def screen(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=80, color_system=None), text


def test_stages_are_a_line_each_without_a_terminal() -> None:
    console, text = screen(terminal=False)
    watcher = Watcher(None, console)
    for rows in (10, 20):
        watcher.stage("fit", rows)
    watcher.stage("encode train", 10)
    watcher.notice("[red]mind[/red]")
    watcher.done()
    assert text.getvalue().splitlines() == ["fit encoders", "encode train", "[red]mind[/red]"]


def test_stages_are_one_line_that_changes_on_a_terminal() -> None:
    console, text = screen(terminal=True)
    watcher = Watcher(None, console, notices=False)
    watcher.stage("fit", 10)
    watcher.stage("encode train", 1234)
    watcher.notice("mind")
    watcher.done()
    watcher.done()
    assert "encode train: 1,234 rows" in text.getvalue()
    assert "mind" not in text.getvalue()


def test_a_silent_watcher() -> None:
    watcher = Watcher()
    watcher.stage("fit", 10)
    watcher.notice("mind")
    watcher.done()


@pytest.mark.parametrize(
    ("quiet", "rank", "speaks"), [(False, "0", 1), (True, "0", 0), (False, "1", 0)]
)
def test_only_the_first_process_speaks(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet: bool,
    rank: str,
    speaks: int,
) -> None:
    monkeypatch.setenv("RANK", rank)
    with progress(quiet=quiet) as watcher:
        watcher.notice("mind")
    assert capsys.readouterr().err.count("mind") == speaks


def test_several_processes_need_a_folder_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    sources = Sources.of(train=feed_log(), validation=feed_log())
    config = parse(RunConfig, tree_of(data={"train": "a", "validation": "b"}))
    with pytest.raises(ConfigError, match="run_dir"):
        train_bundle(config, sources, None)


def test_without_a_test_part_validation_alone_is_reported() -> None:
    sources = Sources.of(train=feed_log().slice(0, 1600), validation=feed_log().slice(1600))
    config = parse(RunConfig, tree_of(data={"train": "a", "validation": "b"}))
    bundle = train_bundle(config, sources, None)
    assert list(evaluations(bundle)) == ["validation"]
    assert set(bundle.card.data) == {"train", "validation"}


class Thief(Recorder):
    """Takes a file away when training begins."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def begin(self, plan: RunPlan) -> None:
        super().begin(plan)
        self.path.unlink()


def test_the_bundle_keeps_the_side_tables_that_were_trained_on(tmp_path: Path) -> None:
    items = Feed(FEED).items()
    columns = {feature.column for feature in feed_schema(8).features if feature.side == "item"}
    items = items.select([name for name in items.column_names if name in {"item_id", *columns}])
    log = feed_log().drop_columns([name for name in items.column_names if name != "item_id"])
    pq.write_table(items, tmp_path / "items.parquet")
    tables = [{"name": "items", "on": "item_id"}]
    path = write_run(tmp_path, log, schema={**schema_tree(), "tables": tables})
    config = load_config(path, ["data.tables={items: items.parquet}"])
    sources = open_sources(config.data, tmp_path)
    watcher = Watcher(Thief(tmp_path / "items.parquet"))
    bundle = train_bundle(config, sources, tmp_path / "run", watcher=watcher)
    assert not (tmp_path / "items.parquet").exists()
    assert set(bundle.tables["items"].column_names) == set(items.column_names)
    assert bundle.tables["items"].num_rows == items.num_rows


def test_notices_of_the_log_are_told(tmp_path: Path) -> None:
    log = feed_log().append_column("unread", feed_log()["hour"])
    outcome = run("train", write_run(tmp_path, log))
    assert "nothing reads the columns" in outcome.err
    assert "unread" in outcome.err


class Untrained(Recorder):
    """Fails where training begins."""

    def begin(self, plan: RunPlan) -> None:
        raise AssertionError("the loop began")


def test_slices_of_too_many_values_are_refused_before_training(tmp_path: Path) -> None:
    rows = pa.array(np.arange(feed_log().num_rows))
    path = write_run(tmp_path, feed_log().append_column("row", rows))
    config = load_config(path, ["evaluation.slices=[surface, row]"])
    sources = open_sources(config.data, tmp_path)
    watcher = Watcher(Untrained())
    wide = config.model_copy(update={"data": _validation_of(config, 1500)})
    with pytest.raises(ConfigError, match="'row' has more than 1000 values") as caught:
        train_bundle(wide, sources, tmp_path / "run", watcher=watcher, save=True)
    assert caught.value.where == "evaluation.slices"
    narrow = config.model_copy(update={"data": _validation_of(config, 40)})
    bundle = train_bundle(narrow, sources, tmp_path / "run", save=True)
    slices = {row.slice for row in evaluations(bundle)["validation"].rows}
    assert slices >= {"row=2360", "row=2399", f"surface={feed_log()['surface'][2360]}"}


def _validation_of(config: RunConfig, rows: int) -> DataConfig:
    first = feed_log()["time_ms"][-rows].as_py()
    return config.data.model_copy(update={"split": TimeSplit(validation_from=first)})


def test_a_fault_of_the_evaluation_does_not_lose_what_was_trained(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    config = load_config(path)
    whole = train_bundle(config, open_sources(config.data, tmp_path), tmp_path / "whole", save=True)
    watcher = Watcher(Thief(tmp_path / "log.parquet"))
    sources = open_sources(config.data, tmp_path)
    with pytest.raises(PolyrankError, match="bundle is saved as it was before"):
        train_bundle(config, sources, tmp_path / "run", watcher=watcher, save=True)
    saved = load_bundle(tmp_path / "run" / "bundle")
    assert saved.card.metrics == {}
    held_out = feed_log().slice(2000)
    uncalibrated = dataclasses.replace(whole, calibration={})
    assert saved.calibration == {}
    assert Scorer(saved).score(held_out).equals(Scorer(uncalibrated).score(held_out))
    write_run(tmp_path)
    sources = open_sources(config.data, tmp_path)
    with pytest.raises(PolyrankError) as unsaved:
        train_bundle(config, sources, tmp_path / "other", watcher=watcher)
    assert "saved" not in str(unsaved.value)
    assert not (tmp_path / "other" / "bundle").exists()
