"""An objective whose tasks learn with bias models.

Shapes: B rows, P parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras
from polyrank.heads.bias.base import BiasConfig
from polyrank.heads.bias.tower import bias_name
from polyrank.heads.funnels.base import Logits, Objective
from polyrank.schema import Binary, Schema


class BiasObjective(Objective):
    """The objective inside, seen through what bias models do to logits and losses.

    Args:
        inner: What is learned without them.
        bias: By binary task.
        schema: Its tasks, in the order of the batch's labels.
    """

    def __init__(self, inner: Objective, bias: Mapping[str, BiasConfig], schema: Schema) -> None:
        super().__init__()
        self._inner = inner
        self._adjust = {name: bias[name].adjust(_binary(schema, name)) for name in bias}
        self._places = {name: schema.task_names.index(name) for name in bias}
        self.outputs, self.parts = inner.outputs, inner.parts
        self._columns = {part.name: column for column, part in enumerate(self.parts)}

    def masks(self, batch: Batch) -> Tensor:
        """The inner ones; not a row whose weight is not known."""
        mask_BP = self._inner.masks(batch).clone()
        for name, adjust in self._adjust.items():
            known_B = adjust.known(batch.extras)
            if known_B is not None:
                mask_BP[:, self._columns[name]] &= known_B
        return mask_BP

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """The inner ones of the logits as they were shown, weighed."""
        assert batch.labels_BT is not None, "training batches carry labels"
        moved = {
            name: adjust.trained(logits[name], logits.get(bias_name(name)))
            for name, adjust in self._adjust.items()
        }
        shown = {**logits, **moved}
        losses = dict(self._inner.losses(shown, batch, parts))
        for name, adjust in self._adjust.items():
            if name in losses:
                label_B = batch.labels_BT[:, self._places[name]]
                losses[name] = adjust.loss(losses[name], shown[name], label_B, batch.extras)
        return losses

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """The inner ones."""
        return self._inner.predict(self._served(logits), extras)

    def _served(self, logits: Logits) -> Logits:
        served = {
            name: adjust.served(logits[name], logits.get(bias_name(name)))
            for name, adjust in self._adjust.items()
        }
        return {**logits, **served}


def _binary(schema: Schema, name: str) -> Binary:
    task = schema.task(name)
    assert isinstance(task, Binary), "checked with the configuration"
    return task
