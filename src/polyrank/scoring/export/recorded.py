"""The first rows of a log, encoded: what engines are compared on."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.data import REFUSED, Batch, open_log
from polyrank.errors import DataError
from polyrank.scoring.scorer import Scorer


def recorded(scorer: Scorer, log: Any, most_rows: int) -> Batch:
    """Up to so many rows, those that are refused left out.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: A path, glob, folder or Arrow-compatible table; no labels are read.
        most_rows: At least one.

    Raises:
        DataError: The log is refused, or has no row that is not.
    """
    good, count = [], 0
    for chunk in scorer.reader(open_log(log), extra=(), labels=False).chunks("all"):
        kept = chunk.filter(pc.invert(chunk[REFUSED])).slice(0, most_rows - count)
        good.append(kept)
        count += kept.num_rows
        if count >= most_rows:
            break
    if not count:
        raise DataError("has no row to compare on", where=str(log), hint="Give another log.")
    table = pa.concat_tables(good)
    return scorer.bundle.encoders.encode(table, labels=False, lengths=scorer.timed)
