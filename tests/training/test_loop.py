"""The loop learns, stops, chooses and reports as it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from polyrank.balancing import Static
from polyrank.config import RunConfig
from polyrank.data import EncodedLog
from polyrank.model import RankingModel
from polyrank.schema import Binary, Categorical, Numeric, Regression, Schema, parse
from polyrank.training import Prepared, train
from polyrank.training.records import EvaluationRecord, TrainRecord
from polyrank.training.trainer import LOG_EVERY
from tests.training.runs import SCHEMA, Recorder, config, lines, prepared, table


def auc(model: RankingModel, log: EncodedLog, task: str) -> float:
    labels, scores, weights = [], [], []
    column = list(model.heads).index(task)
    for batch in log.whole():
        assert batch.observed_BT is not None
        assert batch.labels_BT is not None
        seen = batch.observed_BT[:, column]
        assert batch.weight_B is not None
        labels.append(batch.labels_BT[seen, column])
        weights.append(batch.weight_B[seen])
        with torch.inference_mode():
            scores.append(model.predict(batch)[task][seen])
    columns = [torch.cat(parts).numpy() for parts in (labels, scores, weights)]
    return float(roc_auc_score(columns[0], columns[1], sample_weight=columns[2]))


@pytest.mark.parametrize(
    ("precision", "table_optimizer"), [("fp32", "rowwise_adagrad"), ("bf16", "rowwise_adam")]
)
def test_a_planted_signal_is_learnt(tmp_path: Path, precision: str, table_optimizer: str) -> None:
    """Clicks depend on the pair of item and hour's sign; likes on age alone."""
    rng = np.random.default_rng(0)

    def rows(count: int) -> pa.Table:
        item, hour = rng.integers(0, 12, count), rng.normal(size=count)
        click = (rng.random(count) < 0.02) ^ ((item % 2 == 0) == (hour > 0))
        like = rng.random(count) < 1 / (1 + np.exp(-4 * hour))
        return pa.table(
            {"item": item, "hour": hour, "click": click.astype(float), "like": like.astype(float)}
        )

    schema = Schema(
        features=(Categorical(name="item", min_frequency=1), Numeric(name="hour")),
        tasks=(Binary(name="click"), Binary(name="like")),
    )
    log = prepared(tmp_path / "cache", rows(3000), rows(1000), schema)
    run = config(
        schema,
        epochs=4,
        precision=precision,
        table_optimizer=table_optimizer,
        table_learning_rate=0.1 if table_optimizer == "rowwise_adagrad" else 0.02,
        model={"embedding_dropout": 0.0},
    )
    result = train(run, log, tmp_path / "run")
    assert auc(result.model, log.validation, "click") > 0.9
    assert auc(result.model, log.validation, "like") > 0.9
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert not result.model.training


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("cache"))


def test_the_best_weights_are_returned_not_the_last(log: Prepared, tmp_path: Path) -> None:
    run = config(
        epochs=6, learning_rate=0.1, table_learning_rate=1.0, select={"every": 5, "patience": 0}
    )
    result = train(run, log, tmp_path)
    scores = [entry.score for entry in result.history]
    best = max(score for score in scores if score is not None)
    assert result.best_score == best
    assert result.best_step == 5 * (scores.index(best) + 1)
    assert result.best_step < result.steps, "the run must get worse for this test to see anything"
    by_step = {entry.step: entry for entry in result.history}
    measured = by_step[result.best_step].metrics["click.auc"]
    last = by_step[result.steps].metrics["click.auc"]
    assert measured is not None
    assert measured != last
    again = train(run, log, tmp_path, resume="strict")
    for model in (result.model, again.model):
        assert auc(model, log.validation, "click") == pytest.approx(measured, abs=1e-9)


