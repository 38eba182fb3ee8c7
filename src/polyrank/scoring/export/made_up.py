"""Rows that no log holds: for measuring engines where no log is at hand.

Shapes: N rows.
"""

from __future__ import annotations

import numpy as np
import torch

from polyrank.data import Batch, Encoders, Ragged
from polyrank.scoring.engines.base import UserRows

LENGTHS = (1.0, 300.0)
"""Seconds that things last."""


def made_up(encoders: Encoders, num_rows: int, seed: int = 0) -> Batch:
    """Rows with any known ids, numbers around 0 and lists of any length, without labels.

    Args:
        encoders: Fitted.
        num_rows: N.
        seed: The same seed gives the same rows.
    """
    layout, rng = encoders.layout, np.random.default_rng(seed)

    def ids(name: str, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        own = encoders.rows[name]
        return rng.integers(own.start, own.stop, size)

    ragged = {}
    for column in layout.ragged:
        lengths_N = rng.integers(0, column.max_length + 1, num_rows)
        ragged[column.name] = Ragged(
            values_V=torch.from_numpy(ids(column.name, int(lengths_N.sum()))),
            lengths_B=torch.from_numpy(lengths_N),
        )
    numbers = rng.normal(size=(num_rows, len(layout.numerics))).astype(np.float32)
    for place, number in enumerate(layout.numerics):
        if number.name.endswith("?missing"):
            numbers[:, place] = rng.random(num_rows) < 0.1
    columns = [ids(column.name, num_rows) for column in layout.ids]
    return Batch(
        ids_BF=torch.from_numpy(
            np.stack(columns, axis=1) if columns else np.empty((num_rows, 0), dtype=np.int64)
        ),
        numeric_BN=torch.from_numpy(numbers),
        ragged=ragged,
        vectors={
            vector.name: torch.from_numpy(rng.normal(size=(num_rows, vector.dim)).astype("f4"))
            for vector in layout.vectors
        },
        extras={
            f"{task}.length": torch.from_numpy(rng.uniform(*LENGTHS, num_rows).astype("f4"))
            for task in layout.tasks
        },
    )


def one_request(batch: Batch) -> UserRows:
    """All rows are of the user of the first one."""
    return UserRows.shared(batch.slice(0, 1), len(batch))
