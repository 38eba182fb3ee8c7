"""Eager torch: what is always there.

Shapes: B rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polyrank.data import Batch, Ragged
from polyrank.layers import ROW_MULTIPLE
from polyrank.model import RankingModel
from polyrank.scoring.engines.base import Predictions, UserRows, joined
from polyrank.scoring.engines.failures import engine_errors

BLOCK_ROWS = 4096
"""Rows that pass through the network at a time: activations take memory for these only."""


class TorchEngine:
    """Eager torch in fp32.

    Rows are padded to a multiple of ``ROW_MULTIPLE``: eager matrix products then give a row the
    same bits in every batch and at every place in it, as long as widths are multiples of 16. So it
    does not matter either that a large batch goes through in blocks of ``BLOCK_ROWS``.
    """

    name = "eager"
    precision = "fp32"

    def __init__(self, model: RankingModel) -> None:
        self._model = model.eval().float()

    def predict(
        self, batch: Batch, *, users: UserRows | None = None, further: bool = False
    ) -> Predictions:
        """As ``Engine.predict``; a batch without rows gives empty arrays."""
        with engine_errors():
            if users is not None:
                batch = joined(batch, users, self._model.layout)
            starts = range(0, max(len(batch), 1), BLOCK_ROWS)
            blocks = [
                self._predict(batch.slice(start, start + BLOCK_ROWS), further) for start in starts
            ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _predict(self, block: Batch, further: bool) -> Predictions:
        with torch.inference_mode():
            predictions = self._model.predict(pad(block, ROW_MULTIPLE), further=further)
        return {task: value[: len(block)].numpy() for task, value in predictions.items()}


def pad(batch: Batch, block: int) -> Batch:
    """``batch`` with rows of zeros behind it, up to a multiple of ``block`` and at least one."""
    num_extra = -len(batch) % block if len(batch) else block
    if not num_extra:
        return batch
    return Batch(
        ids_BF=_extend(batch.ids_BF, num_extra),
        numeric_BN=_extend(batch.numeric_BN, num_extra),
        ragged={
            name: Ragged(values_V=ragged.values_V, lengths_B=_extend(ragged.lengths_B, num_extra))
            for name, ragged in batch.ragged.items()
        },
        vectors={name: _extend(vector, num_extra) for name, vector in batch.vectors.items()},
        extras={name: _extend(value, num_extra) for name, value in batch.extras.items()},
    )


def _extend(tensor: Tensor, num_extra: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros((num_extra, *tensor.shape[1:]))])
