"""An even part of a log that is too long to be held."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from polyrank.data import Batch, EncodedLog


def thinned_rows(log: EncodedLog, most: int | None) -> Iterator[Batch]:
    """Every k-th row of a log, in its order, k the least for which at most ``most`` are left; all
    of them for None."""
    every = 1 if most is None else max(1, -(-log.num_rows // most))
    start = 0
    for batch in log.whole():
        rows = torch.arange(-start % every, len(batch), every)
        start += len(batch)
        yield batch if every == 1 else batch.take(rows)
