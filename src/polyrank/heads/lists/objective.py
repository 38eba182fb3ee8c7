"""A funnel's objective with list terms beside it.

Shapes: B rows, L logits, P parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras
from polyrank.heads.funnels import Logits, Objective, Output, Part
from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.groups import Rows
from polyrank.schema import Schema


class ListObjective(Objective):
    """The objective of a funnel and a part ``<task>.<kind>`` for each term.

    Predictions are the funnel's: no term changes what a logit means.

    Args:
        funnel: What it adds to.
        lists: A term by task; each a binary task that learns by its head's own loss.
        schema: Its tasks, in the order of the batch's labels.
    """

    def __init__(self, funnel: Objective, lists: Mapping[str, ListConfig], schema: Schema) -> None:
        super().__init__()
        self._funnel, self._lists = funnel, dict(lists)
        self._places = {task: schema.task_names.index(task) for task in lists}
        self.outputs = (*funnel.outputs, *self._further())
        self.parts = (
            *funnel.parts,
            *(
                Part(name=_part(task, term), task=task, weight=term.weight)
                for task, term in lists.items()
            ),
        )

    def _further(self) -> tuple[Output, ...]:
        return tuple(
            Output(
                name=_part(task, term),
                task=task,
                num_logits=term.num_further_logits,
                initial_logits=torch.zeros(term.num_further_logits),
            )
            for task, term in self._lists.items()
            if term.num_further_logits
        )

    def masks(self, batch: Batch) -> Tensor:
        """The funnel's, then the rows that each term averages over."""
        learners = [term.learns(self._rows(batch, task)) for task, term in self._lists.items()]
        return torch.cat([self._funnel.masks(batch), torch.stack(learners, 1)], 1)

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """The funnel's, and each term's shares."""
        theirs = [part.name for part in self._funnel.parts if part.name in parts]
        losses = dict(self._funnel.losses(logits, batch, theirs))
        for task, term in self._lists.items():
            name = _part(task, term)
            if name in parts:
                further = [logits[name]] if term.num_further_logits else []
                logits_BL = torch.cat([logits[task], *further], 1)
                losses[name] = term.loss(logits_BL, self._rows(batch, task))
        return losses

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """The funnel's."""
        return self._funnel.predict(logits, extras)

    def _rows(self, batch: Batch, task: str) -> Rows:
        assert batch.labels_BT is not None, "training batches carry labels"
        assert batch.observed_BT is not None, "training batches carry masks"
        assert batch.weight_B is not None, "training batches carry weights"
        assert batch.groups is not None, "a schema with a request gives its codes"
        place = self._places[task]
        return Rows(
            labels_B=batch.labels_BT[:, place],
            observed_B=batch.observed_BT[:, place],
            requests_B=batch.groups["request"],
            weight_B=batch.weight_B,
        )


def _part(task: str, term: ListConfig) -> str:
    return f"{task}.{term.kind}"
