"""Inverse propensity weights: rows count by how unlikely it was that they would be there, or seen.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from polyrank.data.extras import PROPENSITY
from polyrank.heads.base import Extras, at_least_float32
from polyrank.heads.bias.base import Adjustment, BiasConfig, Fault
from polyrank.schema import Binary, Schema


class Logged(Adjustment):
    """loss / max(propensity, floor)."""

    def __init__(self, floor: float) -> None:
        self._floor = floor

    def known(self, extras: Extras) -> Tensor:
        """Where the propensity is."""
        return ~extras[PROPENSITY].isnan()

    def loss(self, loss_B: Tensor, logit_B1: Tensor, label_B: Tensor, extras: Extras) -> Tensor:
        """Weighted; as it is where the propensity is not known."""
        del logit_B1, label_B
        return loss_B / extras[PROPENSITY].nan_to_num(nan=1.0).clamp(min=self._floor)


class Examined(Adjustment):
    """c / θ l(1) + (1 - c / θ) l(0), θ no lower than the floor."""

    def __init__(self, task: Binary, floor: float) -> None:
        self._name = f"{task.name}.examination"
        self._floor, self._keep_rate = floor, task.keep_rate

    def known(self, extras: Extras) -> Tensor:
        """Where the position is."""
        return ~extras[self._name].isnan()

    def loss(self, loss_B: Tensor, logit_B1: Tensor, label_B: Tensor, extras: Extras) -> Tensor:
        """The task's loss, and for a label of 1 what is missing: (1 / θ - 1) (l(1) - r l(0)).

        r is the share of negatives that the log kept: what counts as one has to be thinned, too.
        """
        logit_B = at_least_float32(logit_B1[:, 0])
        theta_B = extras[self._name].nan_to_num(nan=1.0).clamp(min=self._floor)
        more_B = F.softplus(-logit_B) - self._keep_rate * F.softplus(logit_B)
        return loss_B + torch.where(label_B == 1, (1 / theta_B - 1) * more_B, 0.0)


class IPW(BiasConfig):
    """Inverse propensity weights (Joachims et al., WSDM 2017; Saito et al., WSDM 2020).

    ``source: logged`` weighs each row of the task by 1 / max(propensity, floor), where the
    propensity is that with which the logging policy showed the row (``keys.propensity``). The loss
    is the sum divided by the rows' own weights, not by these (Horvitz-Thompson): with a floor
    below all propensities it is, in expectation, the loss on rows shown without preference. It is
    larger by 1 / propensity on average; a smaller task weight makes up for it.

    ``source: position`` weighs labels of 1 by 1 / max(θ, floor), θ being how likely the row's
    position is looked at beside the position most looked at, from a click model fitted with the
    encoders (``examined_by`` of the task): c / θ l(1) + (1 - c / θ) l(0) for a label c and the
    cross-entropies l of both labels. In expectation that is the loss on what would be clicked if
    seen; P(click | seen) is what is predicted. A row with a label of 1 may have a loss below 0,
    without bound: where a network can tell single rows apart, stop early.
    """

    kind: Literal["ipw"] = "ipw"
    source: Literal["logged", "position"] = "position"
    """Where the propensities come from."""
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Propensities below count as this: no weight is above 1 / floor."""

    @property
    def predicts_seen(self) -> bool:
        """From positions, it does."""
        return self.source == "position"

    @property
    def weighs(self) -> bool:
        """It does nothing else."""
        return True

    @property
    def examines(self) -> bool:
        """From positions, it does."""
        return self.source == "position"

    def faults(self, schema: Schema, task: Binary) -> Iterator[Fault]:
        """Propensities that nothing gives."""
        if self.source == "logged" and schema.keys.propensity is None:
            yield (
                "source",
                "`logged` needs the propensity of each row, and the schema has no "
                "`keys.propensity`. Name the column there, or choose another source",
            )
        if self.source == "position" and task.examined_by is None:
            yield (
                "source",
                f"`position` needs the examination curve of task {task.name!r}. Set `examined_by: "
                "position` on the task, or choose another source",
            )

    def adjust(self, task: Binary) -> Logged | Examined:
        """Weighs its rows."""
        if self.source == "logged":
            return Logged(self.floor)
        return Examined(task, self.floor)
