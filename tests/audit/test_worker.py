"""What a worker does with its lines, in this process; and what a plan says it will take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polyrank.audit import memory
from polyrank.audit.config import AuditConfig
from polyrank.audit.cost import measure_cost
from polyrank.audit.jobs import Bench, Job, run_job
from polyrank.audit.plan import alone, estimate, plan_of, usual_selection, workers_of
from polyrank.audit.results import Store, Timing
from polyrank.audit.variants import Variant
from polyrank.audit.worker import (
    _do,
    _open,
    cost_message,
    job_message,
    setup_message,
)
from polyrank.errors import StorageError
from polyrank.layers import cost_of
from polyrank.model import RankingModel
from tests.audit.bench import JOINT, TASKS, bench, job, run_config, training, twin

CONFIG = run_config(training=training(epochs=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def common(folder: Path) -> Bench:
    return bench(CONFIG, folder)


def lines(*messages: dict[str, Any]) -> list[Any]:
    """As they come out of a pipe."""
    return [json.loads(json.dumps(message)) for message in messages]


def test_a_worker_does_what_its_lines_ask_for(common: Bench, folder: Path) -> None:
    (setup,) = lines(setup_message(CONFIG, common, folder, folder / "cache"))
    opened, where = _open(setup)
    assert where == folder
    assert opened.prepared.fingerprint == common.prepared.fingerprint
    assert np.array_equal(opened.truth.labels_NT, common.truth.labels_NT, equal_nan=True)
    asked, work = job(CONFIG, twin("like"), 5), folder / "work" / "one"
    (message,) = lines(job_message(asked, work))
    heard: list[dict[str, Any]] = []
    _do(message, opened, folder, heard.append)
    assert heard[0] == {"kind": "step", "step": 0, "of": 3}
    assert heard[-1] == {"kind": "done", "status": "done"}
    assert not work.exists()
    expected, predictions = run_job(asked, common, folder / "work" / "two")
    found = Store(folder).read("twin like", 5)
    assert found is not None
    assert replace(found, timing=None) == replace(expected, timing=None)
    assert np.array_equal(Store(folder).predictions("twin like", 5)["like"], predictions["like"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"training.learning_rate": 1e6, "training.clip_norm": None}, "diverged"),
        ({"training.select": {"metrics": {"click.gauc": 1.0}}}, "data"),
    ],
)
def test_a_run_that_comes_to_nothing_leaves_its_reason(
    common: Bench, folder: Path, changes: dict[str, Any], code: str
) -> None:
    name = f"wrong-{code}"
    wrong = Variant(kind="remedy", tasks=TASKS, name=name, changes=changes)
    (message,) = lines(job_message(job(CONFIG, wrong), folder / "work" / name))
    heard: list[dict[str, Any]] = []
    given = common
    if code == "data":  # no request and no user to group by
        ungrouped: Any = _Ungrouped(common.prepared.validation)
        given = replace(common, prepared=replace(common.prepared, validation=ungrouped))
    _do(message, given, folder, heard.append)
    assert heard[-1] == {"kind": "done", "status": "failed"}
    found = Store(folder).read(wrong.role, 0)
    assert found is not None
    assert (found.status, found.code) == ("failed", code)
    assert found.reason
    assert not (folder / "work" / name).exists()


class _Ungrouped:
    """An encoded log whose rows are in no group."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.num_rows = log.num_rows

    def whole(self) -> Any:
        return [replace(batch, groups={}) for batch in self._log.whole()]


def test_what_a_few_steps_measure_and_what_follows(common: Bench, folder: Path) -> None:
    (message,) = lines(cost_message(CONFIG))
    heard: list[dict[str, Any]] = []
    _do(message, common, folder, heard.append)
    assert heard[0]["kind"] == "measured"
    assert not [*folder.glob(".timing-*")]
    longer = run_config(training=training(epochs=40))
    found = measure_cost(longer, common, folder)
    assert 0 < found.step_seconds < 10
    assert 0 < found.row_seconds < 1
    assert found.peak_bytes > 50 << 20
    steps, rows = 40 * 3, 40 * 400 + 400
    least = steps * found.step_seconds + rows * found.row_seconds
    assert least < found.seconds(longer, common) < least + 41
    wild = run_config(training=training(learning_rate=1e6, clip_norm=None))
    assert measure_cost(wild, common, folder).step_seconds > 0


