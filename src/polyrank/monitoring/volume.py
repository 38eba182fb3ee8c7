"""How much was served, by what, and how well that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data.arrays import plain
from polyrank.data.hashing import hash_column
from polyrank.scoring.labels import SERVED

REQUEST, AT, DEGRADED = SERVED, "served_at", "served_degraded"
BY = ("served_model", "served_version", "served_value_version", "served_profile")


@dataclass(frozen=True, kw_only=True)
class Served:
    """Requests that one version of a model answered with one version of a value model."""

    model: str | None
    version: str | None
    value_version: int | None
    profile: str | None
    requests: int


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What a log holds."""

    rows: int
    refused: int
    """Rows with values that no model would read; they are left out of everything else."""
    requests: int | None
    """Null: the log does not say."""
    users: int | None
    first: str | None
    last: str | None
    degraded: Mapping[str, int] | None
    """By what was lacking, how many requests; null: this is no prediction log."""
    versions: tuple[Served, ...] = ()
    """The most requests first."""

    @property
    def degraded_share(self) -> float:
        """Of requests; NaN where it is not known."""
        if self.degraded is None or not self.requests:
            return float("nan")
        return self.degraded.get("", 0) / self.requests


class Counting:
    """Counts while a log passes.

    Args:
        user: The column of users.
        request: The column of requests, where there is no ``served_request``.
        time: The column of times, where there is no ``served_at``.
    """

    def __init__(self, user: str | None, request: str | None, time: str | None) -> None:
        self._columns = {"user": [user], "request": [REQUEST, request], "time": [AT, time]}
        self._hashes: dict[str, NDArray[np.uint64]] = {}
        self._answered = pl.DataFrame()
        self._bounds: list[Any] = []
        self.rows = 0

    def add(self, chunk: pa.Table) -> None:
        """Some rows."""
        self.rows += chunk.num_rows
        for what in ("user", "request"):
            column = self._column(what, chunk)
            if column is not None:
                seen = self._hashes.get(what, np.zeros(0, dtype=np.uint64))
                new = hash_column(plain(chunk[column].drop_null()).cast(pa.large_string()))
                self._hashes[what] = np.unique(np.concatenate([seen, new]))
        time = self._column("time", chunk)
        if time is not None and chunk[time].null_count < chunk.num_rows:
            found = pc.min_max(chunk[time])
            self._bounds += [found["min"].as_py(), found["max"].as_py()]
        if DEGRADED in chunk.column_names and REQUEST in chunk.column_names:
            names = [name for name in (REQUEST, DEGRADED, *BY) if name in chunk.column_names]
            frame = pl.from_arrow(chunk.select(names))
            assert isinstance(frame, pl.DataFrame)
            both = [self._answered, frame] if len(self._answered) else [frame]
            self._answered = pl.concat(both, how="diagonal_relaxed").unique()

    def volume(self, refused: int) -> Volume:
        """What passed."""
        sizes = {what: len(hashes) for what, hashes in self._hashes.items()}
        return Volume(
            rows=self.rows,
            refused=refused,
            requests=sizes.get("request"),
            users=sizes.get("user"),
            first=str(min(self._bounds)) if self._bounds else None,
            last=str(max(self._bounds)) if self._bounds else None,
            degraded=self._degraded(),
            versions=self._versions(),
        )

    def _column(self, what: str, chunk: pa.Table) -> str | None:
        names = (name for name in self._columns[what] if name is not None)
        return next((name for name in names if name in chunk.column_names), None)

    def _degraded(self) -> dict[str, int] | None:
        """By what was lacking, requests; under "", all that lacked anything."""
        if not len(self._answered):
            return None
        lacking = self._answered.select(REQUEST, DEGRADED).drop_nulls().unique()
        counts = {"": lacking[REQUEST].n_unique()}
        each = lacking.with_columns(pl.col(DEGRADED).str.split(",")).explode(DEGRADED)
        for (what,), rows in sorted(each.group_by(DEGRADED)):
            counts[str(what)] = rows[REQUEST].n_unique()
        return counts

    def _versions(self) -> tuple[Served, ...]:
        names = [name for name in BY if name in self._answered.columns]
        if not names:
            return ()
        counted = self._answered.group_by(names).agg(pl.col(REQUEST).n_unique().alias("requests"))
        rows = sorted(counted.to_dicts(), key=lambda row: (-row["requests"], str(row)))
        return tuple(
            Served(
                model=row.get(BY[0]),
                version=row.get(BY[1]),
                value_version=row.get(BY[2]),
                profile=row.get(BY[3]),
                requests=row["requests"],
            )
            for row in rows
        )
