"""Separate logs for training, validation and test: nothing may come too early or twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.data.arrays import plain
from polyrank.data.canonical import canonical_table
from polyrank.data.dedup import Repetitions
from polyrank.data.faults import python_of
from polyrank.data.hashing import U64, hash_rows
from polyrank.data.preflight import inspect_source, refuse_all
from polyrank.data.roles import Use, Wanted, feature_uses, gather, key_uses, label_uses
from polyrank.data.sources.base import Source
from polyrank.errors import DataError
from polyrank.schema import Schema


def time_range(source: Source, column: str) -> tuple[Any, Any]:
    """The earliest and latest time of a log, as pyarrow scalars; null if it has none.

    Raises:
        DataError: The column is missing, or holds no times.
    """
    wanted = {column: Wanted(column, (Use("time", "key `time`"),))}
    source, columns, problems = inspect_source(source, wanted)
    refuse_all(problems)
    dtype = columns[column].dtype
    ends = [
        pc.min_max(canonical_table(chunk, columns)[0].column(column))
        for chunk in source.chunks([column])
    ]
    low = pc.min(pa.array([end["min"] for end in ends], dtype))
    high = pc.max(pa.array([end["max"] for end in ends], dtype))
    return low, high


def check_order(logs: Mapping[str, Source], schema: Schema) -> dict[str, tuple[Any, Any]]:
    """Refuse logs of which a later one begins before an earlier one ends.

    Args:
        logs: By name, in the order in which they should lie in time: train, validation, test.
        schema: Its key ``time`` names the column; without one nothing is checked.

    Returns:
        The first and last time of each log (int, date or datetime; None where it has none).

    Raises:
        DataError: An overlap, naming both times; equal times are none.
    """
    column = schema.keys.time
    if column is None:
        return {}
    ranges = {name: time_range(source, column) for name, source in logs.items()}
    kinds = {low.type for low, _ in ranges.values()}
    if len(kinds) > 1:
        raise DataError(
            f"column {column!r} is {' and '.join(map(str, kinds))} in {' and '.join(logs)}",
            hint="Give it one type in all logs.",
        )
    problems = [
        _overlap(one, ranges[one][1], other, ranges[other][0], column)
        for place, one in enumerate(ranges)
        for other in list(ranges)[place + 1 :]
        if pc.greater(ranges[one][1], ranges[other][0]).as_py()
    ]
    refuse_all(problems)
    return {name: (python_of(low), python_of(high)) for name, (low, high) in ranges.items()}


def check_disjoint(logs: Mapping[str, Source], schema: Schema) -> None:
    """Refuse logs that share rows, by the columns of ``deduplicate``; without it, nothing is done.

    Memory: 8 bytes for each row of all logs.

    Raises:
        DataError: Rows of a later log are in an earlier one.
    """
    if schema.deduplicate is None:
        return
    seen = Repetitions()
    problems = []
    for name, source in logs.items():
        own = Repetitions()
        shared = 0
        for hash_B in _hashes(source, schema, schema.deduplicate.columns):
            shared += int(seen.known(hash_B).sum())
            own.find(hash_B)
        seen.absorb(own)
        if shared:
            problems.append(
                DataError(
                    f"{shared} rows of the {name} log are in an earlier log, too",
                    where=source.parts()[0].origin,
                    hint="Take them out of one of the two: what is judged must not be learned.",
                )
            )
    refuse_all(problems)


def _hashes(source: Source, schema: Schema, names: Sequence[str]) -> Iterator[U64]:
    """The hash of each row over the named columns; without names, over all that are read."""
    if names:
        wanted = {name: Wanted(name, (Use("compared", "deduplicate"),)) for name in names}
    else:
        there = {name for part in source.parts() for name in part.schema.names}
        used = gather(schema, [feature_uses(schema), label_uses(schema), key_uses(schema)])
        wanted = {name: use for name, use in used.items() if name in there}
    source, columns, problems = inspect_source(source, wanted)
    refuse_all(problems)
    for chunk in source.chunks(list(columns)):
        table, _ = canonical_table(chunk, columns)
        yield hash_rows([plain(column) for column in table.columns])


def _overlap(one: str, end: Any, other: str, begin: Any, column: str) -> DataError:
    return DataError(
        f"the {one} log runs until {python_of(end)}, and the {other} log begins at "
        f"{python_of(begin)}",
        where=f"column {column!r}",
        hint=f"Every row of {one} has to come before {other}; cut one of them.",
    )
