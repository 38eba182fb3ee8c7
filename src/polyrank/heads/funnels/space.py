"""The entire space: what a label within another task's space means on all rows of that task.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from polyrank.data import Batch
from polyrank.heads.base import Head
from polyrank.heads.binary import BinaryHead
from polyrank.heads.funnels.base import Logits
from polyrank.schema import Binary, Faults, Schema


class LogProbs(NamedTuple):
    """(B,) log p and log(1 - p), each a sum of positive terms: nothing cancels, and for finite
    logits both are finite, as are their gradients."""

    yes: Tensor
    no: Tensor

    def cross_entropy(self, label_B: Tensor) -> Tensor:
        """(B,): -log p where ``label_B`` (bool) holds, -log(1 - p) elsewhere."""
        return -torch.where(label_B, self.yes, self.no)

    def logits(self) -> Tensor:
        """(B,): log p - log(1 - p)."""
        return self.yes - self.no


def of_logits(logits_BL: Tensor) -> LogProbs:
    """p = sigmoid(z), in float32 or wider."""
    z_B = logits_BL[:, 0] if logits_BL.dtype == torch.float64 else logits_BL[:, 0].float()
    return LogProbs(F.logsigmoid(z_B), F.logsigmoid(-z_B))


def both(a: LogProbs, b: LogProbs) -> LogProbs:
    """p = a b: log p is the sum of the logarithms, 1 - p = (1 - a) + a (1 - b)."""
    return LogProbs(a.yes + b.yes, torch.logaddexp(a.no, a.yes + b.no))


def either_way(first: LogProbs, then: LogProbs, otherwise: LogProbs) -> LogProbs:
    """p = first · then + (1 - first) · otherwise, and 1 - p likewise."""
    return LogProbs(
        torch.logaddexp(first.yes + then.yes, first.no + otherwise.yes),
        torch.logaddexp(first.yes + then.no, first.no + otherwise.no),
    )


@dataclass(frozen=True, kw_only=True)
class Space:
    """The binary tasks of a schema, and the chain that leads to each."""

    places: Mapping[str, int]
    """By task: its column in ``labels_BT``."""
    chains: Mapping[str, tuple[str, ...]]
    """By binary task: the tasks whose sample spaces hold it, the outermost first, and itself."""

    @classmethod
    def of(cls, schema: Schema) -> Space:
        """Of a schema."""
        return cls(
            places={name: place for place, name in enumerate(schema.task_names)},
            chains={
                task.name: (*reversed(schema.space(task.name)), task.name)
                for task in schema.tasks
                if isinstance(task, Binary)
            },
        )

    @property
    def inner(self) -> tuple[str, ...]:
        """The binary tasks within others, those further out first."""
        found = (task for task, chain in self.chains.items() if len(chain) > 1)
        return tuple(sorted(found, key=lambda task: len(self.chains[task])))

    @property
    def members(self) -> tuple[str, ...]:
        """The inner tasks and all that they lie within."""
        chains = (self.chains[task] for task in self.inner)
        return tuple(dict.fromkeys(name for chain in chains for name in chain))

    def parent(self, task: str) -> str:
        """What an inner task lies within."""
        return self.chains[task][-2]

    def joint_labels(self, batch: Batch, task: str) -> tuple[Tensor, Tensor]:
        """(B,) bool: whether the row reached ``task``, and whether that is known.

        Of a task and all it lies within: 0 where one further out is known to be 0, the task's own
        label where all of them are 1 and it was observed; not known elsewhere. Nor is it where
        one of them is not mature: else rows that are 0 further out would be known at once and the
        others later, and the joint would come out too low.
        """
        assert batch.labels_BT is not None, "training batches carry labels"
        assert batch.observed_BT is not None, "training batches carry masks"
        reached_B = torch.ones(len(batch), dtype=torch.bool, device=batch.observed_BT.device)
        known_B = ripe_B = reached_B
        for name in self.chains[task]:
            # Observed implies that all further out are 1 (``Batch.observed_BT``).
            seen_B = batch.observed_BT[:, self.places[name]]
            known_B = seen_B | (known_B & ~reached_B)
            reached_B = seen_B & (batch.labels_BT[:, self.places[name]] == 1)
            if (elapsed_B := batch.extras.get(f"{name}.elapsed")) is not None:
                ripe_B = ripe_B & (elapsed_B >= 1)
        return reached_B, known_B & ripe_B

    def joint(self, logits: Logits, task: str) -> LogProbs:
        """P(all of the chain are 1), where each logit is of P(task | what it lies within)."""
        return reduce(both, (of_logits(logits[name]) for name in self.chains[task]))

    def initial_joint(self, heads: Mapping[str, Head], task: str) -> LogProbs:
        """(1,): ``joint`` of the training rates."""
        rates = {name: heads[name].initial_logits()[None] for name in self.chains[task]}
        return self.joint(rates, task)

    def require_logits(self, heads: Mapping[str, Head]) -> None:
        """Our own mistake: ``ModelConfig.check`` refuses such heads before."""
        for name in self.members:
            assert isinstance(heads[name], BinaryHead), f"{name} has no logit of a probability"


def require_inner(schema: Schema, kind: str) -> None:
    """Refuse a schema in which no binary task lies within another.

    Raises:
        ValueError: There is none.
    """
    if not Space.of(schema).inner:
        message = (
            f"funnel {kind!r} needs a binary task within another, and no binary task has "
            "`within`. Declare the sample space of one, or choose funnel 'masked', which is "
            "the same here"
        )
        raise Faults([("model.funnel.kind", message)])
