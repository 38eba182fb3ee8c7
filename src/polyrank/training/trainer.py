"""The loop: steps, evaluations, checkpoints, and every reason to stop.

A run is a function of its configuration and data. What is due at a step boundary follows from the
number of the step alone, so a resumed run does what the uninterrupted one did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, NoReturn

import torch

from polyrank.config import TrainingConfig
from polyrank.data import Batch, EncodedLog
from polyrank.errors import DivergedError, InterruptedRun, counted
from polyrank.heads import Part
from polyrank.training.checkpoint import Checkpoints
from polyrank.training.health import ExpertHealth
from polyrank.training.journal import Journal
from polyrank.training.probe import Probe
from polyrank.training.records import (
    EvaluationRecord,
    NoticeRecord,
    Observer,
    ProbeRecord,
    Record,
    TrainRecord,
    as_json,
)
from polyrank.training.signals import StopRequest
from polyrank.training.state import RunState, Window
from polyrank.training.step import LossNotFinite, Stepper, StepResult, denominators_of
from polyrank.training.stopping import judge, judge_tasks
from polyrank.training.validation import Validation, Verdict

LOG_EVERY = 50
"""Steps between train records; there is one before each evaluation, too."""
MOST_SKIPPED = 10
"""Steps in a row whose gradient may be not finite; one more ends the run."""


class Timer:
    """Wall-clock time and rows since the last record; not part of what a run remembers."""

    def __init__(self) -> None:
        self._since, self._rows = time.monotonic(), 0

    def count(self, rows: int) -> None:
        """These rows were trained on."""
        self._rows += rows

    def lap(self) -> dict[str, Any]:
        """The timing of a record; starts the next one."""
        now = time.monotonic()
        seconds, rows = now - self._since, self._rows
        self._since, self._rows = now, 0
        rate = rows / seconds if seconds > 0 else 0.0
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        return {"time": stamp, "seconds": round(seconds, 3), "rows_per_second": round(rate, 1)}


@dataclass(kw_only=True)
class Trainer:
    """One run, ready to go; ``state`` and what the stepper holds are what changes."""

    config: TrainingConfig
    seed: int
    tasks: tuple[str, ...]
    log: EncodedLog
    whole_requests: bool
    """Whether a batch may cut none."""
    stepper: Stepper
    validation: Validation
    state: RunState
    identity: Mapping[str, Any]
    checkpoints: Checkpoints
    stop: StopRequest
    observer: Observer
    journal: Journal | None
    """In the first process only."""
    health: ExpertHealth
    probe: Probe | None = None
    saved: int = 0
    """The step of the newest checkpoint."""
    timer: Timer = field(default_factory=Timer)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, over all processes together."""
        return self.log.num_batches(self.config.batch_size)

    @property
    def total_steps(self) -> int:
        """Of the run, if nothing stops it earlier."""
        return self.config.epochs * self.steps_per_epoch

    def run(self) -> None:
        """Train until the last epoch or until the score stops rising.

        Raises:
            DivergedError: A loss, a weight or too many gradients in a row are not finite.
            InterruptedRun: SIGTERM or SIGINT; a checkpoint was made.
            StorageError: The disk refused; the checkpoints before are intact.
            DistributedError: Another process is gone.
        """
        self.stepper.model.train()
        self._settle()
        while not self.state.finished():
            epoch, start = divmod(self.state.step, self.steps_per_epoch)
            for batch in self._batches(epoch, start):
                self._step(batch)
                self._settle()
                if self.state.finished():
                    break
        if self._agree(torch.zeros(0))[1]:
            self._leave()

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        return self.log.batches(
            batch_size=self.config.batch_size,
            seed=self.seed,
            epoch=epoch,
            start=start,
            shuffle=True,
            rank=self.stepper.processes.rank,
            world=self.stepper.processes.world,
            whole_requests=self.whole_requests,
        )

    def _step(self, batch: Batch) -> None:
        state = self.state
        size = torch.tensor([len(batch)], dtype=torch.float64)
        objective = self.stepper.model.objective
        sums = torch.cat([denominators_of(objective, batch), size])
        (*by_part, rows), asked = self._agree(sums)
        if asked:
            self._leave()
        parts, frozen = zip(objective.parts, by_part, strict=True), self.state.frozen()
        denominators = {p: weight for p, weight in parts if weight > 0 and p.task not in frozen}
        log_due = self._log_due(state.step + 1)
        weights = {part.name: weight for part, weight in denominators.items()}
        if self.probe is not None and weights:
            self._look(self.probe, batch, weights)
        result = self._apply(batch, weights, want_gates=log_due) if weights else None
        self._count(result, _by_task(denominators))
        state.step += 1
        state.window.rows += int(rows)
        self.timer.count(int(rows))
        self.observer.advance(state.step, int(rows))
        if log_due:
            self._log(result)

    def _agree(self, values: torch.Tensor) -> tuple[list[float], bool]:
        """The sums over all processes, and whether any of them was asked to stop."""
        asked = torch.tensor([float(self.stop.received is not None)], dtype=torch.float64)
        *sums, stops = self.stepper.processes.sum(torch.cat([values, asked])).tolist()
        return sums, stops > 0

    def _look(self, probe: Probe, batch: Batch, weights: dict[str, float]) -> None:
        """Before the step, which draws its random numbers afresh."""
        began = time.monotonic()
        found = probe.look(self.stepper, self.state.step, batch, weights)
        if found is not None:
            timing = {"seconds": round(time.monotonic() - began, 4)}
            self.write(ProbeRecord(step=self.state.step + 1, found=found, timing=timing))

    def _apply(self, batch: Batch, weights: dict[str, float], *, want_gates: bool) -> StepResult:
        try:
            return self.stepper(
                self.state.step,
                batch,
                weights,
                want_gates=want_gates,
                stopped=self.state.frozen(),
            )
        except LossNotFinite as error:
            raise self._diverged(f"the loss of task {error}") from error

    def _count(self, result: StepResult | None, weights: dict[str, float]) -> None:
        state = self.state
        if result is None:
            state.skipped_empty += 1
            if state.skipped_empty == 1:
                self._notify("skipped, since its batch has no observed label; others are counted")
            return
        state.window.add(dict(result.losses), weights)
        if result.applied:
            state.gradients_in_a_row = 0
            state.window.gradient_norm = result.gradient_norm
            state.window.balance.add(result.balanced)
            return
        state.skipped_gradient += 1
        state.gradients_in_a_row += 1
        if state.skipped_gradient == 1:
            self._notify("skipped, since its gradient is not finite; others are counted")
        if state.gradients_in_a_row > MOST_SKIPPED:
            raise self._diverged(
                f"the gradients of {state.gradients_in_a_row} steps in a row are not finite; "
                f"at most {MOST_SKIPPED} are skipped"
            )

    def _settle(self) -> None:
        """What is due at this step boundary, unless a checkpoint says it was done."""
        state = self.state
        if state.step == 0 or state.stopped is not None:
            return
        improved = False
        if self._evaluation_due(state.step) and state.evaluated < state.step:
            improved = self._evaluate()
        patience = self.config.select.patience
        if (patience and state.since_best >= patience) or state.frozen() == {*self.tasks}:
            state.stopped = "early"
        elif state.step >= self.total_steps:
            state.stopped = "epochs"
        due = self._checkpoint_due(state.step) and self.saved < state.step
        if due or improved or state.stopped is not None:
            self._save()

    def _evaluate(self) -> bool:
        """Whether this is the best so far; a checkpoint must follow."""
        state, stepper = self.state, self.stepper
        self._require_finite_weights()
        self._average_buffers()
        verdict = self.validation(
            stepper.model, stepper.device, lambda: self.stop.received is not None
        )
        if verdict is None:
            self._leave()
        state.evaluated = state.step
        best = judge(state, verdict.score)
        record = EvaluationRecord(
            step=state.step,
            epoch=self._epoch(),
            score=verdict.score,
            best=best,
            metrics=verdict.metrics,
            reasons=verdict.reasons,
            timing={},
        )
        state.history.append(as_json(record))
        self.write(replace(record, timing=self.timer.lap()))
        self._freeze(verdict)
        return best

    def _freeze(self, verdict: Verdict) -> None:
        """Those tasks whose own patience ends here."""
        state, choices = self.state, self.config.tasks
        patience = {task: own.patience for task, own in choices.items() if own.patience}
        for task in judge_tasks(state, verdict.parts, patience):
            best = state.tasks[task].best_step
            seen = next(entry["metrics"] for entry in state.history if entry["step"] == best)
            told = " and ".join(f"{name} {seen[name]:.4f}" for name in verdict.parts[task])
            count = counted(patience[task], "evaluation")
            message = (
                f"task {task!r} is frozen after {count} without a new best; its best was {told} "
                f"at step {best}"
            )
            self.write(NoticeRecord(step=state.step, message=message))

    def _save(self) -> None:
        self._require_finite_weights()
        self._average_buffers()
        self._first(self._write_checkpoint)
        self.saved = self.state.step
        self.timer.lap()

    def _write_checkpoint(self) -> None:
        assert self.journal is not None, "the first process keeps the log"
        self.state.journal = self.journal.sync()
        self.checkpoints.save(
            self.state,
            self.identity,
            model=self.stepper.model,
            optimizers=self.stepper.optimizers.state(),
            balancing=self.stepper.balance.method,
        )

    def _leave(self) -> NoReturn:
        if self.state.step > self.saved:
            self._save()
        number = self.stop.received
        left = "a checkpoint was made" if self.state.step else "nothing was done yet"
        raise InterruptedRun(
            f"stopped by {number.name if number else 'a signal to another process'} after step "
            f"{self.state.step} of {self.total_steps}; {left}",
            hint="Go on with --resume." if self.state.step else "Start again.",
        )

    @torch.no_grad()
    def _average_buffers(self) -> None:
        """Give every process the mean of the model's buffers: of running statistics, each has those
        of its own rows. The sum is float64, so that equal values stay as they are.
        """
        buffers = [b for b in self.stepper.model.buffers() if b.is_floating_point()]
        world = self.stepper.processes.world
        if world == 1 or not buffers:
            return
        flat = torch.cat([buffer.flatten().double() for buffer in buffers])
        means = self.stepper.processes.sum(flat).div(world)
        for buffer, mean in zip(buffers, means.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def _require_finite_weights(self) -> None:
        for name, parameter in self.stepper.model.named_parameters():
            if parameter.numel() and not all(map(isfinite, torch.aminmax(parameter.detach()))):
                raise self._diverged(f"the weights {name!r} are not finite")

    def _diverged(self, what: str) -> DivergedError:
        epoch, place = divmod(self.state.step, self.steps_per_epoch)
        begin = place * self.config.batch_size
        end = min(begin + self.config.batch_size, self.log.num_rows)
        return DivergedError(
            f"{what} at step {self.state.step + 1}",
            where=f"epoch {epoch + 1}, batch {place + 1} of {self.steps_per_epoch} (rows "
            f"{begin:,} to {end - 1:,} in the order of the epoch)",
            hint=f"Last good checkpoint: {self.checkpoints.last}. Lower training.learning_rate "
            "or training.table_learning_rate, or set training.clip_norm, and train into another "
            "`output`.",
        )

    def _log(self, result: StepResult | None) -> None:
        state = self.state
        dense_rate, table_rate = self.stepper.optimizers.rates(state.step - 1)
        record = TrainRecord(
            step=state.step,
            epoch=self._epoch(),
            rows=state.window.rows,
            losses={task: state.window.mean(task) for task in self.tasks},
            learning_rate=dense_rate,
            table_learning_rate=table_rate,
            gradient_norm=state.window.gradient_norm,
            skipped=state.skipped_empty + state.skipped_gradient,
            gates={} if result is None else result.gates,
            balance=state.window.balance.means(),
            timing=self.timer.lap(),
        )
        self.write(record)
        state.window = Window()
        if result is not None and result.health is not None:
            for message in self.health.news(state.health, result.health):
                self.write(NoticeRecord(step=state.step, message=message))

    def write(self, record: Record) -> None:
        """Into the log and to the observer; in the other processes, nowhere."""
        if self.journal is not None:
            self.journal.record(record)
        self.observer.record(record)

    def _notify(self, message: str) -> None:
        self.write(NoticeRecord(step=self.state.step + 1, message=message))

    def _first(self, work: Callable[[], None]) -> None:
        self.stepper.processes.first_does(work)

    def _epoch(self) -> int:
        return (self.state.step - 1) // self.steps_per_epoch + 1

    def _evaluation_due(self, step: int) -> bool:
        every = self.config.select.every or self.steps_per_epoch
        return step % every == 0 or step == self.total_steps

    def _checkpoint_due(self, step: int) -> bool:
        return step % self.config.checkpoint.every == 0 or step % self.steps_per_epoch == 0

    def _log_due(self, step: int) -> bool:
        return step % LOG_EVERY == 0 or self._evaluation_due(step)


def _by_task(denominators: Mapping[Part, float]) -> dict[str, float]:
    """By task, the weight of the rows that its largest part learns from."""
    weights: dict[str, float] = {}
    for part, weight in denominators.items():
        weights[part.task] = max(weight, weights.get(part.task, 0.0))
    return weights