def test_an_estimate_goes_by_what_is_there(common: Bench, folder: Path) -> None:
    settings = AuditConfig(seeds=2, transfer="none", small_twins=True, baselines=False)
    plan = plan_of(CONFIG, settings, common, Store(folder / "empty"))
    assert [one.variant.kind for one in plan.jobs[:7]] == [
        "joint",
        *["twin"] * 3,
        *["small_twin"] * 3,
    ]
    assert [one.seed for one in plan.jobs] == [0] * 7 + [1] * 7
    measured = measure_cost(CONFIG, common, folder)
    left = estimate(plan, 4, CONFIG, common, measured)
    assert (left.runs, left.peak_bytes) == (14, 4 * measured.peak_bytes)
    assert left.seconds == pytest.approx(5 + 4 * measured.seconds(CONFIG, common))
    timing = Timing(
        seconds=9.0,
        cpu_seconds=3.0,
        train_seconds=8.0,
        predict_seconds=1.0,
        rows_per_second=1.0,
        peak_bytes=100,
    )
    assert alone(timing, CONFIG) == 3.0
    assert alone(timing, run_config(training=training(threads=2))) == 9.0
    done, _ = run_job(job(CONFIG, twin("like")), common, folder / "work" / "estimated")
    one = replace(done, seed=0, timing=timing)
    left = estimate(plan.with_result(one), 4, CONFIG, common, None)
    assert (left.runs, left.seconds, left.peak_bytes) == (13, 5 + 4 * 3.0, 400)
    died = replace(one, code="died", status="failed")
    assert len(plan.with_result(died).waiting) == 14
    assert len(plan.with_result(replace(died, code="diverged")).waiting) == 13


def test_a_small_twin_has_a_share_of_the_sharing_blocks_parameters(
    common: Bench, folder: Path
) -> None:
    wide = run_config(model={"sharing": {"kind": "mmoe", "num_experts": 2, "widths": [32]}})
    settings = AuditConfig(seeds=1, transfer="none", small_twins=True)
    plan = plan_of(wide, settings, common, Store(folder / "empty"))

    def size(wanted: Job) -> int:
        layout = common.prepared.encoders.layout
        with torch.device("meta"):
            model = RankingModel(wanted.config.schema_, layout, wanted.config.model, seed=0)
        return cost_of(model.sharing).parameters

    joint, twins, small = size(plan.jobs[0]), plan.jobs[1:4], plan.jobs[4:7]
    assert {size(one) for one in twins} == {joint}
    assert all(0.7 * joint / 3 < size(one) <= joint / 3 for one in small)


def test_the_usual_selection_is_that_of_training(common: Bench) -> None:
    usual = usual_selection(common.prepared, CONFIG)
    assert {*usual} == {"click.auc", "like.auc", "watch_time.mae"}
    truth = common.prepared.validation
    batch = next(truth.batches(batch_size=400, seed=0, epoch=0, shuffle=False))
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    watched = batch.labels_BT[batch.observed_BT[:, 2], 2].numpy()
    assert usual["watch_time.mae"] == pytest.approx(1 / watched.std())


def test_as_many_workers_as_are_asked_for_or_fit(
    common: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = common.prepared
    assert workers_of(CONFIG, AuditConfig(jobs=3), prepared, 7) == 3
    assert workers_of(CONFIG, AuditConfig(jobs=3), prepared, 2) == 2
    monkeypatch.setattr("polyrank.audit.plan.cores", lambda: 8)
    monkeypatch.setattr("polyrank.audit.plan.free_bytes", lambda: 3 << 30)
    assert workers_of(CONFIG, AuditConfig(), prepared, 99) == 4  # of 600 MiB and a little each
    monkeypatch.setattr("polyrank.audit.plan.free_bytes", lambda: 0)
    assert workers_of(CONFIG, AuditConfig(), prepared, 99) == 1
    monkeypatch.setattr("polyrank.audit.plan.free_bytes", lambda: 99 << 30)
    assert workers_of(CONFIG, AuditConfig(threads=3), prepared, 99) == 2


def test_memory_is_what_the_machine_and_the_group_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory.peak_bytes() > 50 << 20
    assert memory.free_bytes() > 0
    assert memory.cores() >= 1
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", machine)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_bytes() == 8000 << 10
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("active_file 5\ninactive_file 500\n")
    assert memory.free_bytes() == 8000 << 10
    (tmp_path / "memory.max").write_text("4000\n")
    assert memory.free_bytes() == 1500
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "none")
    assert memory.free_bytes() == 4 << 30


def test_a_full_disk_ends_the_worker_and_is_no_failure_of_the_run(
    common: Bench, folder: Path
) -> None:
    blocked = folder / "blocked"
    blocked.write_text("a file where a folder should be")
    (message,) = lines(job_message(job(CONFIG, JOINT), blocked / "work"))
    with pytest.raises(StorageError):
        _do(message, common, folder, lambda message: None)
    assert Store(folder).read("joint", 0) is None
