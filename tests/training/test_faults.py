"""What is not finite, and what was not observed: counted, skipped or refused, never trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from polyrank.balancing import StaticWeighting
from polyrank.data import Batch, TargetStats
from polyrank.errors import DataError, DivergedError
from polyrank.heads import BinaryHead, DurationHead, Extras
from polyrank.heads.funnels import MaskedObjective
from polyrank.model import RankingModel
from polyrank.schema import Binary, Categorical, Duration, Schema
from polyrank.training import Prepared, train, trainer
from polyrank.training.balance import build_balance
from polyrank.training.optimizers import Optimizers
from polyrank.training.precision import choose_precision
from polyrank.training.processes import Processes
from polyrank.training.schedule import Schedule
from polyrank.training.step import LossNotFinite, Stepper, denominators_of
from tests.training.runs import SCHEMA, Recorder, config, digest, lines, prepared, table

CPU = torch.device("cpu")
TASKS = SCHEMA.task_names


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("cache"))


def stepper(log: Prepared, **settings: Any) -> Stepper:
    run = config(**settings)
    model = RankingModel(SCHEMA, log.encoders.layout, run.model, seed=0)
    schedule = Schedule(warmup_steps=0, total_steps=100, cosine=False)
    optimizers = Optimizers(model, run.training, schedule)
    return Stepper(
        model=model,
        balance=build_balance(run, optimizers.dense.values(), Processes(), CPU),
        optimizers=optimizers,
        steps_per_epoch=100,
        processes=Processes(),
        precision=choose_precision("fp32", CPU),
        device=CPU,
        seed=0,
        clip_norm=run.training.clip_norm,
    )


def first_batch(log: Prepared) -> Batch:
    return next(iter(log.train.batches(batch_size=64, seed=0, epoch=0)))


def denominators(batch: Batch) -> dict[str, float]:
    head = BinaryHead(Binary(name="any"), TargetStats(mean=0.5, std=0.5, count=1))
    objective = MaskedObjective(dict.fromkeys(TASKS, head))
    sums = dict(zip(TASKS, denominators_of(objective, batch).tolist(), strict=True))
    return {task: total for task, total in sums.items() if total > 0}


def hide(batch: Batch, *tasks: str) -> Batch:
    """The batch with no label of these tasks observed."""
    assert batch.observed_BT is not None
    observed_BT = batch.observed_BT.clone()
    for task in tasks:
        observed_BT[:, TASKS.index(task)] = False
    return dataclasses.replace(batch, observed_BT=observed_BT)


def bits(step: Stepper) -> dict[str, bytes]:
    """Everything that a step may change."""
    arrays = {
        **{name: value.numpy() for name, value in step.model.state_dict().items()},
        **step.optimizers.state(),
        **{name: value.numpy() for name, value in step.balance.method.state_dict().items()},
    }
    return {name: array.tobytes() for name, array in arrays.items()}


# B14: a task without a label in the batch.


@pytest.mark.parametrize("hidden", TASKS)
def test_a_task_without_a_label_leaves_no_trace_in_the_gradient(log: Prepared, hidden: str) -> None:
    batch = hide(first_batch(log), hidden)
    assert set(denominators(batch)) == set(TASKS) - {hidden}
    step = stepper(log)
    forward = step.model.eval()(batch)
    sum(step.losses(forward, batch, denominators(batch)).values(), torch.zeros(())).backward()
    ours = {name: p.grad for name, p in step.model.named_parameters()}
    # By hand: the sum of the other tasks' weighted means, the hidden one never computed.
    other = stepper(log).model.eval()
    logits = other(batch).logits
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    total = torch.zeros(())
    for column, task in enumerate(TASKS):
        if task == hidden:
            continue
        rows = batch.observed_BT[:, column]
        loss = other.heads[task].loss(logits[task][rows], batch.labels_BT[rows, column])
        total = total + (loss * batch.weight_B[rows]).sum() / batch.weight_B[rows].sum()
    total.backward()
    for name, parameter in other.named_parameters():
        gradient = ours[name]
        assert (gradient is None) == (parameter.grad is None), name
        if gradient is not None and parameter.grad is not None:
            torch.testing.assert_close(
                gradient.to_dense(), parameter.grad.to_dense(), rtol=1e-5, atol=1e-7
            )


def test_what_a_hidden_label_says_changes_no_bit(log: Prepared) -> None:
    batch = hide(first_batch(log), "like")
    assert batch.labels_BT is not None
    labels_BT = batch.labels_BT.clone()
    labels_BT[:, TASKS.index("like")] = 1e30
    results = []
    for given in (batch, dataclasses.replace(batch, labels_BT=labels_BT)):
        step = stepper(log)
        step(0, given, denominators(given), want_gates=False)
        results.append(bits(step))
    assert results[0] == results[1]


def test_the_tower_of_an_unobserved_task_does_not_even_decay(log: Prepared) -> None:
    step = stepper(log, weight_decay=0.5)
    batch = first_batch(log)
    step(0, batch, denominators(batch), want_gates=False)
    tower = TASKS.index("watch")
    before = bits(step)
    hidden = hide(batch, "watch")
    step(1, hidden, denominators(hidden), want_gates=False)
    after = bits(step)
    own = [name for name in before if f"towers.{tower}." in name]
    assert len(own) > 4
    assert all(before[name] == after[name] for name in own)
    assert before["inputs.0.table.weight"] != after["inputs.0.table.weight"]


def test_a_row_of_weight_zero_is_a_row_without_labels(log: Prepared) -> None:
    batch = first_batch(log)
    assert batch.weight_B is not None
    weight_B = batch.weight_B.clone()
    weight_B[:10] = 0
    step, other = stepper(log), stepper(log)
    weightless = dataclasses.replace(batch, weight_B=weight_B)
    assert batch.observed_BT is not None
    observed_BT = batch.observed_BT.clone()
    observed_BT[:10] = False
    unobserved = dataclasses.replace(batch, observed_BT=observed_BT)
    assert denominators(weightless) == denominators(unobserved)
    step(0, weightless, denominators(weightless), want_gates=False)
    other(0, unobserved, denominators(unobserved), want_gates=False)
    assert bits(step) == bits(other)


# B15: a batch without any label.


def test_batches_without_labels_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = table(400, 0)
    nothing = pa.nulls(200, pa.float64())
    for task in TASKS:
        column = pa.concat_arrays([rows[task].combine_chunks()[:200], nothing])
        rows = rows.set_column(rows.column_names.index(task), task, column)
    log = prepared(tmp_path / "cache", rows)
    recorder = Recorder()
    result = train(config(batch_size=1, epochs=1), log, tmp_path / "run", observer=recorder)
    assert result.steps == 400
    assert result.skipped_empty >= 200
    assert sum("no observed label" in notice for notice in recorder.notices) == 1
    assert lines(tmp_path / "run")[-2]["skipped"] == result.skipped_empty


def test_a_skipped_batch_changes_no_bit(
    log: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run without a label in every other batch ends as if these batches had not been there."""
    applied: list[int] = []
    call = Stepper.__call__

    def count(self: Stepper, step: int, *args: Any, **kwargs: Any) -> Any:
        applied.append(step)
        return call(self, step, *args, **kwargs)

    monkeypatch.setattr(Stepper, "__call__", count)
    monkeypatch.setattr(
        trainer,
        "denominators_of",
        lambda objective, batch: torch.zeros(len(TASKS), dtype=torch.float64),
    )
    run = config(epochs=1)
    untouched = RankingModel(SCHEMA, log.encoders.layout, run.model, seed=run.seed)
    result = train(run, log, tmp_path)
    assert applied == []
    assert result.skipped_empty == result.steps == 10
    assert digest(result.model) == digest(untouched)


