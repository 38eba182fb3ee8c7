"""One run of an audit in this process: train, predict the part, measure.

Shapes: N rows of the part.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polyrank._version import __version__
from polyrank.audit.baselines import BaselineRun, boosted_trees, constants
from polyrank.audit.config import Part
from polyrank.audit.evidence import gather
from polyrank.audit.memory import peak_bytes
from polyrank.audit.probe import EVERY, EvidenceProbe, read_log
from polyrank.audit.results import Predictions, Result, Timing
from polyrank.audit.variants import Variant
from polyrank.config import RunConfig
from polyrank.data import EncodedLog
from polyrank.errors import ConfigError, DivergedError
from polyrank.evaluation import METRICS, Observations, evaluate
from polyrank.layers import cost_of
from polyrank.model import RankingModel
from polyrank.schema import Schema, Task
from polyrank.storage.failures import storage_errors
from polyrank.training import Observer, Prepared, TrainResult, train
from polyrank.training.records import TIMING
from polyrank.training.validation import BATCH, Truth

REPORTED = ("auc", "log_loss", "ne", "ece", "mae")
"""Metrics that stand beside the one a task is judged by, where they fit its kind."""
_UNDECIDING = ("output", "tracking", "evaluation", "calibration", "data")
_UNDECIDING_OF_TRAINING = ("checkpoint", "expert_health")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A variant with a seed."""

    variant: Variant
    seed: int
    config: RunConfig
    """All of its run."""
    looked_at: bool = False
    """Whether gradients and affinity are looked at; decides nothing."""
    look_every: int = EVERY
    """Steps between two looks."""

    @property
    def key(self) -> tuple[str, int]:
        """Role and seed."""
        return self.variant.role, self.seed

    def identity(self, data: str, part: Part) -> dict[str, Any]:
        """What decides its result.

        Args:
            data: Fingerprint of the encoded log.
            part: What it predicts.
        """
        tree = self.config.tree()
        training = tree.pop("training")
        kept = {key: value for key, value in tree.items() if key not in _UNDECIDING}
        kept["training"] = {k: v for k, v in training.items() if k not in _UNDECIDING_OF_TRAINING}
        return {
            **kept,
            "fingerprint of the encoded log": data,
            "part": part,
            "version of polyrank": __version__,
            "version of torch": str(torch.__version__),
        }


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs of an audit have in common.

    Args:
        prepared: The log.
        part: What they predict.
        metrics: By task, what it is judged by.
        truth: Of the part.
    """

    prepared: Prepared
    part: Part
    metrics: Mapping[str, str]
    truth: Truth

    @property
    def log(self) -> EncodedLog:
        """The part."""
        return part_of(self.prepared, self.part)


def part_of(prepared: Prepared, part: Part) -> EncodedLog:
    """A held-out part of a log.

    Raises:
        ConfigError: The run has no such part.
    """
    found = prepared.test if part == "test" else prepared.validation
    if found is None:
        raise ConfigError(
            "the run has no test part",
            where="part",
            hint="Choose validation, or give the run a test part (`data.split` or `data.test`).",
        )
    return found


def run_job(
    job: Job, bench: Bench, work: Path, observer: Observer | None = None
) -> tuple[Result, Predictions]:
    """Train, from the newest checkpoint in ``work`` if there is one, and predict.

    Raises:
        DivergedError: Training or a prediction left the finite numbers.
        InterruptedRun: A signal came; a checkpoint was made.
        StorageError: The disk refused.
    """
    if job.variant.kind == "baseline":
        return _run_baseline(job, bench)
    began, began_cpu = time.monotonic(), time.process_time()
    found = _trained(job, bench, work, observer)
    trained = time.monotonic()
    predictions = predict(found.model, bench.log, job.variant.tasks)
    predicted = time.monotonic() - trained
    metrics, reasons = measure(bench, job.config.schema_, predictions)
    log = read_log(work)
    evidence = _evidence(found.model, job, bench, predictions, log) if job.looked_at else None
    timing = Timing(
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - began_cpu,
        train_seconds=trained - began,
        predict_seconds=predicted,
        rows_per_second=bench.log.num_rows / predicted if predicted > 0 else 0.0,
        peak_bytes=peak_bytes(),
        records=tuple(record.get(TIMING, {}) for record in log),
    )
    cost = cost_of(found.model)
    result = result_of(
        job,
        bench,
        metrics=metrics,
        reasons=reasons,
        best_step=found.best_step,
        steps=found.steps,
        stopped=found.stopped_why,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        weights=weights_of(found.model),
        records=tuple(without_timing(log)),
        evidence=evidence,
        timing=timing,
    )
    return result, predictions


def result_of(job: Job, bench: Bench, **found: Any) -> Result:
    """What a run leaves: done, and of the variant's tasks, unless ``found`` says otherwise.

    Args:
        job: The run.
        bench: What it had in common with others.
        found: Fields of ``Result``.
    """
    identity = job.identity(bench.prepared.fingerprint, bench.part)
    known: dict[str, Any] = {"tasks": job.variant.tasks, "status": "done", "identity": identity}
    return Result(role=job.variant.role, kind=job.variant.kind, seed=job.seed, **(known | found))


def _trained(job: Job, bench: Bench, work: Path, observer: Observer | None) -> TrainResult:
    with storage_errors("make the folder of a run", work.name):
        work.mkdir(parents=True, exist_ok=True)
    probe = EvidenceProbe(every=job.look_every) if job.looked_at else None
    return train(job.config, bench.prepared, work, resume="auto", observer=observer, probe=probe)


def _run_baseline(job: Job, bench: Bench) -> tuple[Result, Predictions]:
    """Boosted trees or constants, measured as networks are; tasks that have none say why."""
    began, began_cpu = time.monotonic(), time.process_time()
    made = baseline_of(job, bench)
    fitted, fitted_cpu = time.monotonic() - began, time.process_time() - began_cpu
    predictions = {task: own_N.astype(np.float32) for task, own_N in made.predictions.items()}
    metrics, reasons = measure(bench, job.config.schema_, predictions)
    result = result_of(
        job,
        bench,
        tasks=tuple(predictions),
        metrics=metrics,
        reasons=reasons,
        told={task: {**own.to_json(), "seconds": None} for task, own in made.told.items()},
        timing=Timing(
            seconds=time.monotonic() - began,
            cpu_seconds=fitted_cpu,
            train_seconds=fitted,
            predict_seconds=0.0,
            rows_per_second=0.0,
            peak_bytes=peak_bytes(),
        ),
    )
    return result, predictions


def baseline_of(job: Job, bench: Bench) -> BaselineRun:
    """What a job named ``constant`` or ``trees`` predicts of the part."""
    schema, prepared = job.config.schema_, bench.prepared
    if job.variant.name == "constant":
        return constants(schema, prepared.encoders, prepared.train, bench.log.num_rows)
    parts = {"train": prepared.train, "validation": prepared.validation, bench.part: bench.log}
    return boosted_trees(schema, prepared.encoders, parts, bench.part, seed=job.seed)


def _evidence(
    model: RankingModel,
    job: Job,
    bench: Bench,
    predictions: Predictions,
    log: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Without its timing, so that it is the same each time."""
    seen = observe(bench.truth, job.config.schema_, predictions)
    known = without_timing(log)
    return gather(model, job.config, bench.prepared, bench.part, seen, known).to_json()


