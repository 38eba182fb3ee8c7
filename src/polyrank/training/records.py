"""What a run tells whoever watches: typed records, and the protocol of a watcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

TIMING = "timing"
"""The one key of a record that differs between a run and its repetition."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is known before the first step."""

    tasks: tuple[str, ...]
    rows_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    start_step: int
    """Steps already done; above 0 the run resumes."""
    device: str
    precision: str
    world: int
    """Number of processes."""


@dataclass(frozen=True, kw_only=True)
class TrainRecord:
    """The steps since the last record of this kind."""

    kind: ClassVar[str] = "train"
    step: int
    """Steps done so far."""
    epoch: int
    """Of the last of these steps, from 1."""
    rows: int
    """Rows of these steps, over all processes."""
    losses: Mapping[str, float | None]
    """By task: mean over the observed labels of these steps; None where there were none."""
    learning_rate: float
    table_learning_rate: float
    gradient_norm: float | None
    """Global norm before clipping, at the last applied step; None if there was none yet."""
    skipped: int
    """Steps skipped since the run began: no label, or a gradient that was not finite."""
    gates: Mapping[str, Mapping[str, Any]]
    """By task, of the last step's rows: ``mean`` weight of each expert and mean ``entropy`` in
    nats, where the sharing has gates."""
    balance: Mapping[str, Mapping[str, float]]
    """Means over these steps: ``weights`` of the losses by task; and where gradients were looked at
    ``gradient_norms`` by task, ``cosines`` between two ("a/b"), and ``conflict_rates``, the share
    of steps whose cosine was below 0."""
    timing: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The validation split after ``step``."""

    kind: ClassVar[str] = "evaluation"
    step: int
    epoch: int
    score: float | None
    """What is selected by; None if nothing in it is defined."""
    best: bool
    """Whether no earlier evaluation was as good."""
    metrics: Mapping[str, float | None]
    """By "task.metric"; None where undefined."""
    reasons: Mapping[str, str]
    """Why, by "task.metric"."""
    timing: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NoticeRecord:
    """Something a reader should know that does not stop the run."""

    kind: ClassVar[str] = "notice"
    step: int
    message: str
    timing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """What a ``Probe`` found before a step."""

    kind: ClassVar[str] = "probe"
    step: int
    """Of the step that followed, from 1."""
    found: Mapping[str, Any]
    """Plain JSON values."""
    timing: Mapping[str, Any]
    """``seconds`` that the look took."""


Record = TrainRecord | EvaluationRecord | NoticeRecord | ProbeRecord


def as_json(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, its kind first."""
    return {"kind": record.kind, **asdict(record)}


class Observer(Protocol):
    """Watches a run; only the first process calls it."""

    def begin(self, plan: RunPlan) -> None:
        """The run starts."""

    def advance(self, step: int, rows: int) -> None:
        """A step was done with ``rows`` rows; called at each, so it must cost nothing much."""

    def record(self, record: Record) -> None:
        """Something to write down."""

    def close(self) -> None:
        """The run ended, one way or another."""


class Observers:
    """Several observers as one, called in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def begin(self, plan: RunPlan) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.begin(plan)

    def advance(self, step: int, rows: int) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.advance(step, rows)

    def record(self, record: Record) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.record(record)

    def close(self) -> None:
        """Passed on to each."""
        for observer in self._observers:
            observer.close()
