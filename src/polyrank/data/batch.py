"""The batch: encoded rows, as tensors.

Shapes: B rows, F id columns, N numeric columns, T tasks, V ids in all rows of a ragged feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Ragged:
    """A list of table rows for each row of the batch, in order, without padding."""

    values_V: Tensor
    """int64, rows of the flat table."""
    lengths_B: Tensor
    """int64, how many of ``values_V`` belong to each row; they stand in row order."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Encoded rows. Which column is what, ``Layout`` says. Labels are absent when scoring."""

    ids_BF: Tensor
    """int64, rows of the flat table."""
    numeric_BN: Tensor
    """float32, finite."""
    ragged: Mapping[str, Ragged]
    vectors: Mapping[str, Tensor]
    """float32, (B, dim) each."""
    labels_BT: Tensor | None = None
    """float32 in the label's unit; 0 where not observed (read it through ``observed_BT``)."""
    observed_BT: Tensor | None = None
    """bool: the label was observed and its sample space holds."""
    weight_B: Tensor | None = None
    """float32, at least 0."""
    groups: Mapping[str, Tensor] | None = None
    """int64 codes of the keys "user" and "request", where the log has them."""

    def __len__(self) -> int:
        return int(self.ids_BF.shape[0])

    def take(self, rows_K: Tensor) -> Batch:
        """The rows at ``rows_K`` (int64), in that order."""
        return Batch(
            ids_BF=self.ids_BF[rows_K],
            numeric_BN=self.numeric_BN[rows_K],
            ragged={name: _take_ragged(ragged, rows_K) for name, ragged in self.ragged.items()},
            vectors={name: vector[rows_K] for name, vector in self.vectors.items()},
            labels_BT=None if self.labels_BT is None else self.labels_BT[rows_K],
            observed_BT=None if self.observed_BT is None else self.observed_BT[rows_K],
            weight_B=None if self.weight_B is None else self.weight_B[rows_K],
            groups=None
            if self.groups is None
            else {name: code[rows_K] for name, code in self.groups.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """The same rows on ``device``."""
        return Batch(
            ids_BF=self.ids_BF.to(device),
            numeric_BN=self.numeric_BN.to(device),
            ragged={
                name: Ragged(
                    values_V=ragged.values_V.to(device), lengths_B=ragged.lengths_B.to(device)
                )
                for name, ragged in self.ragged.items()
            },
            vectors={name: vector.to(device) for name, vector in self.vectors.items()},
            labels_BT=None if self.labels_BT is None else self.labels_BT.to(device),
            observed_BT=None if self.observed_BT is None else self.observed_BT.to(device),
            weight_B=None if self.weight_B is None else self.weight_B.to(device),
            groups=None
            if self.groups is None
            else {name: code.to(device) for name, code in self.groups.items()},
        )


def _take_ragged(ragged: Ragged, rows_K: Tensor) -> Ragged:
    lengths_K = ragged.lengths_B[rows_K]
    starts_B = torch.cumsum(ragged.lengths_B, 0) - ragged.lengths_B
    # Position of each wanted id: its row's start, plus its place within the row.
    first_K = torch.cumsum(lengths_K, 0) - lengths_K
    within_V = torch.arange(int(lengths_K.sum())) - torch.repeat_interleave(first_K, lengths_K)
    at_V = torch.repeat_interleave(starts_B[rows_K], lengths_K) + within_V
    return Ragged(values_V=ragged.values_V[at_V], lengths_B=lengths_K)
