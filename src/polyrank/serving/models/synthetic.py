"""Rows to try a bundle on where none were recorded: made from what its encoders know.

The same bundle gives the same rows: known ids of each vocabulary in turn, an id never seen, missing
values where the schema takes them, and numbers around 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.data.encoding.columns import owner_of
from polyrank.schema import Bag, Categorical, Embedding, Numeric
from polyrank.schema import Sequence as History
from polyrank.scoring import Scorer

ROWS = 32
SHOWN = 64
"""Ids of a vocabulary that rows are made of."""
_UNSEEN: dict[str, int | str] = {"int": 2**62 + 1, "string": "never seen"}


def synthetic_rows(scorer: Scorer) -> pa.Table:
    """``ROWS`` rows with all that the scorer reads; side tables are not needed."""
    bundle = scorer.bundle
    known = _Known(*bundle.encoders.state())
    columns: dict[str, pa.Array] = {}
    for place, feature in enumerate(bundle.schema.features):
        if feature.side == "bias":
            continue
        if isinstance(feature, Categorical):
            columns[feature.column] = known.one(feature, place)
        elif isinstance(feature, Bag | History):
            columns[feature.column] = known.several(feature, place)
        elif isinstance(feature, Numeric):
            columns[feature.column] = pa.array(_numbers(place))
        else:
            columns[feature.column] = pa.array(_vectors(feature, place))
    for task in bundle.schema.durations:
        if task.length is not None:
            columns.setdefault(task.length, pa.array([30.0 + row for row in range(ROWS)]))
    for name in scorer.segment_columns:
        columns.setdefault(name, pa.nulls(ROWS, pa.string()))
    return pa.table(columns)


class _Known:
    """The first ids of each vocabulary."""

    def __init__(self, meta: Any, arrays: Any) -> None:
        self._kinds = {name: table["kind"] for name, table in meta["vocabularies"].items()}
        self._arrays = arrays

    def one(self, feature: Categorical, place: int) -> pa.Array:
        """An id a row; the first row has none, the second one that is not known."""
        owner = owner_of(feature)
        ids = self._ids(owner)
        picked = [ids[(row * (2 * place + 1)) % len(ids)] for row in range(ROWS)]
        return pa.array([None, self._unseen(owner), *picked[2:]], type=self._type(owner))

    def several(self, feature: Bag | History, place: int) -> pa.Array:
        """From none to 5 ids a row."""
        owner = owner_of(feature)
        ids = self._ids(owner)
        lists = [
            [ids[(row + place + step) % len(ids)] for step in range(row % 6)] for row in range(ROWS)
        ]
        if feature.separator is None:
            return pa.array(lists, type=pa.list_(self._type(owner)))
        return pa.array([feature.separator.join(map(str, entry)) for entry in lists])

    def _ids(self, owner: str) -> Sequence[int | str]:
        if f"{owner}.ids" in self._arrays:
            found = self._arrays[f"{owner}.ids"][:SHOWN].tolist()
        elif f"{owner}.offsets" in self._arrays:
            offsets = self._arrays[f"{owner}.offsets"][: SHOWN + 1].tolist()
            content = self._arrays[f"{owner}.bytes"][: offsets[-1]].tobytes()
            spans = pairwise(offsets)
            found = [content[begin:end].decode("utf-8", "replace") for begin, end in spans]
        else:
            found = []
        return found or [self._unseen(owner)]

    def _unseen(self, owner: str) -> int | str:
        return _UNSEEN[self._kinds[owner] or "string"]

    def _type(self, owner: str) -> pa.DataType:
        return pa.int64() if self._kinds[owner] == "int" else pa.string()


def _numbers(place: int) -> list[float]:
    return [((row * 7 + place) % 13 - 4) / 2.0 for row in range(ROWS)]


def _vectors(feature: Embedding, place: int) -> list[list[float]]:
    values_RD = np.cos(np.outer(np.arange(ROWS) + place + 1, np.arange(feature.dim) + 1))
    vectors: list[list[float]] = values_RD.round(6).tolist()
    return vectors