def test_validation_weighs_the_negatives_of_a_thinned_log(tmp_path: Path) -> None:
    tasks = (Binary(name="click", keep_rate=0.25), *SCHEMA.tasks[1:])
    schema = SCHEMA.model_copy(update={"tasks": tasks})
    log = prepared(tmp_path / "cache", schema=schema)
    result = train(config(schema, epochs=1), log, tmp_path / "run")
    (batch,) = log.validation.whole()
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    seen = batch.observed_BT[:, 0]
    label = batch.labels_BT[seen, 0].double()
    with torch.inference_mode():
        prob = result.model.predict(batch)["click"][seen]
    weight = batch.weight_B[seen].double() * torch.where(label == 0, 4.0, 1.0)
    loss = torch.nn.functional.binary_cross_entropy(prob, label, weight, reduction="sum")
    expected = float(loss / weight.sum())
    assert result.history[-1].metrics["click.log_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_side_by_side_networks_meet_in_the_clipping_alone(
    log: Prepared, tmp_path: Path, clip_norm: float | None
) -> None:
    run = config(
        epochs=1, clip_norm=clip_norm, model={"sharing": {"kind": "single_task", "widths": [16]}}
    )
    heavy = run.model_copy(update={"balance": Static(like=1000.0)})
    models = [
        train(given, log, tmp_path / name).model for name, given in (("a", run), ("b", heavy))
    ]
    (batch,) = log.validation.whole()
    with torch.inference_mode():
        light, other = (model.predict(batch) for model in models)
    for task in ("click", "watch"):
        assert torch.equal(light[task], other[task]) == (clip_norm is None)
    assert not torch.equal(light["like"], other["like"])


def test_a_large_offset_of_a_label_leaves_no_trace(tmp_path: Path) -> None:
    """1.7e9 in float32 is a multiple of 128: nothing of a spread of 1 would be left."""
    schema = Schema(features=(Numeric(name="x"),), tasks=(Regression(name="y"),))
    rng = np.random.default_rng(5)
    x = rng.normal(size=900)
    plain = 2.0**-10 * np.round(2.0**10 * (np.tanh(x) + rng.normal(0, 0.1, 900)))
    histories = []
    for offset in (0.0, 1.7e9):
        rows = pa.table({"x": x, "y": plain + offset})
        cache = tmp_path / f"cache {offset}"
        log = prepared(cache, rows.slice(0, 600), rows.slice(600), schema)
        result = train(config(schema, epochs=4), log, tmp_path / f"run {offset}")
        histories.append([entry.metrics["y.mae"] for entry in result.history])
        predicted = [result.model.predict(batch)["y"] for batch in log.validation.whole()]
        error = torch.cat(predicted).detach().numpy() - rows["y"].to_numpy()[600:]
        assert histories[-1][-1] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)
    assert histories[0][-1] is not None
    assert histories[0][-1] < 0.3


@pytest.mark.parametrize("patience", [1, 2])
def test_early_stopping_waits_for_patience_evaluations(
    log: Prepared, tmp_path: Path, patience: int
) -> None:
    run = config(
        epochs=50, learning_rate=0.1, table_learning_rate=1.0, select={"patience": patience}
    )
    result = train(run, log, tmp_path)
    assert result.stopped_why == "early"
    best = [entry.best for entry in result.history]
    assert best[-patience:] == [False] * patience
    assert not any(
        best[place : place + patience] == [False] * patience
        for place in range(len(best) - patience)
    )


def test_without_patience_all_epochs_are_done(log: Prepared, tmp_path: Path) -> None:
    result = train(config(epochs=3), log, tmp_path)
    assert (result.steps, result.stopped_why) == (30, "epochs")
    assert [entry.step for entry in result.history] == [10, 20, 30]


def test_evaluations_come_at_their_steps_and_at_the_end(log: Prepared, tmp_path: Path) -> None:
    result = train(config(epochs=1, select={"every": 4, "patience": 0}), log, tmp_path)
    assert [entry.step for entry in result.history] == [4, 8, 10]


