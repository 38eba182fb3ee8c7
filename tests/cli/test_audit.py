"""``polyrank audit`` on finished runs, and what it refuses; tests/audit has the runs."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank import pages
from polyrank.audit.compared import DeltaM
from polyrank.audit.config import AuditConfig
from polyrank.audit.gain import Gain
from polyrank.audit.jobs import run_job
from polyrank.audit.report import Report, report_of
from polyrank.audit.results import DIED, Result, Store
from polyrank.audit.rows import read_rows
from polyrank.audit.session import opened
from polyrank.audit.verdict import Verdicts
from polyrank.audit.worker import failure
from polyrank.cli.audit import audit, require_whole
from polyrank.config import load_config
from polyrank.errors import ConfigError, DistributedError, DivergedError, InterruptedRun
from polyrank.training import open_sources
from tests.cli import workbench

TASKS = ("click", "like", "watch_time")


def write(folder: Path, tasks: tuple[str, ...] = TASKS, **sections: Any) -> Path:
    """A run of these tasks; the path of its configuration."""
    schema = workbench.schema_tree()
    schema["tasks"] = [task for task in schema["tasks"] if task["name"] in tasks]
    return workbench.write_run(folder, schema=schema, **sections)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and an audit of two seeds whose runs are all there."""
    folder = tmp_path_factory.mktemp("audited")
    path = write(folder)
    config = load_config(path)
    settings = AuditConfig(seeds=2, transfer="none", evidence=False)
    with opened(config, settings, open_sources(config.data, folder)) as found:
        for number, job in enumerate(found.plan().waiting):
            result, predictions = run_job(job, found.bench, folder / "work" / str(number))
            found.store.write(result, predictions)
    return folder


def run(folder: Path, *words: object) -> workbench.Outcome:
    return workbench.run(
        "audit", folder / "ranker.yaml", "--seeds", 2, "--transfer", "none", *words
    )


