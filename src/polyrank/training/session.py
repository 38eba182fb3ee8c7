"""What a run is put together from: device, checkpoints, network, optimizers, observers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from polyrank.config import RunConfig
from polyrank.errors import ArtefactError, ConfigError
from polyrank.layers import Gates
from polyrank.model import RankingModel
from polyrank.training.balance import build_balance
from polyrank.training.checkpoint import CHECKPOINTS, Checkpoints, Snapshot, put_arrays
from polyrank.training.extension import Frozen, Parent, transplant
from polyrank.training.health import ExpertHealth
from polyrank.training.identity import Identity, compare
from polyrank.training.idle import idle_notices
from polyrank.training.journal import LOG, Journal
from polyrank.training.optimizers import Optimizers
from polyrank.training.precision import choose_precision
from polyrank.training.prepared import Prepared
from polyrank.training.probe import Probe
from polyrank.training.processes import Processes
from polyrank.training.records import EvaluationRecord, NoticeRecord, Observer, Observers, RunPlan
from polyrank.training.schedule import Schedule
from polyrank.training.signals import StopRequest
from polyrank.training.state import RunState
from polyrank.training.step import Stepper
from polyrank.training.tracking import open_trackers
from polyrank.training.trainer import Trainer
from polyrank.training.validation import Validation

Resume = Literal["never", "auto", "strict"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run gives."""

    model: RankingModel
    """The best weights, fp32, on the CPU, in evaluation mode."""
    history: tuple[EvaluationRecord, ...]
    """Every evaluation, without its timing."""
    best_step: int
    best_score: float | None
    """None where nothing in the score was defined; the last weights then count as the best."""
    steps: int
    """Batches consumed, skipped ones included."""
    skipped_empty: int
    """Steps without any observed label."""
    skipped_gradient: int
    """Steps whose gradient was not finite."""
    stopped_why: str
    """``epochs`` or ``early``."""


