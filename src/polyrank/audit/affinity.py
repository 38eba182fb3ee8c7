"""How one task's step on what tasks share changes the loss of another: look-ahead affinity.

Z_i→j = (L_j(X, θ_s, θ_j) - L_j(X, θ_s|i, θ_j)) / |L_j(X, θ_s, θ_j)|, where θ_s|i is what is shared
after a step on task i's gradient alone: above 0, i's step helps j on the same batch. Fifty et al.,
"Efficiently Identifying Task Groupings for Multi-Task Learning" (TAG), NeurIPS 2021, section 3.

What is stepped: dense parameters and embedding tables that no task owns alone; towers, and gates
and experts of one task, stay. How far:

- ``optimizer`` (the default): as AdamW and the table's optimizer would go along the task's
  gradient, momentum left out. What they divide by takes in the sum of the tasks' squared gradients,
  and so is the same for all of them: not the square of their sum, by which a task would go the
  farther, the better the others cancel it. The authors' code takes the optimizer's own step, too
  (SGD with momentum), but puts the momentum of all tasks into each task's look; here it is left
  out, since it says nothing of the one. For SGD without momentum the two are one.
- ``sgd``: the paper's equation to the letter: learning rate times gradient. Under AdamW's learning
  rates that is a far smaller step than any that the run takes, of tables above all.

Further departures: |L_j| where the paper has L_j, so that the sign keeps its meaning where a loss
is below 0; no division by the learning rate, which the authors' code has and the paper has not, so
that steps of the warm-up count little; fp32. The diagonal, a task's own step, is measured, too.

Shapes: U rows of a table that a batch touches, D its width, T tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from polyrank.audit.plain import Mean, Plain, finite
from polyrank.audit.scene import Scene, SharedParameter

Rule = Literal["optimizer", "sgd"]
Found = dict[str, dict[str, float | None]]
"""By the task that steps and the one whose loss is looked at."""


@dataclass(frozen=True, kw_only=True)
class Affinity(Plain):
    """Means over the looks of one run: evidence of who moves with whom, not of what training one
    beside the other would give."""

    tasks: tuple[str, ...]
    rule: Rule
    means: Mapping[str, Mapping[str, Mean]]
    """By the task that steps, then by the one whose loss changes."""
    looks: int
    seconds: float | None
    """Spent on looks, those at gradients included; None where the log does not say."""
    share: float | None
    """Of the time of training that went into them."""
    reason: str | None = None
    """Why there is none, where there is none."""


def look_ahead(
    scene: Scene, shared: Sequence[SharedParameter], givers: Collection[str], rule: Rule
) -> Found:
    """The affinities of one batch; parameters are put back to the bit.

    Args:
        scene: The batch.
        shared: What is stepped.
        givers: Tasks whose gradient moves it; those without a label in the batch are left out.
        rule: How far.
    """
    losses, gradients = _gradients(scene, shared, givers)
    before = {task: float(loss) for task, loss in losses.items()}
    found: Found = {}
    for task, parts in _steps(scene, shared, gradients, rule):
        with _moved(parts), torch.no_grad():
            _, after = scene.forward()
        found[task] = {
            other: _affinity(before[other], float(loss)) for other, loss in after.items()
        }
    return found


def _affinity(before: float, after: float) -> float | None:
    return finite((before - after) / abs(before)) if before != 0.0 else None


@dataclass(frozen=True)
class _Part:
    """What a task's step subtracts from a parameter: from all of it, or from some rows."""

    value: Tensor
    step: Tensor
    rows_U: Tensor | None


def _gradients(
    scene: Scene, shared: Sequence[SharedParameter], givers: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The losses without their graph; by task and parameter, the gradients that are there, of
    tables coalesced."""
    _, losses = scene.forward()
    values = [own.value for own in shared]
    found = {}
    for task, loss in losses.items():
        if task in givers and loss.requires_grad:
            own = torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
            found[task] = {
                parameter.name: part.coalesce() if part.is_sparse else parameter.cut(part)
                for parameter, part in zip(shared, own, strict=True)
                if part is not None
            }
    return {task: loss.detach() for task, loss in losses.items()}, found


def _steps(
    scene: Scene,
    shared: Sequence[SharedParameter],
    gradients: Mapping[str, Mapping[str, Tensor]],
    rule: Rule,
) -> Iterator[tuple[str, list[_Part]]]:
    """By task, its part of the step."""
    optimizers = scene.stepper.optimizers
    squares = _squares(gradients)
    dense, table = optimizers.rates(scene.step)
    scales = optimizers.scales(scene.step, squares) if rule == "optimizer" else {}
    by_name = {own.name: own for own in shared}
    for task, own in gradients.items():
        parts = []
        for name, gradient in own.items():
            value = by_name[name].value
            if not gradient.is_sparse:
                parts.append(_Part(value, gradient * scales.get(name, dense), None))
                continue
            rows_U = gradient.indices()[0]
            scale = scales.get(name)
            step_UD = gradient.values() * (
                table if scale is None else scale[_at(squares[name], rows_U)]
            )
            parts.append(_Part(value, step_UD, rows_U))
        yield task, parts


def _squares(gradients: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """By parameter, the sum of squares over the tasks."""
    total: dict[str, Tensor] = {}
    for own in gradients.values():
        for name, gradient in own.items():
            square = _square(gradient)
            total[name] = total[name] + square if name in total else square
    return {name: own.coalesce() if own.is_sparse else own for name, own in total.items()}


def _square(gradient: Tensor) -> Tensor:
    if not gradient.is_sparse:
        return gradient.square()
    values_UD = gradient.values().square()
    return torch.sparse_coo_tensor(
        gradient.indices(), values_UD, gradient.shape, is_coalesced=True, check_invariants=False
    )


def _at(squares: Tensor, rows_U: Tensor) -> Tensor:
    """Where rows stand among those of the sum."""
    return torch.searchsorted(squares.indices()[0], rows_U)


@contextmanager
def _moved(parts: Sequence[_Part]) -> Iterator[None]:
    """While it lasts the parameters stand where the step leads."""
    with torch.no_grad():
        old = [
            part.value.clone() if part.rows_U is None else part.value.index_select(0, part.rows_U)
            for part in parts
        ]
        try:
            for part, was in zip(parts, old, strict=True):
                _put(part, was - part.step)
            yield
        finally:
            for part, was in zip(parts, old, strict=True):
                _put(part, was)


def _put(part: _Part, value: Tensor) -> None:
    if part.rows_U is None:
        part.value.copy_(value)
    else:
        part.value.index_copy_(0, part.rows_U, value)


def affinity_of(
    tasks: Sequence[str],
    looks: Sequence[Mapping[str, Any]],
    rule: Rule,
    seconds: float | None,
    total: float | None,
) -> Affinity:
    """The means over the looks of a run.

    Args:
        tasks: Of the run.
        looks: What ``look_ahead`` found, in order.
        rule: By which.
        seconds: That looks took, if known.
        total: Of training, looks included, if known.
    """
    means = {
        giver: {
            receiver: Mean.of(
                value for look in looks if (value := look.get(giver, {}).get(receiver)) is not None
            )
            for receiver in tasks
        }
        for giver in tasks
    }
    reason = None
    if not any(mean.count for row in means.values() for mean in row.values()):
        reason = "nothing that tasks share was stepped in any look"
    return Affinity(
        tasks=tuple(tasks),
        rule=rule,
        means=means,
        looks=len(looks),
        seconds=seconds,
        share=seconds / total if seconds is not None and total else None,
        reason=reason,
    )
