"""The batch: encoded rows, as tensors.

>>> import torch
>>> watched = Ragged(values_V=torch.tensor([7, 8, 9]), lengths_B=torch.tensor([2, 0, 1]))
>>> batch = Batch(
...     ids_BF=torch.tensor([[1], [2], [3]]),
...     numeric_BN=torch.zeros(3, 0),
...     ragged={"watched": watched},
...     vectors={},
... )
>>> batch.take(torch.tensor([2, 0])).ragged["watched"].values_V
tensor([9, 7, 8])

Shapes: B rows, K rows taken, F id columns, N numeric columns, T tasks, V ids in all rows of a
ragged feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """float64 in the label's unit, since an offset (a time, say) may leave float32 nothing of the
    differences; of a multiclass task the place of the class among its ``names``. 0 where not
    observed (read it through ``observed_BT``)."""
    observed_BT: Tensor | None = None
    """bool: the label was observed and its sample space holds."""
    weight_B: Tensor | None = None
    """float32, at least 0."""
    groups: Mapping[str, Tensor] | None = None
    """int64 codes of the keys "user" and "request", where the log has them; -1 for a null key."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """(B,) float32 by name, NaN where not known: "<task>.length" in seconds and, with labels,
    "<task>.censored", which is 1 where the label is a lower bound, "<task>.examination" by position
    relative to the largest, "propensity", and of a task with a ``maturity``, in windows,
    "<task>.elapsed" from the impression to the cut of the log, and "<task>.delay" from the
    impression to the event: infinite where none has arrived by the cut, NaN where the task has no
    label, mature or not."""

    def __len__(self) -> int:
        return int(self.ids_BF.shape[0])

    def take(self, rows_K: Tensor) -> Batch:
        """The rows at ``rows_K`` (int64), in that order; copies."""
        return self._each(lambda x_B: x_B[rows_K], lambda ragged: _take_ragged(ragged, rows_K))

    def slice(self, start: int, stop: int) -> Batch:
        """The rows from ``start`` up to ``stop``; views, nothing is copied."""
        return self._each(
            lambda x_B: x_B[start:stop], lambda ragged: _slice_ragged(ragged, start, stop)
        )

    def to(self, device: torch.device) -> Batch:
        """The same rows on ``device``."""
        return self._each(
            lambda x_B: x_B.to(device),
            lambda ragged: Ragged(
                values_V=ragged.values_V.to(device), lengths_B=ragged.lengths_B.to(device)
            ),
        )

    def _each(self, dense: Callable[[Tensor], Tensor], ragged: Callable[[Ragged], Ragged]) -> Batch:
        return Batch(
            ids_BF=dense(self.ids_BF),
            numeric_BN=dense(self.numeric_BN),
            ragged={name: ragged(lists) for name, lists in self.ragged.items()},
            vectors={name: dense(vector) for name, vector in self.vectors.items()},
            labels_BT=None if self.labels_BT is None else dense(self.labels_BT),
            observed_BT=None if self.observed_BT is None else dense(self.observed_BT),
            weight_B=None if self.weight_B is None else dense(self.weight_B),
            groups=None
            if self.groups is None
            else {role: dense(code) for role, code in self.groups.items()},
            extras={name: dense(value) for name, value in self.extras.items()},
        )


def stacked(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches of one layout, one after the other, without what only training
    reads."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(
        ids_BF=torch.cat([batch.ids_BF for batch in batches]),
        numeric_BN=torch.cat([batch.numeric_BN for batch in batches]),
        ragged={
            name: Ragged(
                values_V=torch.cat([batch.ragged[name].values_V for batch in batches]),
                lengths_B=torch.cat([batch.ragged[name].lengths_B for batch in batches]),
            )
            for name in first.ragged
        },
        vectors={
            name: torch.cat([batch.vectors[name] for batch in batches]) for name in first.vectors
        },
        extras={
            name: torch.cat([batch.extras[name] for batch in batches]) for name in first.extras
        },
    )


def _take_ragged(ragged: Ragged, rows_K: Tensor) -> Ragged:
    lengths_K = ragged.lengths_B[rows_K]
    starts_B = torch.cumsum(ragged.lengths_B, 0) - ragged.lengths_B
    # Position of each wanted id: its row's start, plus its place within the row.
    shift_K = starts_B[rows_K] - (torch.cumsum(lengths_K, 0) - lengths_K)
    at_V = torch.repeat_interleave(shift_K, lengths_K)
    at_V += torch.arange(len(at_V), device=at_V.device)
    return Ragged(values_V=ragged.values_V[at_V], lengths_B=lengths_K)


def _slice_ragged(ragged: Ragged, start: int, stop: int) -> Ragged:
    first = int(ragged.lengths_B[:start].sum())
    lengths_B = ragged.lengths_B[start:stop]
    return Ragged(
        values_V=ragged.values_V[first : first + int(lengths_B.sum())], lengths_B=lengths_B
    )
