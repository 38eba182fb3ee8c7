"""A run of an audit against plain training, and against a log in which other labels are missing."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, roc_auc_score

from polyrank.audit.jobs import Bench, measure, predict, run_job, weights_of
from polyrank.audit.plan import Plan
from polyrank.audit.results import Result, Store
from polyrank.audit.variants import Variant
from polyrank.config import RunConfig
from polyrank.errors import ConfigError, DivergedError, InterruptedRun
from polyrank.schema import parse
from polyrank.training import Record, RunPlan, train
from tests.audit.bench import JOINT, TASKS, bench, job, logs, run_config, training, twin

CONFIG = run_config(balance={"kind": "static", "weights": {"like": 3.0}})


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(CONFIG, tmp_path_factory.mktemp("common"))


@pytest.fixture(scope="module")
def alone(
    common: Bench, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Mapping[str, NDArray[np.float32]]]:
    return run_job(job(CONFIG, twin("like"), 3), common, tmp_path_factory.mktemp("alone"))


def test_a_twin_is_what_plain_training_gives(
    common: Bench, alone: tuple[Result, Any], tmp_path: Path
) -> None:
    tree = CONFIG.tree()
    tree["balance"]["weights"] = {"click": 0, "like": 3.0, "watch_time": 0}
    tree["training"]["select"]["metrics"] = {"like.auc": 1.0}
    tree["seed"] = 3
    plain = train(parse(RunConfig, tree), common.prepared, tmp_path)
    result, predictions = alone
    assert result.weights == weights_of(plain.model)
    assert (result.best_step, result.steps) == (plain.best_step, plain.steps)
    assert {*predictions} == {"like"}
    expected = predict(plain.model, common.log, ("like",))["like"]
    assert np.array_equal(predictions["like"], expected)
    assert [step for step, _ in result.validation("like.auc")] == [3, 6]
    assert [step for step, _ in result.losses("like")] == [3, 6]
    assert (result.tasks, result.kind, result.status) == (("like",), "twin", "done")


def test_a_task_that_weighs_0_leaves_no_trace(alone: tuple[Result, Any], tmp_path: Path) -> None:
    """Nearly all of its labels may as well not be there: the same predictions, to the bit."""
    parts = {part: _without(table, part) for part, table in logs().items()}
    unlabelled = bench(CONFIG, tmp_path / "log", parts)
    _, predictions = run_job(job(CONFIG, twin("like"), 3), unlabelled, tmp_path / "run")
    assert np.array_equal(predictions["like"], alone[1]["like"])
    _, joint = run_job(job(CONFIG, JOINT, 3), unlabelled, tmp_path / "joint")
    assert not np.array_equal(joint["like"], alone[1]["like"])


def _without(table: pa.Table, part: str) -> pa.Table:
    """A few labels of other tasks in training: without any, a log is refused."""
    for name in ("click", "watch_time") if part == "train" else ():
        place = table.column_names.index(CONFIG.schema_.task(name).label)
        values = table.column(place).to_pylist()
        few = [value if row < 20 else None for row, value in enumerate(values)]
        field = table.field(place)
        table = table.set_column(place, field.name, pa.array(few, field.type))
    return table


def test_metrics_are_those_of_scikit_learn(common: Bench) -> None:
    random = np.random.default_rng(0)
    rows = common.log.num_rows
    predictions = {
        "click": random.random(rows).astype(np.float32),
        "watch_time": random.random(rows).astype(np.float32),
    }
    metrics, reasons = measure(common, CONFIG.schema_, predictions)
    truth = common.truth
    click, watched = truth.labels_NT[:, 0], truth.labels_NT[:, 2]
    seen = truth.observed_NT[:, 2]
    assert metrics["click.auc"] == pytest.approx(roc_auc_score(click, predictions["click"]))
    mae = mean_absolute_error(watched[seen], predictions["watch_time"][seen])
    assert metrics["watch_time.mae"] == pytest.approx(mae)
    assert {*metrics} >= {"click.log_loss", "click.ne", "click.ece"}
    assert reasons == {}


def test_a_metric_without_groups_says_why_it_is_undefined(common: Bench) -> None:
    odd = replace(common, truth=replace(common.truth, groups={}), metrics={"click": "gauc"})
    metrics, reasons = measure(
        odd, CONFIG.schema_, {"click": np.zeros(common.log.num_rows, np.float32)}
    )
    assert metrics["click.gauc"] is None
    assert "click.gauc" in reasons


def test_what_diverges_says_so(common: Bench, tmp_path: Path) -> None:
    changes = {"training.learning_rate": 1e6, "training.clip_norm": None}
    wild = Variant(kind="remedy", tasks=TASKS, name="wild", changes=changes)
    with pytest.raises(DivergedError):
        run_job(job(CONFIG, wild), common, tmp_path)


class Stopper:
    """Asks the run to stop at a step."""

    def __init__(self, at: int) -> None:
        self._at = at

    def begin(self, plan: RunPlan) -> None:
        """Nothing to do."""

    def advance(self, step: int, rows: int) -> None:
        """Raise the signal."""
        if step == self._at:
            signal.raise_signal(signal.SIGTERM)

    def record(self, record: Record) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("at", [2, 4])
def test_a_run_that_was_stopped_goes_on_to_the_same_result(
    common: Bench, alone: tuple[Result, Any], tmp_path: Path, at: int
) -> None:
    asked = job(CONFIG, twin("like"), 3)
    with pytest.raises(InterruptedRun):
        run_job(asked, common, tmp_path, Stopper(at))
    result, predictions = run_job(asked, common, tmp_path)
    assert _same(result) == _same(alone[0])
    assert np.array_equal(predictions["like"], alone[1]["like"])


def _same(result: Result) -> str:
    tree = asdict(result)
    del tree["timing"]
    return json.dumps(tree, sort_keys=True)


def test_a_joint_run_that_is_looked_at_is_the_same(common: Bench, tmp_path: Path) -> None:
    config = run_config(training=training(batch_size=100, epochs=1))
    plain = job(config, JOINT)
    blind, _ = run_job(plain, common, tmp_path / "blind")
    seen, _ = run_job(replace(plain, looked_at=True), common, tmp_path / "seen")
    assert seen.weights == blind.weights
    assert "probe" in {record["kind"] for record in seen.records}
    assert [r for r in seen.records if r["kind"] != "probe"] == [*blind.records]
    assert seen.log[0]["timing"]


def test_there_is_no_test_part_where_the_run_has_none(common: Bench) -> None:
    without = replace(common, prepared=replace(common.prepared, test=None))
    with pytest.raises(ConfigError, match="no test part.*Choose validation"):
        _ = without.log


def test_what_decides_a_result_is_all_but_where_it_goes(common: Bench) -> None:
    here = job(CONFIG, JOINT)
    elsewhere = job(CONFIG.model_copy(update={"output": "elsewhere"}), JOINT)
    longer = job(run_config(training=training(epochs=3)), JOINT)
    identity = here.identity("log", "test")
    assert identity == elsewhere.identity("log", "test")
    assert identity != longer.identity("log", "test")
    assert identity != here.identity("another log", "test")
    assert identity != here.identity("log", "validation")


def test_a_result_comes_back_as_it_was(alone: tuple[Result, Any], tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read("twin like", 3) is None
    store.write(*alone)
    assert store.read("twin like", 3) == alone[0]
    assert np.array_equal(store.predictions("twin like", 3)["like"], alone[1]["like"])
    damaged = store.path("twin like", 3) / "result.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"twin", b"twiN"))
    assert store.read("twin like", 3) is None


def test_what_finished_runs_did_not_measure_is_refused_on_resume(
    common: Bench, alone: tuple[Result, Any], tmp_path: Path
) -> None:
    store, own = Store(tmp_path), job(CONFIG, twin("like"), 3)
    store.write(*alone)
    nothing = Plan(jobs=(), results={})
    assert not nothing.with_jobs([own], common, store).waiting
    other = replace(common, metrics={**common.metrics, "like": "pr_auc"})
    with pytest.raises(ConfigError, match=r"did not measure like\.pr_auc.*--out"):
        nothing.with_jobs([own], other, store)
