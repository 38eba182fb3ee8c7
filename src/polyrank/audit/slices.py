"""Where harm may hide: how active a row's user is, how old and how popular its item.

Counted on the training part. Shapes: N rows of the part that verdicts are read on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.errors import ConfigError, counted
from polyrank.evaluation import MAX_SLICE_VALUES
from polyrank.schema import Schema

ACTIVITY, POPULARITY, AGE = "user activity", "item popularity", "item age"
_NONE = "none in training"
_ROWS, _FIRST = "rows", "first"
_MOST_PENDING = 32


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A column of classes."""

    codes_N: NDArray[np.int32]
    names: tuple[str, ...]

    def values(self) -> NDArray[Any]:
        """(N,) the name of each row's class."""
        return np.array(self.names, dtype=object)[self.codes_N]


def slices_of(
    schema: Schema, train: Iterable[pa.Table], part: Iterable[pa.Table], columns: Sequence[str]
) -> dict[str, Slice]:
    """The classes of a part's rows, as far as the log has the keys.

    Args:
        schema: With the keys.
        train: The training part, as a ``Reader`` gives it.
        part: The rows to be classed.
        columns: Further columns of single values; each is as it stands.

    Raises:
        ConfigError: A column has too many values.
    """
    keys = schema.keys.named()
    wanted = {str(role): keys[role] for role in ("user", "item") if role in keys}
    time = keys.get("time") if "item" in wanted else None
    read = [*dict.fromkeys([*wanted.values(), *([time] if time else []), *columns])]
    seen = _counted(train, wanted, time)
    rows = pa.concat_tables([table.select(read) for table in part])
    found = {name: _as_it_stands(rows[name], name) for name in columns}
    for role, name in (("user", ACTIVITY), ("item", POPULARITY)):
        if role in wanted:
            found[name] = _by_rows(rows[wanted[role]], seen[role])
    if time is not None:
        found[AGE] = _by_age(rows[wanted["item"]], rows[time], seen["item"])
    return found


def _counted(
    train: Iterable[pa.Table], wanted: Mapping[str, str], time: str | None
) -> dict[str, pa.Table]:
    """By key, each value with its rows and, of an item, the first time."""
    pending: dict[str, list[pa.Table]] = {role: [] for role in wanted}
    for table in train if wanted else ():
        for role, column in wanted.items():
            ones = pa.array(np.ones(table.num_rows, dtype=np.int64))
            own = pa.table([ones, table[column], *_times(table, role, time)], _names(role, time))
            pending[role].append(_merged([own], role, time))
            if len(pending[role]) > _MOST_PENDING:
                pending[role] = [_merged(pending[role], role, time)]
    return {role: _merged(tables, role, time) for role, tables in pending.items()}


def _times(table: pa.Table, role: str, time: str | None) -> Iterator[Any]:
    if role == "item" and time is not None:
        yield _whole(table[time])


def _names(role: str, time: str | None) -> list[str]:
    return [_ROWS, "key", *([_FIRST] if role == "item" and time is not None else [])]


def _merged(tables: Sequence[pa.Table], role: str, time: str | None) -> pa.Table:
    grouped = pa.concat_tables(tables).group_by("key")
    sums = [(_ROWS, "sum"), *((name, "min") for name in _names(role, time)[2:])]
    merged = grouped.aggregate(sums)
    return pa.table(
        [merged[f"{_ROWS}_sum"], merged["key"], *(merged[f"{name}_min"] for name, _ in sums[1:])],
        names=_names(role, time),
    )


def _whole(column: Any) -> Any:
    """Times as whole numbers, in their own unit."""
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).cast(pa.int64())
    return column.cast(pa.int64())


def _looked_up(column: Any, seen: pa.Table, name: str) -> NDArray[np.float64]:
    """(N,) what is known of each row's key; NaN where training has none."""
    place = pc.index_in(column.combine_chunks(), value_set=seen["key"].combine_chunks())
    found = seen[name].combine_chunks().take(place)
    return np.asarray(pc.fill_null(found.cast(pa.float64()), float("nan")))


def _by_rows(column: Any, seen: pa.Table) -> Slice:
    rows_N = _looked_up(column, seen, _ROWS)
    codes_N = _thirds(rows_N)
    names = [_NONE]
    for code in range(1, 4):
        own = rows_N[codes_N == code]
        names.append(_told(own) if len(own) else f"third {code}")
    return Slice(codes_N=codes_N, names=tuple(names))


def _told(rows_K: NDArray[np.float64]) -> str:
    least, most = int(rows_K.min()), int(rows_K.max())
    return counted(most, "row") if least == most else f"{least:,} to {most:,} rows"


def _by_age(column: Any, time: Any, seen: pa.Table) -> Slice:
    now_N = np.asarray(_whole(time).cast(pa.float64()))
    age_N = now_N - _looked_up(column, seen, _FIRST)
    names = (_NONE, "youngest third", "middle third", "oldest third")
    return Slice(codes_N=_thirds(age_N), names=names)


def _thirds(values_N: NDArray[np.float64]) -> NDArray[np.int32]:
    """0 where undefined, else 1 to 3."""
    known = ~np.isnan(values_N)
    if not known.any():
        return np.zeros(len(values_N), dtype=np.int32)
    bounds = np.quantile(values_N[known], [1 / 3, 2 / 3])
    codes_N = 1 + np.searchsorted(bounds, np.where(known, values_N, 0.0))
    return np.where(known, codes_N, 0).astype(np.int32)


def _as_it_stands(column: Any, name: str) -> Slice:
    encoded = pc.dictionary_encode(pc.fill_null(column.cast(pa.large_string()), "null"))
    encoded = encoded.combine_chunks()
    names = tuple(encoded.dictionary.to_pylist())
    if len(names) > MAX_SLICE_VALUES:
        raise ConfigError(
            f"column {name!r} has {len(names):,} values, at most {MAX_SLICE_VALUES:,} make slices",
            where="slices",
            hint="Cut it into ranges or groups first, or leave it out.",
        )
    return Slice(codes_N=np.asarray(encoded.indices, dtype=np.int32), names=names)
