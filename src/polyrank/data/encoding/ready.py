"""Rows of a side table that are encoded once, and of which every request takes its own.

Shapes: R rows of the table and, behind them, that of an id it has no row of; N rows of a request;
V ids in all rows of a ragged feature; C columns of a batch that the table fills.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polyrank.data.batch import Batch, Ragged
from polyrank.data.encoding.lists import ranges
from polyrank.data.layout import Layout
from polyrank.schema import Schema


@dataclass(frozen=True)
class _Columns:
    """Columns of ``ids_BF`` or ``numeric_BN``."""

    sources: tuple[str, ...]
    """(C,) the column of the table that each is made of."""
    place_C: NDArray[np.int64]
    """Where they stand in a batch."""
    value_RC: NDArray[Any]

    def fill(self, tensor: torch.Tensor, row_N: NDArray[np.int64], names: Collection[str]) -> None:
        chosen = [at for at, source in enumerate(self.sources) if source in names]
        value_NC = self.value_RC[row_N]
        if len(chosen) < len(self.sources):
            value_NC = value_NC[:, chosen]
            tensor.numpy()[:, self.place_C[chosen]] = value_NC
        elif chosen:
            tensor.numpy()[:, self.place_C] = value_NC


@dataclass(frozen=True)
class _Lists:
    """A ragged feature."""

    source: str
    value_V: NDArray[np.int32]
    start_R: NDArray[np.int64]
    length_R: NDArray[np.int64]

    def take(self, row_N: NDArray[np.int64]) -> Ragged:
        length_N = self.length_R[row_N]
        value_V = self.value_V[ranges(self.start_R[row_N], length_N)]
        return Ragged(
            values_V=torch.from_numpy(value_V.astype(np.int64)),
            lengths_B=torch.from_numpy(length_N),
        )


class ReadyRows:
    """Encoded rows of a side table; nothing changes them.

    Ids are kept as int32, of which a table of embeddings has no more rows.

    Args:
        schema: What the columns mean.
        layout: Of the batches.
        fields: Names and types of the table's columns that are encoded.
        batches: Its rows, one batch after the other, and last a row of nulls.
    """

    def __init__(
        self, schema: Schema, layout: Layout, fields: pa.Schema, batches: Sequence[Batch]
    ) -> None:
        self.fields = fields
        self.columns = frozenset(fields.names)
        of = {feature.name: feature.column for feature in schema.features}
        of |= {f"{name}?missing": column for name, column in of.items()}
        ids = [of[column.name] for column in layout.ids]
        numerics = [of[column.name] for column in layout.numerics]
        self._ids = self._columns(ids, [batch.ids_BF for batch in batches], np.dtype(np.int32))
        self._numerics = self._columns(
            numerics, [batch.numeric_BN for batch in batches], np.dtype(np.float32)
        )
        self._ragged = {
            column.name: _lists(of[column.name], [batch.ragged[column.name] for batch in batches])
            for column in layout.ragged
            if of[column.name] in self.columns
        }
        self._vectors: Mapping[str, tuple[str, torch.Tensor]] = {
            column.name: (
                of[column.name],
                torch.cat([batch.vectors[column.name] for batch in batches]),
            )
            for column in layout.vectors
            if of[column.name] in self.columns
        }

    def fill(self, batch: Batch, row_N: NDArray[np.int64], names: Collection[str]) -> Batch:
        """A batch with the features of some columns taken from here.

        Args:
            batch: N rows, nobody else's: its tensors are written to.
            row_N: Of this table, -1 where it has none.
            names: The columns, all of ``columns`` or some.
        """
        self._ids.fill(batch.ids_BF, row_N, names)
        self._numerics.fill(batch.numeric_BN, row_N, names)
        ragged = {
            name: lists.take(row_N) for name, lists in self._ragged.items() if lists.source in names
        }
        vectors = {
            name: vector_RD[row_N]
            for name, (source, vector_RD) in self._vectors.items()
            if source in names
        }
        return replace(
            batch, ragged={**batch.ragged, **ragged}, vectors={**batch.vectors, **vectors}
        )

    def _columns(
        self, sources: Sequence[str], parts: Sequence[torch.Tensor], dtype: np.dtype[Any]
    ) -> _Columns:
        places = [place for place, source in enumerate(sources) if source in self.columns]
        return _Columns(
            sources=tuple(sources[place] for place in places),
            place_C=np.array(places, dtype=np.int64),
            value_RC=np.concatenate([part.numpy()[:, places].astype(dtype) for part in parts]),
        )


def _lists(source: str, parts: Sequence[Ragged]) -> _Lists:
    length_R = np.concatenate([part.lengths_B.numpy() for part in parts])
    return _Lists(
        source=source,
        value_V=np.concatenate([part.values_V.numpy().astype(np.int32) for part in parts]),
        start_R=np.cumsum(length_R) - length_R,
        length_R=length_R,
    )