# C1 and C2: losses and gradients that are not finite.

POISON = 12345.0
"""A watch time that the tests' head cannot stand."""


def poisoned(rows: int, at: list[int]) -> pa.Table:
    """A log whose labels of watch time are poison at some rows, all of them clicks."""
    log = table(rows, 0)
    click, watch = log["click"].to_numpy().copy(), log["watch"].to_numpy().copy()
    click[at], watch[at] = 1.0, POISON
    log = log.set_column(log.column_names.index("click"), "click", pa.array(click))
    return log.set_column(log.column_names.index("watch"), "watch", pa.array(watch))


def break_head(monkeypatch: pytest.MonkeyPatch, harm: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Let the loss of a duration add ``harm`` at poisoned rows."""
    loss = DurationHead.loss

    def broken(self: DurationHead, logits_BL: Tensor, labels_B: Tensor, extras: Extras) -> Tensor:
        return loss(self, logits_BL, labels_B, extras) + harm(logits_BL[:, 0], labels_B == POISON)

    monkeypatch.setattr(DurationHead, "loss", broken)


def not_finite(value: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda z_B, bad_B: torch.where(bad_B, value, 0.0)


def bad_gradient(z_B: Tensor, bad_B: Tensor) -> Tensor:
    """0 everywhere, with an infinite gradient where bad."""
    return torch.sqrt(torch.where(bad_B, z_B - z_B.detach(), 1.0)) - torch.where(bad_B, 0.0, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    log = prepared(tmp_path / "cache", poisoned(600, [300]))
    break_head(monkeypatch, not_finite(value))
    run = config(epochs=1, checkpoint={"every": 1})
    with pytest.raises(DivergedError) as caught:
        train(run, log, tmp_path / "run")
    error = caught.value
    place = next(
        number
        for number, batch in enumerate(log.train.batches(batch_size=64, seed=0, epoch=0))
        if batch.labels_BT is not None and bool((batch.labels_BT == POISON).any())
    )
    assert error.exit_code == 5
    assert error.message == f"the loss of task watch is {value} at step {place + 1}"
    assert error.where == (
        f"epoch 1, batch {place + 1} of 10 (rows {64 * place} to "
        f"{min(64 * place + 63, 599)} in the order of the epoch)"
    )
    last = f"checkpoints/step-{place:010d}" if place else "none yet"
    assert error.hint is not None
    assert f"Last good checkpoint: {last}." in error.hint


def test_a_loss_that_is_not_finite_changes_no_bit(
    log: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batch = stepper(log), first_batch(log)
    step(0, batch, denominators(batch), want_gates=False)
    before = bits(step)
    monkeypatch.setattr(BinaryHead, "loss", lambda self, z, y, extras: z[:, 0] * math.nan)
    with pytest.raises(LossNotFinite, match="click is nan, like is nan"):
        step(1, batch, denominators(batch), want_gates=False)
    assert bits(step) == before


def test_a_gradient_that_is_not_finite_changes_no_bit_and_the_next_step_goes_on(
    log: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batch = stepper(log), first_batch(log)
    assert step(0, batch, denominators(batch), want_gates=False).applied
    before = bits(step)
    with monkeypatch.context() as patch:
        break_head(patch, lambda z_B, bad_B: bad_gradient(z_B, torch.ones_like(bad_B)))
        result = step(1, batch, denominators(batch), want_gates=False)
    assert not result.applied
    assert all(map(math.isfinite, result.losses.values()))
    assert not math.isfinite(result.gradient_norm)
    assert bits(step) == before
    clean = stepper(log)
    for number in (0, 2):
        step_or_clean = (step, clean) if number else (clean,)
        for each in step_or_clean:
            assert each(number, batch, denominators(batch), want_gates=False).applied
    assert bits(step) == bits(clean)


def test_the_balancing_state_survives_a_skipped_step(
    log: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batch = stepper(log), first_batch(log)
    assert isinstance(step.balance.method, StaticWeighting)
    call = StaticWeighting.forward

    def remember(self: Any, losses: Any, moment: Any) -> Any:
        self.weights_T += 1.0
        return call(self, losses, moment)

    monkeypatch.setattr(StaticWeighting, "forward", remember)
    before = step.balance.method.weights_T.clone()
    break_head(monkeypatch, lambda z_B, bad_B: bad_gradient(z_B, torch.ones_like(bad_B)))
    assert not step(0, batch, denominators(batch), want_gates=False).applied
    assert torch.equal(step.balance.method.weights_T, before)


def test_skipped_gradients_are_counted_and_said_once_and_survive_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = prepared(tmp_path / "cache", poisoned(600, [3, 100, 200, 400]))
    break_head(monkeypatch, bad_gradient)
    run = config(epochs=2, checkpoint={"every": 1}, select={"every": 3, "patience": 0})
    recorder = Recorder()
    whole = train(run, log, tmp_path / "whole", observer=recorder)
    assert 4 <= whole.skipped_gradient <= 8
    assert sum("gradient is not finite" in notice for notice in recorder.notices) == 1
    assert lines(tmp_path / "whole")[-2]["skipped"] == whole.skipped_gradient

    class Bomb(Recorder):
        def advance(self, step: int, rows: int) -> None:
            if step == 12:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, log, tmp_path / "run", observer=Bomb())
    result = train(run, log, tmp_path / "run", resume="strict")
    assert digest(result.model) == digest(whole.model)
    assert result.skipped_gradient == whole.skipped_gradient
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def test_more_than_ten_skipped_gradients_in_a_row_end_the_run_also_across_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = prepared(tmp_path / "cache", poisoned(600, list(range(600))))
    break_head(monkeypatch, bad_gradient)
    run = config(epochs=3, checkpoint={"every": 1})

    class Bomb(Recorder):
        def advance(self, step: int, rows: int) -> None:
            if step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, log, tmp_path / "run", observer=Bomb())
    with pytest.raises(DivergedError, match=r"11 steps in a row .* at step 11"):
        train(run, log, tmp_path / "run", resume="strict")


# C8 and C12: rates that explode, weights that are not finite.


@pytest.mark.parametrize(
    "rates",
    [
        {"learning_rate": 1e30},
        {"table_learning_rate": 1e30},
        {"learning_rate": 1e38, "table_learning_rate": 1e38},
    ],
)
def test_an_absurd_rate_diverges_with_a_name_and_leaves_no_bad_checkpoint(
    log: Prepared, tmp_path: Path, rates: dict[str, Any]
) -> None:
    run = config(warmup_steps=0, checkpoint={"every": 1}, **rates)
    with pytest.raises(DivergedError, match=r"not finite|is nan|is inf"):
        train(run, log, tmp_path)
    assert all_finite(tmp_path)


def all_finite(folder: Path) -> bool:
    from safetensors.numpy import load_file

    files = list(folder.glob("*/step-*/*.safetensors"))
    return all(
        np.isfinite(array).all()
        for file in files
        for array in load_file(file).values()
        if array.dtype.kind == "f"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_neither_saved_nor_returned(
    log: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    update = Optimizers.update

    def spoil(self: Optimizers, step: int, stopped: Collection[str]) -> None:
        update(self, step, stopped)
        if step == 6:
            next(iter(self.dense.values())).data.view(-1)[-1] = value

    monkeypatch.setattr(Optimizers, "update", spoil)
    monkeypatch.setattr(RankingModel, "predict", None)
    run = config(checkpoint={"every": 7}, epochs=1)
    with pytest.raises(DivergedError, match=r"the weights '.*' are not finite at step 8"):
        train(run, log, tmp_path)
    assert not list(tmp_path.glob("*/step-*"))


def test_predictions_that_are_not_finite_stop_the_run(
    log: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        DurationHead, "predict", lambda self, z, extras: z[:, 0].double() * math.inf
    )
    with pytest.raises(DivergedError, match="predictions of task 'watch' are not finite"):
        train(config(epochs=1), log, tmp_path)


# B13: a task of one class.


def test_a_task_of_one_class_trains_and_is_left_out_of_the_score_by_name(tmp_path: Path) -> None:
    schema = Schema(
        features=(Categorical(name="item", min_frequency=1),),
        tasks=(Binary(name="click"), Binary(name="sold"), Duration(name="watch")),
    )
    rows = table(300, 0)
    rows = rows.append_column("sold", pa.array(np.zeros(300)))
    log = prepared(tmp_path / "cache", rows, rows, schema)
    recorder = Recorder()
    result = train(config(schema, epochs=1), log, tmp_path / "run", observer=recorder)
    assert recorder.notices == [
        "sold.auc is undefined on the validation split: only one class: no positive label; "
        "left out of the score"
    ]
    (entry,) = result.history
    assert entry.metrics["sold.auc"] is None
    assert entry.reasons["sold.auc"] == "only one class: no positive label"
    assert entry.metrics["sold.log_loss"] is not None
    assert result.best_score is not None
    assert lines(tmp_path / "run")[0]["message"] == recorder.notices[0]


def test_a_score_that_cannot_be_is_refused_before_the_first_step(tmp_path: Path) -> None:
    schema = Schema(
        features=(Categorical(name="item", min_frequency=1),), tasks=(Binary(name="sold"),)
    )
    rows = table(100, 0).append_column("sold", pa.array(np.zeros(100)))
    log = prepared(tmp_path / "cache", rows, rows, schema)
    recorder = Recorder()
    run = config(schema, select={"metrics": {"sold.auc": 1.0}})
    with pytest.raises(DataError, match=r"sold\.auc is undefined"):
        train(run, log, tmp_path / "run", observer=recorder)
    assert recorder.steps == []
    result = train(config(schema, epochs=2), log, tmp_path / "run")
    assert result.best_score is None
    assert result.best_step == result.steps
