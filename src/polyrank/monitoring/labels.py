"""Labels that arrive after the predictions were logged, put beside them.

Shapes: N rows of the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data import open_log
from polyrank.data.arrays import plain
from polyrank.errors import ConfigError, DataError, counted, suggest
from polyrank.schema import Schema
from polyrank.scoring.labels import SERVED


def join_labels(log: Any, labels: Any, schema: Schema) -> Iterator[pa.Table]:
    """The log with the label columns of another table, matched by request and item.

    A row of the log that the table lacks gets null labels: not observed, which is not zero. So the
    table needs a row for every impression whose outcome is known, not only for those with an event.

    Args:
        log: A path, glob, folder or Arrow-compatible table: what was served.
        labels: The same: what followed. It has ``keys.item``, and ``keys.request`` or
            ``served_request``, in types that can be compared with the log's.
        schema: Says which columns are keys and labels.

    Yields:
        The log's chunks, in its order, with every column of the schema's labels that ``labels`` has
        and the log lacks.

    Raises:
        ConfigError: The schema names no item.
        DataError: A key is missing, the table has no label that the log lacks, or an impression
            stands in it twice.
    """
    source, given = open_log(log), open_log(labels)
    mine, theirs = source.schema().names, given.schema().names
    keys = _keys(schema, mine, theirs)
    wanted = [name for name in schema.label_columns() if name in theirs and name not in mine]
    if not wanted:
        raise DataError(
            "has none of the labels that the log lacks",
            where="labels",
            hint=f"Labels: {', '.join(schema.label_columns())}.",
        )
    columns = [*keys, *wanted]
    typed = pa.schema([given.schema().field(name) for name in columns])
    table = pa.concat_tables(
        [typed.empty_table(), *(_as(chunk.table, typed) for chunk in given.chunks(columns))]
    )
    index = _index(table, keys)
    for chunk in source.chunks():
        whole = _as(chunk.table, source.schema())
        yield _with_labels(whole, table.select(wanted), index, keys)


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the columns and types of all parts; null where this one lacks a column."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _keys(schema: Schema, mine: list[str], theirs: list[str]) -> list[str]:
    item = schema.keys.item
    if item is None:
        raise ConfigError(
            "labels are matched by request and item, and the schema has no `keys.item`",
            hint="Name the column in the schema.",
        )
    for where, names in (("the log", mine), ("the table of labels", theirs)):
        if item not in names:
            raise DataError(f"{where} has no column {item!r}", hint=suggest(item, names))
    asked = [name for name in (schema.keys.request, SERVED) if name is not None]
    request = next((name for name in asked if name in mine and name in theirs), None)
    if request is None:
        raise DataError(
            f"the log and the table of labels do not both have {' or '.join(map(repr, asked))}",
            hint="Give each label the id of the request that its impression was answered in.",
        )
    return [request, item]


def _index(table: pa.Table, keys: list[str]) -> pl.DataFrame:
    """By key the row of the table.

    Raises:
        DataError: A key more than once.
    """
    index = _framed(table, keys).with_row_index("row").drop_nulls()
    repeated = index.select(pl.struct(keys).is_duplicated().sum()).item()
    if repeated:
        raise DataError(
            f"{counted(repeated, 'row')} of {' and '.join(map(repr, keys))} that another row has",
            where="labels",
            hint="Keep one row for each impression.",
        )
    return index


def _framed(table: pa.Table, keys: list[str]) -> pl.DataFrame:
    """Keys as text, so that ids of any type can be compared."""
    columns = {name: plain(table[name]).cast(pa.large_string()) for name in keys}
    frame = pl.from_arrow(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _with_labels(
    chunk: pa.Table, labels: pa.Table, index: pl.DataFrame, keys: list[str]
) -> pa.Table:
    found = _framed(chunk, keys).join(index, on=keys, how="left", maintain_order="left")
    row_N: NDArray[np.float64] = found["row"].cast(pl.Float64).to_numpy()
    absent_N = np.isnan(row_N)
    places = pa.array(np.where(absent_N, 0, row_N).astype(np.int64), mask=absent_N)
    if not labels.num_rows:
        places = pa.nulls(len(row_N), pa.int64())
    matched = labels.take(places)
    for name in labels.column_names:
        chunk = chunk.append_column(name, matched[name])
    return chunk
