"""The rows that verdicts are read on: labels, masks, weights, groups and slices, kept once.

Shapes: N rows of the part, T tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyrank.audit.jobs import observe
from polyrank.audit.results import Result, Store
from polyrank.audit.slices import Slice
from polyrank.errors import ArtefactError, DataError
from polyrank.evaluation import Observations
from polyrank.schema import Schema
from polyrank.storage import arrays_writer, commit_directory, jsonio, open_committed
from polyrank.training.validation import Truth

ROWS = "rows"
"""In the audit's folder."""
_KIND, _VERSION = "audit-rows", 1
_ARRAYS, _NAMES = "rows.safetensors", "slices.json"


@dataclass(frozen=True, kw_only=True)
class PartRows:
    """What was observed in the part, and the classes that its rows fall into."""

    truth: Truth
    slices: Mapping[str, Slice]


def write_rows(folder: Path, rows: PartRows, key: str) -> None:
    """Commit them under a key of what they were made from.

    Raises:
        StorageError: The disk refused.
    """
    truth = rows.truth
    arrays = {
        "labels": truth.labels_NT,
        "observed": truth.observed_NT,
        "weight": truth.weight_N,
        **{f"group {name}": codes for name, codes in truth.groups.items()},
        **{f"slice {name}": own.codes_N for name, own in rows.slices.items()},
    }
    names = {name: list(own.names) for name, own in rows.slices.items()}
    commit_directory(
        folder / ROWS,
        {_ARRAYS: arrays_writer(arrays), _NAMES: jsonio.dumps(names)},
        kind=_KIND,
        format_version=_VERSION,
        extra={"key": key},
        replace=True,
    )


def read_rows(folder: Path, schema: Schema, key: str | None = None) -> PartRows | None:
    """What ``write_rows`` left; None where there is none, or it has another key."""
    try:
        with open_committed(folder / ROWS, kind=_KIND, supported_versions={_VERSION}) as found:
            if key not in (None, found.manifest.extra["key"]):
                return None
            arrays: dict[str, Any] = found.arrays(_ARRAYS)
            names: Any = found.json(_NAMES)
    except ArtefactError:
        return None
    truth = Truth(
        schema=schema,
        labels_NT=arrays["labels"],
        observed_NT=arrays["observed"],
        weight_N=arrays["weight"],
        groups={name: arrays[f"group {name}"] for name in _named(arrays, "group ")},
    )
    slices = {
        name: Slice(codes_N=arrays[f"slice {name}"], names=tuple(own))
        for name, own in names.items()
    }
    return PartRows(truth=truth, slices=slices)


def _named(arrays: Collection[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in arrays if name.startswith(prefix)]


class Loaded(Mapping[tuple[str, int], Observations]):
    """By role and seed, what a finished run predicts beside what was observed.

    Predictions are read from disk when they are asked for and not kept; labels, masks, groups and
    slices are there once for all.

    Args:
        folder: The audit's.
        schema: Of the run.
        results: The runs; those that failed are left out.
    """

    def __init__(self, folder: Path, schema: Schema, results: Collection[Result]) -> None:
        rows = read_rows(folder, schema)
        if rows is None:
            raise ArtefactError(
                "the rows of the audit are not there", where=ROWS, hint="Run the audit again."
            )
        self._store, self._schema, self._truth = Store(folder), schema, rows.truth
        self._keys = [result.key for result in results if result.status == "done"]
        self._slices = {name: own.values() for name, own in rows.slices.items()}

    def __getitem__(self, key: tuple[str, int]) -> Observations:
        """Of the tasks that learned in that run.

        Raises:
            KeyError: There is no such run, or it failed.
            ArtefactError: What it left was altered.
        """
        if key not in self._keys:
            raise KeyError(key)
        predictions = self._store.predictions(*key)
        return observe(self._truth, self._schema, predictions, self._slices)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def load(folder: Path, schema: Schema, results: Collection[Result]) -> Loaded:
    """The observations of finished runs, by role and seed."""
    return Loaded(folder, schema, results)


def require_labels(truth: Truth, schema: Schema, part: str) -> None:
    """Refuse a part that says nothing of a task, before anything is trained.

    Raises:
        DataError: Every task without labels, or without both kinds of them.
    """
    faults = [
        DataError(f"{part}: {fault}", where=f"task {task.name!r}", hint=_HINT)
        for column, task in enumerate(schema.tasks)
        if (fault := _fault(task.kind, truth, column)) is not None
    ]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise DataError(f"{len(faults)} tasks cannot be judged on {part}", problems=tuple(faults))


_HINT = (
    "Hold out more rows (`data.split`), judge on another part (--part), or leave the task out of "
    "the schema."
)


def _fault(kind: str, truth: Truth, column: int) -> str | None:
    counted = truth.observed_NT[:, column] & (truth.weight_N > 0)
    labels = truth.labels_NT[counted, column]
    if not len(labels):
        return "no label was observed"
    if kind == "binary" and not np.any(labels == 1):
        return f"none of {len(labels):,} labels is positive"
    if kind == "binary" and np.all(labels == 1):
        return f"all of {len(labels):,} labels are positive"
    return None