def test_checkpoints_come_at_their_steps_and_at_the_end_of_epochs(
    log: Prepared, tmp_path: Path
) -> None:
    run = config(epochs=2, checkpoint={"every": 4, "keep": 100}, select={"patience": 0})
    train(run, log, tmp_path)
    steps = sorted(int(path.name[5:]) for path in (tmp_path / "checkpoints").glob("step-*"))
    assert steps == [4, 8, 10, 12, 16, 20]


def test_train_records_tell_what_happened(log: Prepared, tmp_path: Path) -> None:
    recorder = Recorder()
    epochs = 2 * LOG_EVERY // 10
    run = config(epochs=epochs, warmup_steps=2 * LOG_EVERY, select={"every": 60, "patience": 0})
    train(run, log, tmp_path, observer=recorder)
    records = [record for record in recorder.records if isinstance(record, TrainRecord)]
    assert [record.step for record in records] == [LOG_EVERY, 60, 2 * LOG_EVERY]
    assert [record.rows for record in records] == [3000, 600, 2400]
    assert [record.epoch for record in records] == [5, 6, 10]
    assert records[0].learning_rate == pytest.approx(0.005)
    assert records[2].table_learning_rate == pytest.approx(0.1)
    for record in records:
        assert set(record.losses) == set(SCHEMA.task_names)
        assert all(loss is not None and loss > 0 for loss in record.losses.values())
        assert record.gradient_norm is not None
        assert record.timing["rows_per_second"] > 0
        for gate in record.gates.values():
            assert sum(gate["mean"]) == pytest.approx(1.0, abs=1e-5)
            assert 0 <= gate["entropy"] <= math.log(2) + 1e-6
    assert recorder.steps == list(range(1, 2 * LOG_EVERY + 1))
    assert recorder.closed == 1
    assert recorder.plan is not None
    assert recorder.plan.total_steps == 2 * LOG_EVERY
    evaluations = [r.step for r in recorder.records if isinstance(r, EvaluationRecord)]
    assert evaluations == [60, 2 * LOG_EVERY]


def test_the_mean_loss_of_a_record_is_that_of_its_rows(log: Prepared, tmp_path: Path) -> None:
    """With rates of almost nothing the weights stay, so an epoch's loss is that of the log."""
    run = config(
        epochs=1,
        learning_rate=1e-30,
        table_learning_rate=1e-30,
        weight_decay=0.0,
        model={"embedding_dropout": 0.0, "towers": {"widths": [8]}},
    )
    result = train(run, log, tmp_path)
    losses = lines(tmp_path)[0]["losses"]
    for column, task in enumerate(SCHEMA.task_names):
        total = weight = 0.0
        for batch in log.train.whole():
            assert batch.labels_BT is not None
            assert batch.observed_BT is not None
            assert batch.weight_B is not None
            seen = batch.observed_BT[:, column]
            with torch.inference_mode():
                logits = result.model(batch).logits[task]
            loss = result.model.heads[task].loss(logits, batch.labels_BT[:, column])
            total += float((loss * batch.weight_B)[seen].sum())
            weight += float(batch.weight_B[seen].sum())
        assert losses[task] == pytest.approx(total / weight, rel=1e-5)


