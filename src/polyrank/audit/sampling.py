"""A share of a log's users, whole: the same ones in every part, whatever else is in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from polyrank.data.hashing import hash_column, mix, seed_of, unit_interval
from polyrank.data.sources.base import Chunk, Need, Part, Source
from polyrank.schema import Schema
from polyrank.training import Sources

_SALT = "audit"


@dataclass(frozen=True)
class Sampled(Source):
    """A log of which only some rows are handed on.

    Args:
        source: The log.
        column: By whose hash rows stay; None: by their place.
        share: Of its values that stay, about.
    """

    source: Source
    column: str | None
    share: float

    def schema(self) -> pa.Schema:
        """That of the log."""
        return self.source.schema()

    def parts(self) -> Sequence[Part]:
        """Those of the log, of a number of rows that only reading tells."""
        return [replace(part, num_rows=None) for part in self.source.parts()]

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """The rows that stay; faults keep the place that they have in the log."""
        for chunk in self.source.chunks(columns):
            keep = self._keep(chunk)
            yield replace(chunk, table=chunk.table.filter(pa.array(keep)))

    def fingerprint(self) -> str:
        """That of the log, the column and the share."""
        text = f"{self.source.fingerprint()} {self.column} {self.share}"
        return hashlib.sha256(text.encode()).hexdigest()

    def typed(self, needs: Mapping[str, Need]) -> Source:
        """The same share of the log with its columns read so."""
        return replace(self, source=self.source.typed(needs))

    def each(self) -> Sequence[Source]:
        """The same share of each part."""
        return [replace(self, source=part) for part in self.source.each()]

    def _keep(self, chunk: Chunk) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        seed = seed_of(_SALT)
        if self.column is None:
            places = np.arange(chunk.table.num_rows, dtype=np.uint64) + np.uint64(chunk.first_row)
            hashed = mix(places ^ seed)
        else:
            hashed = hash_column(chunk.table[self.column].combine_chunks(), seed)
        kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = unit_interval(hashed) < self.share
        return kept


def sampled(sources: Sources, schema: Schema, share: float) -> Sources:
    """The sources with a share of users, or of requests or rows where the log does not know."""
    keys = schema.keys.named()
    column = keys.get("user", keys.get("request"))
    logs = {name: Sampled(log, column, share) for name, log in sources.logs.items()}
    return Sources(logs=logs, tables=sources.tables, root=sources.root)


def unit_of(schema: Schema) -> str:
    """What is sampled, and drawn for intervals: users, else requests, else rows."""
    keys = schema.keys.named()
    return "users" if "user" in keys else "requests" if "request" in keys else "rows"
