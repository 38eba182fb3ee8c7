"""An audit with real processes: to its end, cut off and gone on with, changed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from polyrank.audit import plan, session
from polyrank.audit.baselines import boosted_trees
from polyrank.audit.config import AuditConfig
from polyrank.audit.jobs import Job, run_job
from polyrank.audit.pool import Watch
from polyrank.audit.remedies import Remedy
from polyrank.audit.report import Report
from polyrank.audit.results import DIED, Store
from polyrank.audit.rows import load
from polyrank.audit.session import WORK, Audit, opened
from polyrank.audit.variants import Variant
from polyrank.errors import ConfigError, DataError
from tests.audit.bench import TASKS, logs, run_config, sources, training

CONFIG = run_config(training=training(epochs=1))
WILD = Variant(
    kind="remedy",
    tasks=TASKS,
    name="wild",
    changes={"training.learning_rate": 1e6, "training.clip_norm": None},
)
LADDER = (
    Remedy(name="none", told="nothing", make=lambda case: "nothing is changed"),
    Remedy(name="wild", told="a wild step", make=lambda case: WILD),
)


def settings(folder: Path, **changes: Any) -> AuditConfig:
    given = {"seeds": 1, "transfer": "none", "jobs": 1, "remedies": "always", **changes}
    return AuditConfig(output=str(folder), **given)


@contextmanager
def audit(folder: Path, **changes: Any) -> Iterator[Audit]:
    with opened(CONFIG, settings(folder, **changes), sources(), remedies=LADDER) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path, str]:
    """One that was left alone; what it told."""
    folder, out = tmp_path_factory.mktemp("whole"), StringIO()
    with audit(folder) as found:
        return found.run(Console(file=out, width=200)), folder, out.getvalue()


def told(folder: Path) -> dict[str, Any]:
    """All results but for what they took."""
    found = {}
    for path in sorted((folder / "runs").iterdir()):
        files = {one.name: one.read_bytes() for one in path.iterdir()}
        found[path.name] = {
            name: content
            for name, content in files.items()
            if name not in ("MANIFEST.json", "timing.json")
        }
    return found


def test_joint_runs_stand_beside_twins(whole: tuple[Report, Path, str]) -> None:
    report, folder, out = whole
    assert not report.partial
    assert [own.task for own in report.tasks] == [*TASKS]
    store = Store(folder)
    for own in report.tasks:
        name = f"{own.task}.{own.metric}"
        joint, twin = store.read("joint", 0), store.read(f"twin {own.task}", 0)
        assert joint is not None
        assert twin is not None
        assert own.joint == {0: joint.metrics[name]}
        assert own.difference == joint.metrics[name] - twin.metrics[name]  # type: ignore[operator]
        assert joint.weights != twin.weights
    written = json.loads((folder / "audit.json").read_text())
    assert written["runs"] == {"done": 7, "of": 7}
    assert [own["difference"] for own in written["tasks"]] == [
        own.difference for own in report.tasks
    ]
    assert "7 of 7 runs; remedy wild, seed 0: failed" in out
    assert not [*(folder / WORK).glob("*")]


def test_baselines_stand_beside_every_task(whole: tuple[Report, Path, str]) -> None:
    """Half a row in two is worth what a coin is; trees are those of LightGBM called here."""
    report, folder, _ = whole
    written = json.loads((folder / "audit.json").read_text())
    click, like, watched = report.tasks
    assert (click.constant, like.constant) == (0.5, 0.5)
    labels = logs()["test"]["watch_time_s"].to_numpy()
    told = written["baselines"]["constant"]["told"]["watch_time"]
    expected = np.nanmean(abs(labels - told["value"]))
    assert watched.constant == pytest.approx(expected, rel=1e-6)
    with audit(folder) as found:
        prepared = found.bench.prepared
        assert prepared.test is not None
        parts = {part: getattr(prepared, part) for part in ("train", "validation", "test")}
        made = boosted_trees(CONFIG.schema_, prepared.encoders, parts, "test")
        expected = roc_auc_score(logs()["test"]["click"].to_numpy(), made.predictions["click"])
    assert click.trees == pytest.approx(expected, abs=1e-6)
    assert "LightGBM" in written["baselines"]["trees"]["told"]["click"]["told"]
    assert [own["trees"] for own in written["tasks"]] == [own.trees for own in report.tasks]


def test_without_lightgbm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "has_trees", lambda: False)
    monkeypatch.setattr(plan, "has_trees", lambda: False)
    with audit(tmp_path) as found:
        assert any("LightGBM is not installed" in notice for notice in found.notices)
        roles = {job.variant.role for job in found.plan().jobs}
    assert {role for role in roles if "baseline" in role} == {"baseline constant"}


def test_what_diverges_is_told_and_the_audit_goes_on(whole: tuple[Report, Path, str]) -> None:
    (failed,) = whole[0].failures
    assert (failed.role, failed.code) == ("remedy wild", "diverged")
    assert "the loss of task click is inf" in str(failed.reason)


def test_all_rows_of_the_part_can_be_judged(whole: tuple[Report, Path, str]) -> None:
    report, folder, _ = whole
    found = load(folder, CONFIG.schema_, [*report.plan.results.values()])
    assert len(found) == 6
    seen = found["joint", 0]
    assert seen.num_rows == logs()["test"].num_rows
    assert {*seen.slices} == {"user activity", "item popularity", "item age"}
    assert {*seen.groups} == {"user", "request"}


@pytest.mark.nightly
def test_an_audit_that_was_cut_off_ends_as_if_it_had_not_been(
    whole: tuple[Report, Path, str], tmp_path: Path
) -> None:
    """One result is there, one run is half done, one process died."""
    expected = told(whole[1])

    class Cut:
        def begin(self, plan: Any) -> None:
            """Nothing to do."""

        def advance(self, step: int, rows: int) -> None:
            if step == 2:
                signal.raise_signal(signal.SIGTERM)

        def record(self, record: Any) -> None:
            """Nothing to do."""

        def close(self) -> None:
            """Nothing to do."""

    with audit(tmp_path) as found:
        joint, half, third, *_ = found.plan().waiting
        done = found.store.path("joint", 0)
        done.parent.mkdir()
        shutil.copytree(whole[1] / "runs" / done.name, done)
        before = (done / "timing.json").read_bytes()
        with pytest.raises(Exception, match="stopped by SIGTERM"):
            run_job(half, found.bench, found._work(half), Cut())
        found._died(third, "its process was killed")
        (tmp_path / WORK / "of another time").mkdir(parents=True)
        (failed,) = found.report().failures
        assert (failed.role, failed.code) == (third.variant.role, DIED)
        assert joint not in found.plan().waiting
        assert third in found.plan().waiting
        assert not found.run().partial
        assert told(tmp_path) == expected
        assert (done / "timing.json").read_bytes() == before
        assert not [*(tmp_path / WORK).glob("*")]


def test_more_seeds_are_more_runs_and_changes_are_refused_by_name(
    whole: tuple[Report, Path, str], tmp_path: Path
) -> None:
    shutil.copytree(whole[1], tmp_path, dirs_exist_ok=True)
    with audit(tmp_path, seeds=2) as more:
        assert {job.seed for job in more.plan().waiting} == {1}
        assert len(more.plan().waiting) == 4
        left = more.estimate(more.plan())
        assert (left.runs, left.source) == (4, "4 finished runs")
    longer = CONFIG.model_copy(
        update={"training": CONFIG.training.model_copy(update={"epochs": 2, "batch_size": 100})}
    )
    with (
        pytest.raises(ConfigError) as caught,
        opened(longer, settings(tmp_path), sources()) as changed,
    ):
        changed.run()
    for part in ("training.epochs (joint): 1 before, 2 now", "training.batch_size", "--out"):
        assert part in str(caught.value)
    fewer = {**logs(), "train": logs()["train"].slice(0, 900)}
    with (
        pytest.raises(ConfigError, match="fingerprint of the encoded log"),
        opened(CONFIG, settings(tmp_path), sources(fewer)) as changed,
    ):
        changed.plan()


def test_a_task_without_positives_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    test = logs()["test"]
    like = test["like"].to_numpy() == 0
    parts = {**logs(), "test": test.filter(like)}
    with (
        pytest.raises(DataError, match="task 'like': the test part: none of .* is positive"),
        opened(CONFIG, settings(tmp_path), sources(parts)),
    ):
        raise AssertionError("refused before")
    assert not (tmp_path / "runs").exists()


def test_without_a_test_part_verdicts_are_read_on_validation_and_it_is_said(
    tmp_path: Path,
) -> None:
    parts = {part: table for part, table in logs().items() if part != "test"}
    with opened(CONFIG, settings(tmp_path / "a"), sources(parts)) as found:
        assert found.bench.part == "validation"
        assert any("also chose every checkpoint" in notice for notice in found.notices)
    wanted = settings(tmp_path / "b", part="test")
    with pytest.raises(ConfigError, match="no test part"), opened(CONFIG, wanted, sources(parts)):
        raise AssertionError("refused before")


def test_quick_takes_whole_users_and_one_seed_and_says_so(tmp_path: Path) -> None:
    quick = settings(tmp_path, quick=True, seeds=5, sample=0.6)
    with opened(CONFIG, quick, sources()) as found:
        assert {job.seed for job in found.plan().jobs} == {0}
        assert found.bench.prepared.train.num_rows < logs()["train"].num_rows
        assert any("60% of the users: this can only warn" in notice for notice in found.notices)


def test_one_audit_at_a_time(tmp_path: Path) -> None:
    with audit(tmp_path), pytest.raises(ConfigError, match="holds this run"), audit(tmp_path):
        raise AssertionError("refused before")


@pytest.mark.nightly
def test_a_process_that_is_killed_is_told_and_another_goes_on(tmp_path: Path) -> None:
    from polyrank.audit.pool import Worker

    with audit(tmp_path) as found:
        pool = found._pool(1, None)
        hired: list[Worker] = []
        hire = pool._hire

        def watched() -> Worker:
            hired.append(hire())
            return hired[-1]

        class Kill(Watch):
            def begin(self, worker: int, job: Job) -> None:
                if len(hired) == 1:
                    hired[0]._process.kill()

        pool._hire = watched  # type: ignore[method-assign]
        pool._watch = Kill()
        assert pool.run(found.plan().waiting, found._died)
        assert len(hired) == 2
        report = found.report()
        died = [one for one in report.failures if one.code == DIED]
        assert [one.role for one in died] == ["joint"]
        assert "killed by SIGKILL" in str(died[0].reason)
        assert report.partial
        assert not found.run().partial