@torch.inference_mode()
def predict(model: RankingModel, log: EncodedLog, tasks: tuple[str, ...]) -> Predictions:
    """(N,) by task, in the order of the log.

    Raises:
        DivergedError: A prediction is not finite.
    """
    found = {task: np.empty(log.num_rows, dtype=np.float32) for task in tasks}
    done = 0
    for batch in log.batches(batch_size=BATCH, seed=0, epoch=0, shuffle=False):
        predicted = model.predict(batch)
        for task in tasks:
            found[task][done : done + len(batch)] = predicted[task].numpy()
        done += len(batch)
    for task in tasks:
        if not np.isfinite(found[task]).all():
            raise DivergedError(f"predictions of task {task!r} are not finite")
    return found


def measure(
    bench: Bench, schema: Schema, predictions: Predictions
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Values by "task.metric", None where undefined, and why."""
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in predictions:
        task = schema.task(name)
        seen = observe(bench.truth, schema, {name: predictions[name]})
        wanted = measured(task, bench.metrics[name])
        for row in evaluate(seen, [task], metrics=wanted, resamples=0).rows:
            key = f"{name}.{row.metric}"
            values[key] = row.value if row.reason is None else None
            if row.reason is not None:
                reasons[key] = row.reason
    return values, reasons


def measured(task: Task, judged: str) -> list[str]:
    """The metrics of a task, what it is judged by first."""
    fitting = [name for name in REPORTED if task.kind in METRICS[name].kinds]
    return [*dict.fromkeys([judged, *fitting])]


def observe(
    truth: Truth,
    schema: Schema,
    predictions: Mapping[str, NDArray[Any]],
    slices: Mapping[str, NDArray[Any]] | None = None,
) -> Observations:
    """Predictions beside what was observed of their tasks; nothing is copied."""
    places = {name: schema.task_names.index(name) for name in predictions}
    return Observations(
        predictions=predictions,
        labels={name: truth.labels_NT[:, place] for name, place in places.items()},
        masks={name: truth.observed_NT[:, place] for name, place in places.items()},
        weights=truth.weight_N,
        keep_rates={name: rate for name, rate in schema.keep_rates.items() if name in places},
        groups=truth.groups,
        slices=slices or {},
    )


def weights_of(model: RankingModel) -> str:
    """SHA-256 of all weights and running statistics."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def without_timing(log: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The records of a run's log, as far as they are the same each time."""
    for record in log:
        yield {key: value for key, value in record.items() if key != TIMING}
