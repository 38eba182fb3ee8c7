"""One batch of a run, looked at before its step: losses as the step will see them, as often as
wanted, with nothing left behind.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.layers import pieces
from polyrank.model import Forward, RankingModel
from polyrank.training.owned import task_of
from polyrank.training.seeds import seed_step
from polyrank.training.step import Stepper


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A step that is about to be taken.

    Args:
        stepper: What takes it.
        step: From 0.
        batch: Its rows, on the stepper's device.
        denominators: By part of the objective that has rows to learn from.
    """

    stepper: Stepper
    step: int
    batch: Batch
    denominators: Mapping[str, float]

    def forward(self) -> tuple[Forward, dict[str, Tensor]]:
        """The network with the step's own dropout, in fp32 whatever the run's precision; and the
        unweighted loss of each task."""
        seed_step(self.stepper.seed, self.step, self.stepper.processes.rank)
        forward = self.stepper.model(self.batch)
        return forward, self.stepper.losses(forward, self.batch, self.denominators)


@contextmanager
def unseen(stepper: Stepper) -> Iterator[None]:
    """What happens in here leaves no trace in torch's generators and in running statistics."""
    kept = [(buffer, buffer.clone()) for buffer in stepper.model.buffers()]
    devices = [stepper.device] if stepper.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, old in kept:
                    buffer.copy_(old)


@dataclass(frozen=True, kw_only=True)
class SharedParameter:
    """A parameter that no task owns alone, at least not all of it."""

    name: str
    value: Tensor
    mask: Tensor | None
    """0 where a single task owns a part, 1 elsewhere; None: all of it is shared."""

    def cut(self, gradient: Tensor) -> Tensor:
        """Without what single tasks own."""
        return gradient if self.mask is None else gradient * self.mask


def shared_parameters(stepper: Stepper) -> list[SharedParameter]:
    """Those that learn and that no task owns alone, by the names that the network gives its pieces;
    in the order of the network, embedding tables included. None where nothing is shared."""
    model, tasks = stepper.model, set(stepper.balance.method.tasks)
    found = []
    for name, parameter in (*stepper.optimizers.dense.items(), *stepper.optimizers.tables.items()):
        owned = _owned(model, name, parameter.detach(), tasks)
        if not all(owned):
            mask = _mask(model, name, parameter, tasks) if any(owned) else None
            found.append(SharedParameter(name=name, value=parameter, mask=mask))
    order = {name: place for place, (name, _) in enumerate(model.named_parameters())}
    return sorted(found, key=lambda own: order[own.name])


def _owned(model: RankingModel, name: str, value: Tensor, tasks: set[str]) -> list[bool]:
    """Of each piece, whether a task alone uses it."""
    cut = pieces(model, model.owners, {name: value})
    return [task_of(piece, tasks) is not None for piece in cut]


def _mask(model: RankingModel, name: str, value: Tensor, tasks: set[str]) -> Tensor:
    mask = torch.ones_like(value, requires_grad=False)
    for piece, view in pieces(model, model.owners, {name: mask}).items():
        if task_of(piece, tasks) is not None:
            view.zero_()
    return mask
