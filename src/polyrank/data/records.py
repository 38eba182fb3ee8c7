"""Encoded rows as fixed-width records, the form in which they are kept and shuffled.

One record holds everything of a row but the ids of its ragged features, so that a shuffle moves a
row with one copy. In order, 8 bytes each: groups (int64), labels (float64); then 4 bytes each:
table rows (int32), numbers, vectors, weight and extras (float32), lengths of the ragged features
(int32); then a byte a task for "observed", padded to 8. Shapes: B rows, V ids in all rows of a
ragged feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data.batch import Batch, Ragged
from polyrank.data.encoding.lists import ranges
from polyrank.data.layout import Layout

Records: TypeAlias = NDArray[np.uint8]
Values: TypeAlias = tuple[NDArray[np.int32], ...]
_WORD = 4


@dataclass(frozen=True)
class Rows:
    """Packed rows: records (B, ``row_bytes``), and the ids of each ragged feature in row order."""

    records: Records
    values: Values

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class RecordFormat:
    """Where everything stands in a record; it follows from the layout and the keys of the log."""

    layout: Layout
    groups: tuple[str, ...]
    """The keys with codes: "user", "request"."""

    @cached_property
    def _words(self) -> dict[str, slice]:
        """The place of each part, in words of 4 bytes."""
        vector_widths = [(f"vector {column.name}", column.dim) for column in self.layout.vectors]
        widths = [
            ("groups", 2 * len(self.groups)),
            ("labels", 2 * len(self.layout.tasks)),
            ("ids", len(self.layout.ids)),
            ("numerics", len(self.layout.numerics)),
            *vector_widths,
            ("weight", 1),
            ("extras", len(self.layout.extras)),
            ("lengths", len(self.layout.ragged)),
        ]
        stops = list(accumulate(width for _, width in widths))
        return {
            name: slice(stop - width, stop)
            for (name, width), stop in zip(widths, stops, strict=True)
        }

    @cached_property
    def row_bytes(self) -> int:
        """Length of a record, a multiple of 8."""
        size: int = _WORD * self._words["lengths"].stop + len(self.layout.tasks)
        return -(-size // 8) * 8

    @property
    def most_bytes(self) -> int:
        """Bytes of a row whose lists all have their greatest length."""
        return self.row_bytes + _WORD * sum(column.max_length for column in self.layout.ragged)

    def signature(self) -> dict[str, object]:
        """All that decides the form of a record, as JSON."""
        layout = self.layout
        return {
            "groups": list(self.groups),
            "ids": [column.name for column in layout.ids],
            "numerics": [column.name for column in layout.numerics],
            "ragged": [column.name for column in layout.ragged],
            "vectors": [[column.name, column.dim] for column in layout.vectors],
            "tasks": list(layout.tasks),
            "labels": "float64",
            "extras": list(layout.extras),
            "row_bytes": self.row_bytes,
        }

    def pack(self, batch: Batch) -> Rows:
        """The rows of a batch with labels."""
        assert batch.labels_BT is not None
        assert batch.observed_BT is not None
        assert batch.weight_B is not None
        records = np.zeros((len(batch), self.row_bytes), dtype=np.uint8)
        integers, floats = records.view(np.int32), records.view(np.float32)
        codes = records.view(np.int64)
        for place, role in enumerate(self.groups):
            codes[:, place] = (batch.groups or {})[role].numpy()
        integers[:, self._words["ids"]] = batch.ids_BF.numpy()
        floats[:, self._words["numerics"]] = batch.numeric_BN.numpy()
        for column in self.layout.vectors:
            floats[:, self._words[f"vector {column.name}"]] = batch.vectors[column.name].numpy()
        records.view(np.float64)[:, self._labels] = batch.labels_BT.numpy()
        floats[:, self._words["weight"]] = batch.weight_B.numpy()[:, None]
        for place, name in enumerate(self.layout.extras, self._words["extras"].start):
            floats[:, place] = batch.extras[name].numpy()
        ragged = [batch.ragged[column.name] for column in self.layout.ragged]
        for place, lists in enumerate(ragged):
            integers[:, self._words["lengths"]][:, place] = lists.lengths_B.numpy()
        records[:, self._observed] = batch.observed_BT.numpy()
        return Rows(records, tuple(lists.values_V.numpy().astype(np.int32) for lists in ragged))

    def unpack(self, rows: Rows) -> Batch:
        """The batch that was packed, in memory of its own."""
        words, records = self._words, rows.records
        integers = torch.from_numpy(records.view(np.int32))
        floats = torch.from_numpy(records.view(np.float32))
        codes = torch.from_numpy(records.view(np.int64))
        doubles = torch.from_numpy(records.view(np.float64))
        lengths = integers[:, words["lengths"]].to(torch.int64)
        return Batch(
            ids_BF=_own(integers[:, words["ids"]], torch.int64),
            numeric_BN=_own(floats[:, words["numerics"]], torch.float32),
            ragged={
                column.name: Ragged(
                    values_V=torch.from_numpy(values).to(torch.int64),
                    lengths_B=_own(lengths[:, place], torch.int64),
                )
                for place, (column, values) in enumerate(
                    zip(self.layout.ragged, rows.values, strict=True)
                )
            },
            vectors={
                column.name: _own(floats[:, words[f"vector {column.name}"]], torch.float32)
                for column in self.layout.vectors
            },
            labels_BT=_own(doubles[:, self._labels], torch.float64),
            observed_BT=_own(torch.from_numpy(records[:, self._observed]), torch.bool),
            weight_B=_own(floats[:, words["weight"].start], torch.float32),
            groups={
                role: _own(codes[:, place], torch.int64) for place, role in enumerate(self.groups)
            },
            extras={
                name: _own(floats[:, place], torch.float32)
                for place, name in enumerate(self.layout.extras, words["extras"].start)
            },
        )

    def codes(self, rows: Rows, role: str) -> NDArray[np.int64]:
        """Each row's code of a key, "user" or "request"."""
        return rows.records.view(np.int64)[:, self.groups.index(role)]

    def lengths(self, rows: Rows) -> list[NDArray[np.int64]]:
        """By ragged feature, the length of each row's list."""
        words = rows.records.view(np.int32)[:, self._words["lengths"]]
        return [words[:, place].astype(np.int64) for place in range(len(self.layout.ragged))]

    def take(self, rows: Rows, starts: Sequence[NDArray[np.int64]], at: Any) -> Rows:
        """The rows at the positions ``at``; ``starts`` as from ``starts_of``."""
        taken = Rows(rows.records.take(at, axis=0), ())
        if not starts:
            return taken
        values = tuple(
            ids.take(ranges(start[at], length))
            for ids, start, length in zip(rows.values, starts, self.lengths(taken), strict=True)
        )
        return Rows(taken.records, values)

    def starts_of(self, rows: Rows) -> list[NDArray[np.int64]]:
        """By ragged feature, where each row's list begins among the values."""
        return [np.cumsum(lengths) - lengths for lengths in self.lengths(rows)]

    def split(self, rows: Rows, at: int) -> tuple[Rows, Rows]:
        """The first ``at`` rows, and the rest; views."""
        head = Rows(rows.records[:at], ())
        cuts = [int(lengths.sum()) for lengths in self.lengths(head)]
        pairs = [(ids[:cut], ids[cut:]) for ids, cut in zip(rows.values, cuts, strict=True)]
        return (
            Rows(head.records, tuple(first for first, _ in pairs)),
            Rows(rows.records[at:], tuple(rest for _, rest in pairs)),
        )

    @property
    def _labels(self) -> slice:
        """In steps of 8 bytes."""
        return slice(len(self.groups), len(self.groups) + len(self.layout.tasks))

    @property
    def _observed(self) -> slice:
        start = _WORD * self._words["lengths"].stop
        return slice(start, start + len(self.layout.tasks))


def join(parts: Sequence[Rows]) -> Rows:
    """All rows of at least one part, in order."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.records for part in parts]),
        tuple(np.concatenate(ids) for ids in zip(*(part.values for part in parts), strict=True)),
    )


def _own(view: Tensor, dtype: torch.dtype) -> Tensor:
    """The values, contiguous and not sharing memory with the records."""
    return view.to(dtype, copy=True, memory_format=torch.contiguous_format)
