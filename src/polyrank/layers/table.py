"""The flat embedding table: the vocabularies of all features, laid end to end.

Shapes: R rows of the table, D width, ... any shape of ids.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers.checks import positive


class FlatTable(nn.Module):
    """One table for every id of the model; its gradient is always sparse.

    Look up all ids of a batch in one call: the gradient is then one sparse tensor whose values are
    the gradients of the gathered rows, repeated ids unsummed. A dense gradient never exists, so a
    step costs what the batch holds and not what the table holds. ``polyrank.training.rowwise``
    consumes it.

    Rows start as N(0, 0.01^2), drawn from torch's global generator (He et al., Neural Collaborative
    Filtering, WWW 2017, section 4.1).

    Args:
        num_rows: Rows, at least 0; ids are in [0, num_rows).
        dim: Width of a row, at least 1.

    Raises:
        ConfigError: A negative ``num_rows``, or ``dim`` below 1.
    """

    multiply_adds = 0
    """A look-up."""

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__()
        if num_rows < 0:
            raise ConfigError(f"`num_rows` must be at least 0, got {num_rows}")
        self.num_rows = num_rows
        self.dim = positive("dim", dim)
        self.weight = nn.Parameter(torch.empty(num_rows, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all rows again."""
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, ids_any: Tensor) -> Tensor:
        """The rows at ``ids_any`` (int64, any shape): shape (*ids, D), the table's own precision.

        Raises:
            IndexError: An id outside [0, num_rows).
        """
        return F.embedding(ids_any, self.weight, sparse=True)

    def extra_repr(self) -> str:
        """Rows and width, for ``print``."""
        return f"{self.num_rows}, {self.dim}"
