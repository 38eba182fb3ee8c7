"""What a run of an audit leaves, in a folder of its own, committed whole or not at all.

Everything but the timing is a function of configuration, log and seed. A failure is kept, too, so
that what diverges is not tried again; a run whose process died is, when the audit goes on.

Shapes: N rows of the part that verdicts are read on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polyrank.audit.variants import Kind
from polyrank.errors import ArtefactError, ConfigError, counted
from polyrank.storage import (
    Committed,
    FileSource,
    arrays_writer,
    commit_directory,
    jsonio,
    open_committed,
)
from polyrank.training.records import TIMING

RUNS = "runs"
"""In the audit's folder."""
DIED = "died"
"""The code of a run whose process ended before it."""

_KIND, _VERSION = "audit-run", 1
_RESULT, _RECORDS, _EVIDENCE = "result.json", "records.json", "evidence.json"
_TIMING, _PREDICTIONS = "timing.json", "predictions.safetensors"
_MOST_SHOWN = 8

Predictions = Mapping[str, NDArray[np.float32]]
"""(N,) by task, in the label's unit."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a run took; differs from one time to the next."""

    seconds: float
    """From its start to its result, waiting included."""
    cpu_seconds: float
    train_seconds: float
    """Of these, in training; a run that was resumed counts the rest alone."""
    predict_seconds: float
    """Of the part's rows, in batches."""
    rows_per_second: float
    """Of predicting them."""
    peak_bytes: int
    """Most memory that its process had held by then, of earlier runs, too."""
    records: tuple[Mapping[str, Any], ...] = ()
    """Of each record of the run's log."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run, finished or failed."""

    role: str
    kind: Kind
    tasks: tuple[str, ...]
    """Those that learned."""
    seed: int
    status: Literal["done", "failed"]
    identity: Mapping[str, Any]
    """All that decides it."""
    code: str | None = None
    """Of a failure: that of the error, or "died"."""
    reason: str | None = None
    """Of a failure, in a sentence."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """By "task.metric", of ``tasks`` on the part; None where undefined."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why, by "task.metric"."""
    best_step: int = 0
    steps: int = 0
    stopped: str = ""
    """``epochs`` or ``early``."""
    parameters: int = 0
    multiply_adds: int = 0
    """Of a row forward."""
    weights: str = ""
    """SHA-256 of the network with the best weights."""
    records: tuple[Mapping[str, Any], ...] = ()
    """Of the run's log, without their timing: losses, weights, cosines and gates by step."""
    timing: Timing | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    """Of a baseline: by task, how it was made."""
    evidence: Mapping[str, Any] | None = None
    """Of a joint run that was looked at: ``polyrank.audit.evidence.Evidence`` as JSON."""

    @property
    def key(self) -> tuple[str, int]:
        """Role and seed."""
        return self.role, self.seed

    @property
    def log(self) -> tuple[Mapping[str, Any], ...]:
        """The run's log, with its timing."""
        times = () if self.timing is None else self.timing.records
        return tuple(
            {**record, TIMING: time} for record, time in zip(self.records, times, strict=True)
        )

    def losses(self, task: str) -> tuple[tuple[int, float], ...]:
        """Steps and mean training losses since the one before."""
        found = ((record["step"], record["losses"].get(task)) for record in self._of("train"))
        return tuple((step, loss) for step, loss in found if loss is not None)

    def validation(self, metric: str) -> tuple[tuple[int, float], ...]:
        """Steps and values of "task.metric" on validation, where it is defined."""
        found = ((record["step"], record["metrics"].get(metric)) for record in self._of("eval"))
        return tuple((step, value) for step, value in found if value is not None)

    def _of(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (record for record in self.records if str(record["kind"]).startswith(kind))


class Store:
    """The results in an audit's folder.

    Args:
        folder: The audit's.
    """

    def __init__(self, folder: Path) -> None:
        self._runs = folder / RUNS

    def path(self, role: str, seed: int) -> Path:
        """Where a run's result is, or will be."""
        return self._runs / slug(role, seed)

    def write(self, result: Result, predictions: Predictions | None = None) -> None:
        """Commit a result, in place of a failure that may be there.

        Raises:
            StorageError: The disk refused.
        """
        tree = asdict(result)
        records, timing = tree.pop("records"), tree.pop("timing")
        evidence = tree.pop("evidence")
        files: dict[str, FileSource] = {
            _RESULT: jsonio.dumps(tree),
            _RECORDS: jsonio.dumps(records),
            _TIMING: jsonio.dumps(timing),
            _EVIDENCE: jsonio.dumps(evidence),
        }
        if predictions:
            files[_PREDICTIONS] = arrays_writer(predictions, finite=True)
        path = self.path(result.role, result.seed)
        commit_directory(path, files, kind=_KIND, format_version=_VERSION, replace=True)

    def read(self, role: str, seed: int) -> Result | None:
        """A run's result; None where there is none, or none that is intact."""
        try:
            with self._open(role, seed) as found:
                tree: Any = found.json(_RESULT)
                records: Any = found.json(_RECORDS)
                timing: Any = found.json(_TIMING)
                evidence: Any = found.json(_EVIDENCE)
        except ArtefactError:
            return None
        tree |= {"tasks": tuple(tree["tasks"]), "records": tuple(records)}
        if timing is not None:
            timing = Timing(**{**timing, "records": tuple(timing["records"])})
        return Result(**tree, timing=timing, evidence=evidence)

    def predictions(self, role: str, seed: int) -> Predictions:
        """Those of a finished run.

        Raises:
            ArtefactError: There is none, it failed, or it was altered.
        """
        with self._open(role, seed) as found:
            return found.arrays(_PREDICTIONS)

    def _open(self, role: str, seed: int) -> Committed:
        path = self.path(role, seed)
        return open_committed(path, kind=_KIND, supported_versions={_VERSION})


def slug(role: str, seed: int) -> str:
    """The folder of a run: what it is, as far as a file system takes it, and a hash of all of it.

    >>> slug("twin click", 3)
    '3-twin-click-9a88c78e'
    """
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", role)[:40].strip("-")
    return f"{seed}-{plain}-{hashlib.sha256(role.encode()).hexdigest()[:8]}"


def digest(identity: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of what decides a run."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def require_same(found: Iterable[tuple[Result, Mapping[str, Any]]]) -> None:
    """Refuse results that were made from something else than would be now.

    Args:
        found: Results with what decides them now.

    Raises:
        ConfigError: Every key that changed is named.
    """
    changed: dict[str, str] = {}
    for result, now in found:
        for key, old, new in differences(result.identity, now):
            changed.setdefault(key, f"{key} ({result.role}): {old!r} before, {new!r} now")
    if changed:
        shown = [*changed.values()][:_MOST_SHOWN]
        more = f"; and {len(changed) - len(shown)} more" if len(changed) > len(shown) else ""
        raise ConfigError(
            f"the audit cannot go on, since {counted(len(changed), 'thing')} changed: "
            f"{'; '.join(shown)}{more}",
            where="resume",
            hint="Restore them, or begin another audit with --out.",
        )


def require_measured(results: Iterable[Result], metrics: Mapping[str, str]) -> None:
    """Refuse finished runs that did not measure what tasks are judged by now.

    Args:
        results: They measured what tasks were judged by then, and a few metrics beside.
        metrics: By task, what it is judged by.

    Raises:
        ConfigError: Every metric that is not there.
    """
    wanted = (
        (f"{task}.{metrics[task]}", one)
        for one in results
        if one.status == "done"
        for task in one.tasks
    )
    missing = dict.fromkeys(name for name, one in wanted if name not in one.metrics)
    if missing:
        raise ConfigError(
            f"finished runs did not measure {', '.join(missing)}",
            where="metrics",
            hint="Judge by what they measured, or begin another audit with --out.",
        )


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values; a key that one side lacks has None there."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new
