"""Impressions that the log repeats."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polyrank.schema.features import Deduplicate

WHOLE_LOG = 10_000_000
"""Rows up to which repeats are looked for in the whole log."""
WINDOW = 1_000_000
"""Rows looked back beyond that."""


def guess_repeats(columns: list[Any], num_rows: int) -> tuple[Deduplicate, str] | None:
    """What to do about rows equal in all ``columns`` (plain arrays), and why; None: none is."""
    table = pa.Table.from_arrays(columns, [str(index) for index in range(len(columns))])
    repeated = table.num_rows - table.group_by(table.column_names).aggregate([]).num_rows
    if not repeated:
        return None
    why = f"{repeated:,} of {table.num_rows:,} rows of the sample repeat another one exactly"
    window = 0 if num_rows <= WHOLE_LOG else WINDOW
    return Deduplicate(window=window), why
