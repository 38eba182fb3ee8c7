"""A log on which any weights can be tried: predictions computed once, labels beside them.

Shapes: N rows, G lists.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import DataError
from polyrank.evaluation import NO_GROUP, Observations
from polyrank.fusion.candidates import Candidates
from polyrank.schema import Schema

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Replayed:
    """Predictions and labels of the same rows."""

    schema: Schema
    rows: Observations
    candidates: Candidates
    """What a value model sees of the rows: each prediction times its sample space's."""
    on: str
    """Which rows these are, in words."""

    def __len__(self) -> int:
        return self.rows.num_rows

    def outcome(self, task: str) -> Floats:
        """(N,) the label, 0 where a task that it lies within was observed to be 0, NaN where it was
        not observed."""
        return outcome(self.schema, self.rows, task)

    def groups(self, key: str) -> Ints:
        """(N,) the number of each row's user or request; -1: it has none.

        Raises:
            DataError: The log has no such key.
        """
        if key not in self.rows.groups:
            raise DataError(
                f"the log has no {key}s: its schema declares no `keys.{key}`",
                where="tuning",
                hint="Declare the key, or take objectives that do not need it.",
            )
        return np.asarray(self.rows.groups[key], dtype=np.int64)

    @property
    def counted_N(self) -> NDArray[np.bool_]:
        """(N,) whether a row has a weight above 0."""
        if self.rows.weights is None:
            return np.ones(len(self), dtype=np.bool_)
        return np.asarray(self.rows.weights > 0)

    @cached_property
    def num_requests(self) -> int:
        """How many there are; 0: the log has no requests."""
        if "request" not in self.rows.groups:
            return 0
        code_N = self.rows.groups["request"]
        return len(np.unique(code_N[code_N != NO_GROUP]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that a search reads but the context."""
        rows, digest = self.rows, hashlib.sha256()
        columns = {"weights": rows.weights} if rows.weights is not None else {}
        for kind, found in (
            ("prediction", self.candidates.predictions),
            ("label", rows.labels),
            ("mask", rows.masks),
            ("group", rows.groups),
            ("row", columns),
        ):
            for name, value_N in sorted(found.items()):
                digest.update(f"{kind} {name} {value_N.dtype} {value_N.shape}\n".encode())
                if kind == "label":
                    value_N = np.where(rows.masks[name], value_N, 0)
                digest.update(np.ascontiguousarray(value_N).tobytes())
        return digest.hexdigest()


def outcome(schema: Schema, rows: Observations, task: str) -> Floats:
    """As ``Replayed.outcome``."""
    label_N = np.where(rows.masks[task], rows.labels[task], np.nan)
    for parent in schema.space(task):
        label_N[rows.masks[parent] & (rows.labels[parent] == 0)] = 0.0
    return label_N
