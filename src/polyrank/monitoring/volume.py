"""How much was served, by what, and how well that went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

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
LEAST_MERGED = 100_000
"""Values that are held as they came before they are made distinct."""
Part = TypeVar("Part", NDArray[np.uint64], pl.DataFrame)


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


class Distinct(Generic[Part]):
    """The distinct values of parts, in time linear in them: merged whenever they have doubled.

    Args:
        merge: Parts to one, each value once.
    """

    def __init__(self, merge: Callable[[Sequence[Part]], Part]) -> None:
        self._merge: Callable[[Sequence[Part]], Part] = merge
        self._parts: list[Part] = []
        self._size = self._distinct = 0

    def add(self, part: Part) -> None:
        """Further values."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > 2 * self._distinct + LEAST_MERGED:
            self.all()

    def all(self) -> Part | None:
        """All values; null where no part was added."""
        if self._parts:
            self._parts = [self._merge(self._parts)]
            self._size = self._distinct = len(self._parts[0])
        return self._parts[0] if self._parts else None


def _told(time: Any) -> str:
    """To the second; whole numbers as they are."""
    return time.isoformat(" ", "seconds") if isinstance(time, datetime) else str(time)


class Counting:
    """Counts while a log passes.

    Args:
        user: The column of users.
        request: The column of requests, where there is no ``served_request``.
        time: The column of times, where there is no ``served_at``.
    """

    def __init__(self, user: str | None, request: str | None, time: str | None) -> None:
        self._columns = {"user": [user], "request": [REQUEST, request], "time": [AT, time]}
        self._hashes = {what: Distinct(_unique) for what in ("user", "request")}
        self._answered = Distinct(_unique_rows)
        self._bounds: list[Any] = []
        self.rows = 0

    def add(self, chunk: pa.Table) -> None:
        """Some rows."""
        self.rows += chunk.num_rows
        for what, hashes in self._hashes.items():
            column = self._column(what, chunk)
            if column is not None:
                new = hash_column(plain(chunk[column].drop_null()).cast(pa.large_string()))
                hashes.add(_unique([new]))
        time = self._column("time", chunk)
        if time is not None and chunk[time].null_count < chunk.num_rows:
            found = pc.min_max(chunk[time])
            self._bounds += [found["min"].as_py(), found["max"].as_py()]
        if DEGRADED in chunk.column_names and REQUEST in chunk.column_names:
            names = [name for name in (REQUEST, DEGRADED, *BY) if name in chunk.column_names]
            frame = pl.from_arrow(chunk.select(names))
            assert isinstance(frame, pl.DataFrame)
            self._answered.add(_unique_rows([frame]))

    def volume(self, refused: int) -> Volume:
        """What passed."""
        found = {what: hashes.all() for what, hashes in self._hashes.items()}
        sizes = {what: None if each is None else len(each) for what, each in found.items()}
        answered = self._answered.all()
        return Volume(
            rows=self.rows,
            refused=refused,
            requests=sizes["request"],
            users=sizes["user"],
            first=_told(min(self._bounds)) if self._bounds else None,
            last=_told(max(self._bounds)) if self._bounds else None,
            degraded=None if answered is None else _degraded(answered),
            versions=() if answered is None else _versions(answered),
        )

    def _column(self, what: str, chunk: pa.Table) -> str | None:
        names = (name for name in self._columns[what] if name is not None)
        return next((name for name in names if name in chunk.column_names), None)


def _unique(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.unique(np.concatenate(parts))


def _unique_rows(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts, how="diagonal_relaxed").unique()


def _degraded(answered: pl.DataFrame) -> dict[str, int] | None:
    """By what was lacking, requests; under "", all that lacked anything."""
    if not len(answered):
        return None
    lacking = answered.select(REQUEST, DEGRADED).drop_nulls().unique()
    counts = {"": lacking[REQUEST].n_unique()}
    each = lacking.with_columns(pl.col(DEGRADED).str.split(",")).explode(DEGRADED)
    for (what,), rows in sorted(each.group_by(DEGRADED)):
        counts[str(what)] = rows[REQUEST].n_unique()
    return counts


def _versions(answered: pl.DataFrame) -> tuple[Served, ...]:
    names = [name for name in BY if name in answered.columns]
    if not names:
        return ()
    counted = answered.group_by(names).agg(pl.col(REQUEST).n_unique().alias("requests"))
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
