"""Blocks of rows to chunks of a wanted size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from polyrank.simulation.log import Rows


def rechunk(blocks: Iterable[Rows], chunk_rows: int) -> Iterator[Rows]:
    """The same rows in the same order, ``chunk_rows`` at a time; the last chunk may be shorter."""
    held: list[Rows] = []
    num_held = 0
    for rows in blocks:
        held.append(rows)
        num_held += _length(rows)
        if num_held < chunk_rows:
            continue
        merged = _merge(held)
        num_full = num_held - num_held % chunk_rows
        for start in range(0, num_full, chunk_rows):
            yield _cut(merged, start, start + chunk_rows)
        held, num_held = [_cut(merged, num_full, num_held)], num_held - num_full
    if num_held:
        yield _merge(held)


def _length(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _merge(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _cut(rows: Rows, start: int, stop: int) -> Rows:
    return {name: values[start:stop] for name, values in rows.items()}