@pytest.mark.parametrize("table_decay", [0.0, 5.0])
def test_the_first_update_is_that_of_plain_torch(
    log: Prepared, tmp_path: Path, table_decay: float
) -> None:
    """One step on all rows, against AdamW and row-wise Adagrad written out."""
    run = config(
        batch_size=600,
        epochs=1,
        warmup_steps=0,
        clip_norm=None,
        weight_decay=10.0,
        table_weight_decay=table_decay,
        model={"embedding_dropout": 0.0, "towers": {"widths": [8]}},
    )
    result = train(run, log, tmp_path)
    model = RankingModel(SCHEMA, log.encoders.layout, run.model, seed=run.seed)
    (batch,) = list(log.train.batches(batch_size=600, seed=0, epoch=0))
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    logits = model(batch).logits
    total = torch.zeros(())
    for column, task in enumerate(SCHEMA.task_names):
        seen = batch.observed_BT[:, column]
        loss = model.heads[task].loss(logits[task], batch.labels_BT[:, column])[seen]
        weight = batch.weight_B[seen]
        total = total + (loss * weight).sum() / weight.sum()
    total.backward()
    after = dict(result.model.named_parameters())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        gradient = parameter.grad.to_dense()
        if name.endswith("table.weight"):
            mean = gradient.square().mean(1, keepdim=True)
            shrunk = parameter * (1 - 0.1 * table_decay)
            expected = shrunk - 0.1 * gradient / (mean.sqrt() + 1e-8)
        else:
            shrunk = parameter * (1 - 0.01 * 10.0) if parameter.ndim > 1 else parameter
            # Adam's first step: both moments, bias-corrected, are the gradient and its square.
            expected = shrunk - 0.01 * gradient / (gradient.abs() + 1e-8)
        # Where the gradient is about 1e-8, its sign decides: compare elsewhere.
        sure = gradient.abs() > 1e-5
        torch.testing.assert_close(after[name][sure], expected[sure], rtol=1e-3, atol=1e-5)


def test_tracking_and_notices_reach_tensorboard(log: Prepared, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tree = config(epochs=1).tree()
    tree["tracking"]["tensorboard"] = True
    train(parse(RunConfig, tree), log, tmp_path)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_threads_are_restored(log: Prepared, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    seen: list[int] = []

    class Watcher(Recorder):
        def advance(self, step: int, rows: int) -> None:
            seen.append(torch.get_num_threads())

    train(config(epochs=1, threads=1), log, tmp_path, observer=Watcher())
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


# C8 and B16: the smallest of everything.

shapes = st.fixed_dictionaries(
    {
        "rows": st.sampled_from([1, 2, 7]),
        "batch_size": st.sampled_from([1, 2, 1000]),
        "embedding_dim": st.sampled_from([1, 3]),
        "sharing": st.sampled_from(
            [
                {"kind": "mmoe", "num_experts": 1, "widths": [1]},
                {"kind": "mmoe", "num_experts": 3, "widths": [2, 1], "gate_dropout": 0.5},
                {"kind": "shared_bottom", "widths": [1]},
                {"kind": "single_task", "widths": [1]},
            ]
        ),
        "towers": st.sampled_from([{"widths": []}, {"widths": [1], "dropout": 0.9}]),
        "interaction": st.sampled_from([{"kind": "none"}, {"kind": "dcn_v2", "rank": 1}]),
        "precision": st.sampled_from(["fp32", "bf16"]),
        "table_optimizer": st.sampled_from(["rowwise_adagrad", "rowwise_adam"]),
        "schedule": st.sampled_from(["constant", "cosine"]),
        "warmup_steps": st.sampled_from([0, 1, 1000]),
        "clip_norm": st.sampled_from([None, 1e-6, 1e6]),
        "seed": st.integers(0, 3),
    }
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(shape=shapes)
def test_the_smallest_of_everything_trains(
    tmp_path_factory: pytest.TempPathFactory, shape: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("tiny")
    schema = Schema(
        features=(*SCHEMA.features[:3],),
        tasks=(Binary(name="click"), Regression(name="watch")),
    )
    rows = table(shape.pop("rows"), shape.pop("seed"))
    rows = rows.set_column(rows.column_names.index("click"), "click", pa.array(np.ones(len(rows))))
    log = prepared(folder / "cache", rows, rows, schema)
    model = {key: shape.pop(key) for key in ("embedding_dim", "sharing", "towers", "interaction")}
    result = train(config(schema, epochs=2, model=model, **shape), log, folder / "run")
    assert result.steps == 2 * log.train.num_batches(shape["batch_size"])
    assert all(bool(p.isfinite().all()) for p in result.model.parameters())


def test_a_log_without_any_id_trains(tmp_path: Path) -> None:
    schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"),))
    log = prepared(tmp_path / "cache", table(100, 0), table(50, 1), schema)
    assert train(config(schema, epochs=1), log, tmp_path / "run").steps == 2