class Session:
    """One call of ``train``, step by step.

    Args:
        config: The run.
        prepared: Its log.
        run_dir: Its folder.
        device: Of this process.
        processes: Joined.
        observer: The caller's.
        parent: What the run starts from, if from a trained model.
        probe: Looks at the network before steps, in a run of one process.

    Attributes:
        notices: What the observer should hear before the first step.

    Raises:
        ConfigError: A probe in a run of several processes.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        run_dir: Path,
        *,
        device: torch.device,
        processes: Processes,
        observer: Observer | None,
        parent: Parent | None = None,
        probe: Probe | None = None,
    ) -> None:
        if probe is not None and processes.world > 1:
            raise ConfigError(
                f"a probe looks at the rows of one process, and there are {processes.world}",
                hint="Train in one process, without torchrun.",
            )
        self._probe = probe
        self._config, self._prepared, self._run_dir = config, prepared, run_dir
        self._parent = parent
        self._device, self._processes = device, processes
        self._precision = choose_precision(config.training.precision, device)
        watchers: list[Observer] = []
        if processes.first:
            watchers = open_trackers(config.tracking, run_dir, name=run_dir.name)
            watchers += [] if observer is None else [observer]
        self._observer = Observers(watchers)
        self.notices: list[str] = []
        self._snapshot: Snapshot | None = None
        keep = config.training.checkpoint.keep
        self.checkpoints = Checkpoints(run_dir, keep, self.notices.append)
        self._identity = Identity(
            config=config.tree(),
            data=prepared.fingerprint,
            world=processes.world,
            device=device.type,
            precision=self._precision.name,
            threads=torch.get_num_threads(),
            torch=str(torch.__version__),
            parent=None if parent is None else parent.version,
        )

    def load(self, resume: Resume) -> Snapshot | None:
        """The checkpoint to go on from, if any.

        Raises:
            ConfigError: There is one and ``resume`` is ``never``, or what it began with changed.
            ArtefactError: None is intact, or ``strict`` and there is none.
        """
        if self._processes.first_does(lambda: self._choose(resume)) and self._snapshot is None:
            # What the first process chose is now the newest; the others read the same folder.
            self._snapshot = self.checkpoints.load(self._check, strict=True)
        return self._snapshot

    def _choose(self, resume: Resume) -> bool:
        if resume == "never":
            if not self.checkpoints.empty:
                raise ConfigError(
                    f"the folder holds a run already, at {self.checkpoints.last}",
                    where="output",
                    hint="Go on with --resume, or give another `output`.",
                )
            return False
        self._snapshot = self.checkpoints.load(self._check, strict=resume == "strict")
        found = self._snapshot is not None
        if not found and resume == "strict":
            raise ArtefactError(
                "there is no checkpoint to resume from",
                where=CHECKPOINTS,
                hint="Check `output`, or leave out --resume to begin.",
            )
        if not found:
            self.notices.append("nothing to resume from, so the run begins")
        return found

    def _check(self, identity: Mapping[str, Any]) -> None:
        self.notices += compare(identity, self._identity, self._config)

    def trainer(self, snapshot: Snapshot | None, stop: StopRequest, stack: ExitStack) -> Trainer:
        """The loop, where the checkpoint left it or at the beginning.

        Args:
            snapshot: Of ``load``.
            stop: Entered.
            stack: Closes what is opened here.

        Raises:
            ConfigError: The score names what does not exist.
            DataError: The score asks for what is undefined on the validation split.
        """
        config, training = self._config, self._config.training
        model = RankingModel(
            config.schema_, self._prepared.encoders.layout, config.model, seed=config.seed
        )
        kept: frozenset[str] = frozenset()
        if self._parent is not None:
            kept = transplant(self._parent, model, self._prepared.encoders)
        stepper = self._stepper(model.to(self._device), kept)
        state = RunState()
        if snapshot is not None:
            state = self._restore(snapshot, stepper)
        validation = Validation(
            self._prepared.validation, config.schema_, training.select, self._processes
        )
        trainer = Trainer(
            config=training,
            seed=config.seed,
            tasks=config.schema_.task_names,
            log=self._prepared.train,
            whole_requests=bool(config.model.lists),
            stepper=stepper,
            validation=validation,
            state=state,
            identity=self._identity.to_json(),
            checkpoints=self.checkpoints,
            stop=stop,
            observer=self._observer,
            journal=self._journal(state.journal, stack),
            health=_expert_health(config, model),
            probe=self._probe,
            saved=state.step,
        )
        self._begin(trainer, stack)
        return trainer

    def result(self, trainer: Trainer) -> TrainResult:
        """What a finished run gives.

        Raises:
            ArtefactError: The best weights on disk are damaged.
        """
        state, model = trainer.state, trainer.stepper.model
        assert state.best_step is not None, "the last step is always evaluated"
        assert state.stopped is not None, "only a finished run has a result"
        model = model.cpu().eval()
        if state.best_step != state.step:
            put_arrays(model, self.checkpoints.best(), CHECKPOINTS)
        return TrainResult(
            model=model,
            history=tuple(EvaluationRecord(**_without_kind(entry)) for entry in state.history),
            best_step=state.best_step,
            best_score=state.best_score,
            steps=state.step,
            skipped_empty=state.skipped_empty,
            skipped_gradient=state.skipped_gradient,
            stopped_why=state.stopped,
        )

    def _stepper(self, model: RankingModel, kept: frozenset[str]) -> Stepper:
        training = self._config.training
        frozen = None if training.freeze is None else Frozen(model, kept)
        steps = self._prepared.train.num_batches(training.batch_size) * training.epochs
        schedule = Schedule(
            warmup_steps=training.warmup_steps,
            total_steps=steps,
            cosine=training.schedule == "cosine",
        )
        optimizers = Optimizers(model, training, schedule)
        return Stepper(
            model=model,
            balance=build_balance(
                self._config, optimizers.dense.values(), self._processes, self._device
            ),
            optimizers=optimizers,
            steps_per_epoch=self._prepared.train.num_batches(training.batch_size),
            processes=self._processes,
            precision=self._precision,
            device=self._device,
            seed=self._config.seed,
            clip_norm=training.clip_norm,
            expert_health=training.expert_health,
            frozen=frozen,
        )

    def _restore(self, snapshot: Snapshot, stepper: Stepper) -> RunState:
        put_arrays(stepper.model, snapshot.model, CHECKPOINTS)
        put_arrays(stepper.balance.method, snapshot.balancing, CHECKPOINTS)
        stepper.optimizers.restore(snapshot.optimizers)
        state = snapshot.state
        if state.stopped == "epochs" and state.step < stepper.optimizers.schedule.total_steps:
            state.stopped = None
        return state

    def _journal(self, position: int, stack: ExitStack) -> Journal | None:
        if not self._processes.first:
            return None
        return stack.enter_context(Journal(self._run_dir / LOG, position))

    def _begin(self, trainer: Trainer, stack: ExitStack) -> None:
        """Tell the observers; what the run itself decides also goes into the log, once."""
        if not self._processes.first:
            return
        stack.callback(self._observer.close)
        self._observer.begin(
            RunPlan(
                tasks=trainer.tasks,
                rows_per_epoch=self._prepared.train.num_rows,
                steps_per_epoch=trainer.steps_per_epoch,
                total_steps=trainer.total_steps,
                start_step=trainer.state.step,
                device=self._device.type,
                precision=f"{self._precision.name}: {self._precision.reason}",
                world=self._processes.world,
            )
        )
        assert trainer.journal is not None, "the first process keeps the log"
        for message in (*self.notices, *trainer.journal.notices):
            self._observer.record(NoticeRecord(step=trainer.state.step, message=message))
        for message in self._of_the_run(trainer) if trainer.state.step == 0 else ():
            trainer.write(NoticeRecord(step=0, message=message))
        self.notices.clear()

    def _of_the_run(self, trainer: Trainer) -> Iterator[str]:
        """What the run itself decides."""
        yield from trainer.validation.notices
        yield from idle_notices(self._config)
        choices = self._config.training.tasks
        patient = [task for task, own in choices.items() if own.patience]
        for task in trainer.validation.without_part(patient):
            yield f"task {task!r} is never frozen: its patience goes by a score that leaves it out"


def _expert_health(config: RunConfig, model: RankingModel) -> ExpertHealth:
    gates = (module for module in model.modules() if isinstance(module, Gates))
    return ExpertHealth(
        config=config.model.sharing,
        block=model.sharing,
        gates_drop=any(gate.dropout > 0.0 for gate in gates),
    )


def _without_kind(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "kind"}
