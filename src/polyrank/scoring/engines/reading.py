"""What engines that compute logits have in common: blocks of rows, and what heads make of them.

Shapes: N rows, L logits of an output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data import Batch
from polyrank.layers import pad_rows
from polyrank.layers.padding import ROW_MULTIPLE
from polyrank.model import RankingModel
from polyrank.scoring.engines.base import Predictions, UserRows
from polyrank.scoring.engines.eager import BLOCK_ROWS
from polyrank.scoring.engines.failures import engine_errors
from polyrank.scoring.export.network import Inputs

Logits = Mapping[str, NDArray[np.float32]]
"""(N, L) by output."""
LogitsOf = Callable[[Batch, UserRows | None], Logits]


class Reading:
    """From logits, wherever they come from, to predictions.

    Args:
        model: Its heads.
        inputs: What else heads read of a row.
    """

    def __init__(self, model: RankingModel, inputs: Inputs) -> None:
        self._model, self._lengths = model, inputs.lengths

    def predict(
        self, logits: LogitsOf, batch: Batch, users: UserRows | None, *, further: bool
    ) -> Predictions:
        """As ``Engine.predict``, in blocks of ``BLOCK_ROWS``.

        Args:
            logits: Of at least one row. Not kept: whose method it is would else hold itself, and
                stay in memory after it is replaced until Python looks for such circles.
            batch: As there.
            users: As there.
            further: As there.
        """
        blocks = []
        for start in range(0, max(len(batch), 1), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(batch))
            own = None if users is None else users.rows(start, stop)
            with engine_errors():
                blocks.append(self._block(logits, batch.slice(start, stop), own, further))
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _block(
        self, logits: LogitsOf, batch: Batch, users: UserRows | None, further: bool
    ) -> Predictions:
        by_output = self._of_rows(logits, batch, users)
        extras = {f"{task}.length": batch.extras[f"{task}.length"] for task in self._lengths}
        with torch.inference_mode():
            found = self._model.read(
                {name: pad_rows(value) for name, value in by_output.items()},
                {name: _pad(value) for name, value in extras.items()},
                further=further,
            )
        return {name: value[: len(batch)].numpy() for name, value in found.items()}

    def _of_rows(self, logits: LogitsOf, batch: Batch, users: UserRows | None) -> dict[str, Tensor]:
        if not len(batch):
            outputs = self._model.objective.outputs
            return {each.name: torch.zeros(0, each.num_logits) for each in outputs}
        found = logits(batch, users)
        return {name: torch.from_numpy(value) for name, value in found.items()}


def _pad(value_B: Tensor) -> Tensor:
    missing = -len(value_B) % ROW_MULTIPLE
    return torch.cat([value_B, value_B.new_zeros(missing)]) if missing else value_B