def test_every_task_has_a_row_with_a_verdict(finished: Path) -> None:
    outcome = run(finished, "--fail-on", "harmed")
    assert outcome.code == 0, outcome.err
    report = json.loads((finished / "run-audit" / "audit.json").read_text())
    for own in report["verdicts"]["tasks"]:
        row = next(line for line in outcome.out.splitlines() if line.split()[:1] == [own["task"]])
        assert row.split()[-1] == own["answer"]
        assert f"{own['gain']['value']:+.5f}" in row
    assert [own["seeds"] for own in report["tasks"]] == [[0, 1]] * 3
    assert "test part; " in outcome.out
    page = (finished / "run-audit" / "audit.html").read_text()
    assert f"its page is {finished / 'run-audit' / 'audit.html'}" in outcome.out
    assert all(own["task"] in page for own in report["tasks"])


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed: drawing a page takes longer than all else."""

    def refused() -> None:
        raise ConfigError("the page needs the extra `report`")

    monkeypatch.setattr(pages, "require_report", refused)


@pytest.mark.usefixtures("without_page")
def test_a_single_seed_only_warns(finished: Path) -> None:
    outcome = run(finished, "--seeds", 1)
    assert outcome.code == 0
    assert "no warning" in outcome.out
    assert "no page: the page needs the extra `report`" in outcome.out
    report = json.loads((finished / "run-audit" / "audit.json").read_text())
    assert "can only warn" in report["verdicts"]["caution"]


@pytest.mark.usefixtures("without_page")
def test_fail_on_harmed_is_an_exit_code(finished: Path, tmp_path: Path) -> None:
    """Joint runs that rank clicks last and twins that rank them first, put in place of others."""
    out = tmp_path / "copy"
    shutil.copytree(finished / "run-audit", out)
    rows = read_rows(out, load_config(finished / "ranker.yaml").schema_)
    assert rows is not None
    store, clicks = Store(out), rows.truth.labels_NT[:, 0]
    for seed in (0, 1):
        noise = np.random.default_rng(seed).random(len(clicks))
        for role, right in (("joint", 1.0 - clicks), ("twin click", clicks)):
            result, predictions = store.read(role, seed), store.predictions(role, seed)
            assert result is not None
            drawn = (0.6 * right + 0.4 * noise).astype(np.float32)
            store.write(result, {**predictions, "click": drawn})
    asked = tmp_path / "audit.yaml"
    asked.write_text(f"fail_on: harmed\nremedies: never\noutput: {out}\n")
    outcome = run(finished, "--settings", asked)
    assert (outcome.code, "harmed" in outcome.out) == (1, True), outcome.out


def test_a_dry_run_of_finished_runs_trains_nothing(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished / "run-audit", out)
    before = sorted(path.name for path in (out / "runs").iterdir())
    dry = run(finished, "--out", out, "--dry-run").out
    assert "all of them are there" in dry
    assert "where a task is harmed, up to 10 remedies of 2 runs each" in dry
    assert "8 more runs confirm one on fresh seeds" in dry
    gone = next(name for name in before if "joint" in name)
    shutil.rmtree(out / "runs" / gone)
    told = run(finished, "--out", out, "--dry-run", "--jobs", 3).out
    assert "10 runs, seeds 0, 1" in told
    assert "twin watch_time" in told
    assert "1 run to do, 1 at a time" in told
    assert "going by 7 finished runs" in told
    assert sorted(path.name for path in (out / "runs").iterdir()) == [
        name for name in before if name != gone
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", 0], "seeds"),
        (["--metric", "click=auk"], "unknown metric 'auk'"),
        (["--metric", "clik=auc"], "Did you mean 'click'?"),
        (["--metric", "click"], "--metric TASK=NAME"),
        (["--metric", "watch_time=auc"], "not defined for task 'watch_time'"),
        (["--margin", -1], "margin"),
        (["--jobs", 0], "jobs"),
        (["--set", "training.freeze=trunk"], "freeze"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(
    tmp_path: Path, words: list[object], told: str
) -> None:
    outcome = workbench.run("audit", write(tmp_path), *words)
    assert outcome.code == 2
    assert told in outcome.err
    assert not (tmp_path / "run-audit").exists()


def test_one_task_shares_nothing(tmp_path: Path) -> None:
    outcome = workbench.run("audit", write(tmp_path, ("click",)))
    assert outcome.code == 2
    assert "so nothing is shared" in outcome.error["message"]


def test_a_task_without_positives_is_refused(tmp_path: Path) -> None:
    outcome = workbench.run("audit", write(tmp_path, (*TASKS, "report")))
    assert outcome.code == 3
    assert outcome.error["where"] == "task 'report'"
    assert not (tmp_path / "run-audit" / "runs").exists()


def test_settings_in_a_file_are_checked_and_flags_go_over_them(tmp_path: Path) -> None:
    path, asked = write(tmp_path), tmp_path / "audit.yaml"
    asked.write_text("sedes: 3\n")
    outcome = workbench.run("audit", path, "--settings", asked)
    assert (outcome.code, "Did you mean 'seeds'" in outcome.err) == (2, True)
    asked.write_text("seeds: 0\nmetrics: {click: auk}\n")
    outcome = workbench.run("audit", path, "--settings", asked, "--seeds", 1)
    assert "unknown metric 'auk'" in outcome.err
    outcome = workbench.run("audit", path, "--settings", asked, "--metric", "click=auc")
    assert "seeds" in outcome.err


def test_every_flag_has_a_key() -> None:
    flags = {*inspect.signature(audit).parameters}
    flags -= {"config", "settings", "data_root", "file", "dry_run", "quiet"}
    renamed = {"metric": "metrics", "out": "output"}
    assert {renamed.get(flag, flag) for flag in flags} <= {*AuditConfig.model_fields}


def test_a_report_that_is_not_whole_says_what_to_do(finished: Path) -> None:
    config = load_config(finished / "ranker.yaml")
    settings = AuditConfig(seeds=2, transfer="none", evidence=False)
    with opened(config, settings, open_sources(config.data, finished)) as found:
        bench, plan = found.bench, found.plan()
    gain = Gain.from_json({**dict.fromkeys(Gain.__dataclass_fields__), "seeds": 0})
    none = DeltaM(gain=gain, low=None, high=None, by_task={}, worst=None, least=None)
    nothing = Verdicts(tasks=(), slices=(), delta_m=none, alpha=0.05)
    whole = report_of(settings, "test", bench.metrics, plan, nothing)
    require_whole(whole)
    (first, *_), results = whole.plan.jobs, dict(whole.plan.results)

    def without(*others: Result) -> Report:
        kept = {key: one for key, one in results.items() if key != (first.variant.role, first.seed)}
        plan = replace(whole.plan, results={**kept, **{one.key: one for one in others}})
        return replace(whole, plan=plan)

    with pytest.raises(InterruptedRun, match="1 of 10 runs are left.*same command goes on"):
        require_whole(without())
    with pytest.raises(DistributedError, match="1 run of 10 died.*fewer --jobs"):
        require_whole(without(failure(first, bench, DIED, "killed")))
    diverged = without(failure(first, bench, "diverged", "the loss is inf"))
    require_whole(diverged)
    assert [failed.reason for failed in diverged.failures] == ["the loss is inf"]
    with pytest.raises(DivergedError, match="nothing could be compared"):
        require_whole(replace(diverged, verdicts=None))


# With processes of their own.


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "polyrank", "audit", folder / "ranker.yaml", "--seeds", 1]
    return subprocess.Popen(
        [str(word) for word in [*command, "--transfer", "none", "--jobs", 1, *words]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def whole_run(folder: Path, *words: object) -> int:
    process = start(folder, *words)
    process.communicate()
    return process.returncode


def results(out: Path) -> dict[str, dict[str, bytes]]:
    return {
        path.name: {
            one.name: one.read_bytes()
            for one in path.iterdir()
            if one.name not in ("MANIFEST.json", "timing.json")
        }
        for path in sorted((out / "runs").iterdir())
    }


def wait_for(done: Any, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(child) for child in children.split()]


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_audit_that_is_stopped_goes_on_to_the_same_results(
    tmp_path: Path, number: signal.Signals
) -> None:
    write(tmp_path, training={**workbench.TRAINING, "epochs": 3, "batch_size": 50})
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert whole_run(tmp_path, "--out", whole) == 0
    process = start(tmp_path, "--out", out)
    wait_for(lambda: (out / "runs").exists() and len([*(out / "work").iterdir()]) == 1)
    (worker,) = workers(process.pid)
    process.send_signal(number)
    told, err = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 75
        assert "runs missing" in told
        assert "The same command goes on" in err
        assert json.loads((out / "audit.json").read_text())["partial"]
    wait_for(lambda: gone(worker))
    assert whole_run(tmp_path, "--out", out) == 0
    assert results(out) == results(whole)
    assert not json.loads((out / "audit.json").read_text())["partial"]


@pytest.mark.nightly
def test_a_dry_run_says_how_long_it_takes_and_trains_nothing(tmp_path: Path) -> None:
    training = {**workbench.TRAINING, "epochs": 12, "batch_size": 20, "select": {"patience": 0}}
    path = write(tmp_path, training=training)
    config = load_config(path)
    settings = AuditConfig(seeds=1, transfer="none", jobs=1, baselines=False)
    with opened(config, settings, open_sources(config.data, tmp_path)) as found:
        plan = found.plan()
        left = found.estimate(plan)
        assert not (found.folder / "runs").exists()
        assert not [*found.folder.glob(".timing-*")]
        assert left.source == "a few steps on the real log"
        found.run()
        took = [one.timing.cpu_seconds for one in found.plan().results.values() if one.timing]
    assert 0.5 < left.seconds / sum(took) < 2.0
