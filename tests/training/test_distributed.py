"""Two real processes do what one does: under torchrun, and forked with torchrun's variables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyrank.model import RankingModel
from tests.child import ROOT
from tests.training.forkserver import ForkServer
from tests.training.runs import SCHEMA, config, lines, open_prepared, prepared, table

PLAIN: dict[str, Any] = {
    "epochs": 2,
    "clip_norm": 0.5,
    "model": {"embedding_dropout": 0.0, "towers": {"widths": [8]}},
}
"""Dropout would draw other numbers in each process."""
LONG: dict[str, Any] = {"epochs": 1000, "select": {"patience": 0}, "checkpoint": {"every": 1000}}
"""Longer than any test waits, unless it is stopped."""
DISTRIBUTED, INTERRUPTED, CONFIG = 7, 75, 2


@pytest.fixture(scope="module")
def one(server: ForkServer) -> Path:
    run = server.folder / "one"
    assert server.wait(server.start(server.order(run, settings=PLAIN))) == 0
    return run


def result(run: Path, rank: int) -> Any:
    return json.loads((run / f"result-{rank}.json").read_text())


def errors(run: Path) -> list[str]:
    return [(run / f"error-{rank}.txt").read_text() for rank in (0, 1)]


def numbers(values: dict[str, float | None]) -> dict[str, float]:
    """Infinity for what is not there."""
    return {name: np.inf if value is None else value for name, value in values.items()}


def assert_same_within_noise(run: Path, alone: Path) -> None:
    """Weights within 1e-5, the same bits in both processes, metrics and log within noise."""
    expected, found = result(alone, 0), result(run, 0)
    assert found == result(run, 1)
    for name, weights in expected["weights"].items():
        np.testing.assert_allclose(found["weights"][name], weights, rtol=0, atol=1e-5, err_msg=name)
    assert found["counts"] == pytest.approx(expected["counts"], abs=1e-4)
    for ours, theirs in zip(found["history"], expected["history"], strict=True):
        assert ours[:2] == pytest.approx(theirs[:2], abs=1e-4)
        assert ours[2] == pytest.approx(theirs[2], abs=1e-4)
    for record, other in zip(lines(run), lines(alone), strict=True):
        assert record["kind"] == other["kind"]
        if record["kind"] == "train":
            assert record["rows"] == other["rows"]
            assert numbers(record["losses"]) == pytest.approx(numbers(other["losses"]), rel=1e-4)
            assert record["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)


def test_two_processes_give_the_weights_and_metrics_of_one(server: ForkServer, one: Path) -> None:
    run = server.folder / "both"
    pids = server.start_many(server.order(run, settings=PLAIN), 2)
    assert server.wait_all(pids) == [0, 0], errors(run)
    assert_same_within_noise(run, one)


@pytest.mark.nightly  # tests/e2e starts torchrun every time.
@pytest.mark.timeout(300)
def test_torchrun_gives_the_weights_and_metrics_of_one_process(
    server: ForkServer, one: Path
) -> None:
    run = server.folder / "torchrun"
    worker = str(ROOT / "tests/training/worker.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node=2", worker, server.order(run, settings=PLAIN).dump()],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_same_within_noise(run, one)


def test_fewer_rows_than_processes_keep_them_in_step(server: ForkServer) -> None:
    """Batches of one row: the second process has none, in training and in evaluation."""
    cache = server.folder / "cache-5"
    rows = table(5, 0)
    rows = rows.set_column(rows.column_names.index("click"), "click", pa.array(np.ones(5)))
    prepared(cache, rows, table(1, 1))
    settings = {**PLAIN, "batch_size": 1}
    alone, both = server.folder / "tiny-1", server.folder / "tiny-2"
    order = server.order(alone, cache=str(cache), settings=settings)
    assert server.wait(server.start(order)) == 0, (alone / "error-0.txt").read_text()
    order = server.order(both, cache=str(cache), settings=settings)
    assert server.wait_all(server.start_many(order, 2)) == [0, 0]
    assert_same_within_noise(both, alone)


def test_a_funnel_with_parts_and_towers_of_its_own_learns_as_in_one(server: ForkServer) -> None:
    """Parts have denominators of their own, and one has no row in many a process's batch."""
    funnel = {"kind": "escm2", "estimator": "dr"}
    settings = {**PLAIN, "epochs": 1, "model": {**PLAIN["model"], "funnel": funnel}}
    alone, both = server.folder / "funnel-1", server.folder / "funnel-2"
    assert server.wait(server.start(server.order(alone, settings=settings))) == 0
    pids = server.start_many(server.order(both, settings=settings), 2)
    assert server.wait_all(pids) == [0, 0], errors(both)
    assert_same_within_noise(both, alone)


def test_choices_by_task_are_those_of_one(server: ForkServer) -> None:
    """One task reads, one is slower, one is frozen on the way: at the same step, for the same
    reason."""
    choices = {
        "click": {"patience": 2},
        "like": {"writes": False},
        "watch": {"learning_rate": 0.5, "ramp_steps": 8},
    }
    settings = {
        **PLAIN,
        "tasks": choices,
        "clippy": {},
        "learning_rate": 0.05,
        "select": {"every": 2, "patience": 0},
    }
    alone, both = server.folder / "choices-1", server.folder / "choices-2"
    assert server.wait(server.start(server.order(alone, settings=settings))) == 0
    pids = server.start_many(server.order(both, settings=settings), 2)
    assert server.wait_all(pids) == [0, 0], errors(both)
    assert_same_within_noise(both, alone)
    told, other = ([e for e in lines(run) if e["kind"] == "notice"] for run in (both, alone))
    (notice,) = told
    assert "'click' is frozen after 2 evaluations" in notice["message"]
    assert notice["step"] < lines(both)[-1]["step"]
    assert told == other


