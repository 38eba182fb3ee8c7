"""Columns of a log that no schema tells of, counted by what their types are."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from polyrank.data.arrays import floats_of, is_list, is_text, plain
from polyrank.scoring import PREFIX, SCORE
from polyrank.scoring.profiles.values import Values, categories, lengths, numbers

SERVED = "served_"


def columns_by_type(table: pa.Table) -> Iterator[Values]:
    """Numbers as numbers, text and flags as categories, lists by their lengths.

    What a prediction log adds (``served_...``, predictions, score) and columns of other types are
    left out.
    """
    for name in table.column_names:
        if name.startswith((SERVED, PREFIX)) or name == SCORE:
            continue
        array = plain(table[name])
        if pa.types.is_boolean(array.type) or is_text(array.type):
            yield categories(name, array)
        elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            yield numbers(name, "input", floats_of(array))
        elif is_list(array.type):
            yield lengths(name, array)
