"""The log of the training-speed benchmark: Zipf ids, numbers, two binary labels, one number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_IDS, NUM_NUMERICS, TABLE_ROWS = 26, 13, 3_000_000
BINARY, REGRESSION = ("click", "like"), "watch"
CHUNK = 250_000


def cardinalities() -> list[int]:
    """How many ids each of the 26 columns has; 3 million in all, from 9 to about a million."""
    sizes = np.geomspace(9, 1.0, NUM_IDS)[::-1] ** 5.3
    return [int(size) for size in np.maximum(9, sizes / sizes.sum() * TABLE_ROWS)]


def write(path: Path, num_rows: int, seed: int = 0) -> None:
    """Write the log as one Parquet file. Labels depend on a few ids and numbers, so they train."""
    rng = np.random.default_rng(seed)
    sizes = cardinalities()
    effects = [rng.normal(0, 0.5, size).astype(np.float32) for size in sizes]
    writer: pq.ParquetWriter | None = None
    for start in range(0, num_rows, CHUNK):
        table = _chunk(rng, sizes, effects, min(CHUNK, num_rows - start))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _chunk(
    rng: np.random.Generator, sizes: list[int], effects: list[np.ndarray], rows: int
) -> pa.Table:
    # A Zipf draw by inverse: rank ~ size ** u has density 1 / rank.
    ids = [(size ** rng.random(rows)).astype(np.int64) - 1 for size in sizes]
    numerics = rng.normal(size=(NUM_NUMERICS, rows)).astype(np.float32)
    logit = sum(effect[column] for effect, column in zip(effects, ids, strict=True)) / 2
    logit = logit + 0.3 * numerics[:4].sum(0)
    columns: dict[str, np.ndarray] = {f"c{i}": column for i, column in enumerate(ids)}
    columns |= {f"n{i}": column for i, column in enumerate(numerics)}
    columns["click"] = (rng.random(rows) < 1 / (1 + np.exp(1 - logit))).astype(np.int8)
    columns["like"] = (rng.random(rows) < 1 / (1 + np.exp(3 - 1.5 * logit))).astype(np.int8)
    columns["watch"] = (logit + rng.normal(size=rows)).astype(np.float32)
    return pa.table(columns)