def test_bf16_and_adam_stay_the_same_bits_in_both_processes(server: ForkServer) -> None:
    run = server.folder / "bf16"
    settings = {"epochs": 1, "precision": "bf16", "table_optimizer": "rowwise_adam"}
    pids = server.start_many(server.order(run, settings=settings), 2)
    assert server.wait_all(pids) == [0, 0]
    assert result(run, 0) == result(run, 1)


def test_the_score_is_that_of_the_running_statistics_that_are_saved(server: ForkServer) -> None:
    run = server.folder / "batch-norm"
    network = {"kind": "mmoe", "num_experts": 2, "widths": [16], "norm": "batch"}
    settings = {**PLAIN, "epochs": 1, "model": {**PLAIN["model"], "sharing": network}}
    pids = server.start_many(server.order(run, settings=settings), 2)
    assert server.wait_all(pids) == [0, 0], errors(run)
    found = result(run, 0)
    assert found == result(run, 1)
    assert any(name.endswith("running_mean") for name in found["weights"])
    log = open_prepared(server.folder / "cache")
    model = RankingModel(SCHEMA, log.encoders.layout, config(**settings).model, seed=0).eval()
    model.load_state_dict({name: torch.tensor(x) for name, x in found["weights"].items()})
    (batch,) = log.validation.whole()
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    seen = batch.observed_BT[:, 0]
    with torch.inference_mode():
        prob = model.predict(batch)["click"][seen]
    label, weight = batch.labels_BT[seen, 0], batch.weight_B[seen].double()
    loss = torch.nn.functional.binary_cross_entropy(prob, label, weight, reduction="sum")
    told = {step: metrics for step, _, metrics in found["history"]}[found["counts"][1]]
    assert told["click.log_loss"] == pytest.approx(float(loss / weight.sum()), rel=1e-9)


def test_an_error_of_the_first_process_is_that_of_both(server: ForkServer) -> None:
    run = server.folder / "error"
    settings = {**PLAIN, "select": {"metrics": {"clik.auc": 1.0}}}
    pids = server.start_many(server.order(run, settings=settings), 2)
    assert server.wait_all(pids) == [CONFIG, CONFIG]
    first, second = errors(run)
    assert first == second
    assert "clik" in first


def running(server: ForkServer, run: Path, **more: Any) -> list[int]:
    """Two processes in the middle of a long run."""
    pids = server.start_many(server.order(run, settings=LONG, **more), 2)
    log = run / "log.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 3):
        time.sleep(0.01)
    return pids


def test_a_signal_to_one_stops_both_at_one_step_with_a_checkpoint(server: ForkServer) -> None:
    run = server.folder / "signal"
    pids = running(server, run)
    os.kill(pids[1], signal.SIGTERM)
    assert server.wait_all(pids) == [INTERRUPTED, INTERRUPTED]
    first, second = errors(run)
    assert "stopped by a signal to another process after step" in first
    assert "stopped by SIGTERM after step" in second
    steps = [int(told.split("after step ")[1].split()[0]) for told in (first, second)]
    assert steps[0] == steps[1]
    assert (run / "checkpoints" / f"step-{steps[0]:010d}").exists()


def test_two_processes_resume_to_the_same_bits(server: ForkServer) -> None:
    settings = {"epochs": 12, "select": {"patience": 0, "every": 4}, "checkpoint": {"every": 5}}
    whole, cut = server.folder / "whole", server.folder / "cut-short"
    order = server.order(whole, settings=settings)
    assert server.wait_all(server.start_many(order, 2)) == [0, 0]
    pids = server.start_many(server.order(cut, settings=settings), 2)
    while not list((cut / "checkpoints").glob("step-*")):
        time.sleep(0.002)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert server.wait_all(pids) == [-signal.SIGKILL, -signal.SIGKILL]
    resumed = server.order(cut, settings=settings, resume="strict")
    assert server.wait_all(server.start_many(resumed, 2)) == [0, 0]
    assert result(cut, 0) == result(cut, 1) == result(whole, 0)
    assert lines(cut) == lines(whole)
    # Another number of processes would give other bits.
    assert server.wait(server.start(resumed)) == CONFIG
    told = (cut / "error-0.txt").read_text()
    assert "number of processes: 2 in the checkpoint, 1 now" in told


@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_a_process_ends_the_other_with_its_own_code(
    server: ForkServer, victim: int
) -> None:
    run = server.folder / f"death-{victim}"
    pids = running(server, run)
    os.kill(pids[victim], signal.SIGKILL)
    assert server.wait(pids[1 - victim]) == DISTRIBUTED
    assert server.wait(pids[victim]) == -signal.SIGKILL
    told = (run / f"error-{1 - victim}.txt").read_text()
    assert told.startswith("DistributedError: torchrun: cannot ")
    assert "--resume" in told


def test_a_process_that_hangs_fails_the_other_after_the_timeout(server: ForkServer) -> None:
    run = server.folder / "hang"
    pids = running(server, run, patience=2.0)
    os.kill(pids[1], signal.SIGSTOP)
    begun = time.monotonic()
    assert server.wait(pids[0]) == DISTRIBUTED
    assert time.monotonic() - begun < 30
    os.kill(pids[1], signal.SIGKILL)
    server.wait(pids[1])


def test_a_process_that_does_not_come_is_waited_for_no_longer_than_the_timeout(
    server: ForkServer,
) -> None:
    run = server.folder / "alone"
    environment = {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    order = server.order(run, settings=PLAIN, environment=environment, patience=1.0)
    assert server.wait(server.start(order)) == DISTRIBUTED
    assert "cannot meet the other processes" in (run / "error-0.txt").read_text()
