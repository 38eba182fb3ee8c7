"""Predicting a log once, as far as it fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from polyrank.data import Source
from polyrank.errors import counted
from polyrank.evaluation import Observations
from polyrank.scoring.evaluation import observe
from polyrank.scoring.held_out import split_of
from polyrank.scoring.labels import labelled
from polyrank.scoring.order import Order
from polyrank.scoring.scorer import Scorer

MOST_ROWS = 5_000_000
"""Rows that are held in memory; the first ones count."""


class FirstRows(NamedTuple):
    """Rows of a log."""

    rows: Observations
    columns: pa.Table
    """What was asked for of the same rows, as the reader gives it."""
    on: str
    """Which rows they are, in words."""


def context_of(orders: Sequence[Order], given: Sequence[str]) -> tuple[str, ...]:
    """The context columns that orders read, each once.

    Raises:
        DataError: The first that is not ``given``.
    """
    for order in orders:
        order.check_columns(given)
    return tuple(dict.fromkeys(name for order in orders for name in order.columns))


def first_rows(
    scorer: Scorer,
    log: Any,
    source: Source,
    *,
    extra: Sequence[str],
    keep: Sequence[str],
    part: str,
    max_quarantine_share: float | None,
    most_rows: int,
) -> FirstRows:
    """Predictions and labels of the first rows.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: The log as it was given, for words.
        source: It, opened.
        extra: Columns to read beside those of the schema.
        keep: Columns to hold, of these or the schema's.
        part: The part of the log by the split of the bundle's run; "all": every row.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        most_rows: How many rows at most.

    Raises:
        DataError: The log is refused.
        ConfigError: An unknown part.
    """
    scorer = labelled(scorer, source.schema().names)
    reader = scorer.reader(
        source,
        extra=tuple(dict.fromkeys(extra)),
        labels=True,
        split=split_of(scorer.bundle, part),
        max_quarantine_share=max_quarantine_share,
    )
    held: list[pa.Table] = []
    chunks = reader.chunks(part)  # type: ignore[arg-type]  # ``split_of`` knows the parts
    kept = _first(chunks, tuple(dict.fromkeys(keep)), held, most_rows)
    rows = Observations.concatenate(list(observe(scorer, kept, ())))
    told = str(log) if isinstance(log, str | Path) else "a table"
    told = told if part == "all" else f"the {part} part of {told}"
    first = "the" if rows.num_rows < most_rows else "the first"
    on = f"{first} {counted(rows.num_rows, 'row')} of {told}"
    return FirstRows(rows, pa.concat_tables(held), on)


def _first(
    chunks: Iterator[pa.Table], names: Sequence[str], held: list[pa.Table], most_rows: int
) -> Iterator[pa.Table]:
    """Chunks until there are enough rows; the columns ``names`` of each are put into ``held``."""
    rows = 0
    for chunk in chunks:
        chunk = chunk.slice(0, most_rows - rows)
        rows += chunk.num_rows
        held.append(chunk.select(names))
        yield chunk
        if rows >= most_rows:
            return
