"""How the tasks' gradients stand to one another while they train: angle, size, noise.

At the fork, from the Gramian that the training log has; and at the last layer that tasks share, by
a look of its own. Evidence, and no cause: conflict between gradients goes with slow optimisation,
and does not predict whether tasks help one another (Mueller et al., arXiv 2408.14677).

Signal to noise compares the halves of a batch, whose gradients a and b have the noise of half the
rows each: a·b estimates the squared length of the true gradient without bias, (|a|² + |b|²)/2 - a·b
the variance of a half, twice that of the batch (after McCandlish et al., "An Empirical Model of
Large-Batch Training", 2018, appendix A.1, who take a small and a large batch).

Shapes: T tasks, P elements of a layer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from polyrank.audit.plain import Mean, Plain, Series, finite, thinned
from polyrank.audit.scene import Scene, SharedParameter
from polyrank.data import Batch
from polyrank.model import Forward
from polyrank.training.fork import fork_of
from polyrank.training.step import denominators_of

NOTE = (
    "Gradient conflict goes with slow optimisation; it does not predict whether training tasks "
    "together helps or hurts them (Mueller et al., 2025)."
)
NO_FORK = "tasks share nothing"
NO_LAYER = "no layer below the fork is shared"


@dataclass(frozen=True, kw_only=True)
class Pair(Plain):
    """Two tasks, over training."""

    cosine: Mean
    """Looks in which either gradient is 0 are left out, here and below."""
    conflict: float | None
    """The share of looks whose cosine is below 0."""
    similarity: Mean
    """Of magnitudes: 2|a||b| / (|a|² + |b|²), 1 where they are alike."""
    cosines: Series
    conflicts: Series


@dataclass(frozen=True, kw_only=True)
class Place(Plain):
    """Where gradients are compared."""

    where: str
    """Names of the parameters, or "fork"."""
    pairs: Mapping[str, Pair]
    """By "a/b", in the order of the schema."""
    norms: Mapping[str, Mean]
    """By task, of the gradient of its unweighted loss."""
    sizes: Mapping[str, Series]
    """These over training."""
    reason: str | None = None
    """Why there is nothing, where there is nothing."""

    def cosine(self, one: str, other: str) -> float | None:
        """Of two tasks in any order; None where it was never defined."""
        pair = self.pairs.get(f"{one}/{other}") or self.pairs.get(f"{other}/{one}")
        return None if pair is None else pair.cosine.value


@dataclass(frozen=True, kw_only=True)
class Noise(Plain):
    """Of one task's gradient at the shared layer."""

    snr: float | None
    """Squared length of the true gradient over the variance of a batch's; about 0 or below where
    it cannot be told from noise. None where no half of a batch had rows, or nothing varies."""
    looks: int
    rows: float
    """Of a batch, on average."""


@dataclass(frozen=True, kw_only=True)
class GradientEvidence(Plain):
    """Of one run."""

    fork: Place
    layer: Place
    noise: Mapping[str, Noise]
    """By task."""
    note: str = NOTE


def last_layer(scene: Scene, shared: Sequence[SharedParameter]) -> list[SharedParameter]:
    """The weights of the last layer that tasks share: of each part of the fork, those matrices that
    it was computed from and are nearest in the graph; the later one in the network, of several.

    Vectors (biases, norms) do not count, nor do embedding tables.
    """
    forward, _ = scene.forward()
    tables = {id(p) for table in scene.stepper.model.tables() for p in table.parameters()}
    matrices = {
        id(own.value): place
        for place, own in enumerate(shared)
        if own.value.ndim >= 2 and id(own.value) not in tables
    }
    found = set()
    for part in fork_of(forward.shared).parts:
        near = _nearest(part, matrices.keys())
        if near:
            found.add(max(matrices[key] for key in near))
    return [shared[place] for place in sorted(found)]


def _nearest(tensor: Tensor, wanted: Any) -> list[int]:
    """The ids of the wanted leaves that are fewest steps below."""
    level = deque([tensor.grad_fn])
    seen: set[object] = set()
    while level:
        found = [
            id(leaf) for node in level if (leaf := getattr(node, "variable", None)) is not None
        ]
        hit = [key for key in found if key in wanted]
        if hit:
            return hit
        below = [parent for node in level if node for parent, _ in node.next_functions if parent]
        level = deque(node for node in dict.fromkeys(below) if node not in seen)
        seen.update(level)
    return []


def look_at_gradients(
    scene: Scene, layer: Sequence[SharedParameter], tasks: Sequence[str]
) -> dict[str, Any]:
    """What one batch shows at a layer, as plain JSON values.

    Args:
        scene: The batch.
        layer: Of ``last_layer``.
        tasks: Whose gradients are compared: those that write to what is shared.
    """
    forward, losses = scene.forward()
    rows = {task: _at_weights(losses[task], layer) for task in tasks if task in losses}
    flat = {task: _flat(row) for task, row in rows.items()}
    norms = {task: _norm(row_P) for task, row_P in flat.items()}
    cosines = {
        f"{one}/{other}": finite(float(flat[one] @ flat[other]) / (norms[one] * norms[other]))
        for one, other in combinations(rows, 2)
        if norms[one] * norms[other] > 0.0 and _meet(rows[one], rows[other])
    }
    return {
        "where": ", ".join(own.name for own in layer),
        "rows": len(scene.batch),
        "norms": {task: finite(norm) for task, norm in norms.items()},
        "cosines": cosines,
        "halves": _halves(scene, forward, layer, tasks),
    }


@dataclass(frozen=True)
class _Part:
    """The gradient of a loss at one of the weights."""

    reached: bool
    own_P: Tensor
    """float64; zeros where the loss does not get there."""


def _at_weights(loss: Tensor, layer: Sequence[SharedParameter]) -> list[_Part]:
    weights = [own.value for own in layer]
    found: Sequence[Tensor | None] = [None] * len(weights)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [
        _Part(
            part is not None,
            own.cut(torch.zeros_like(own.value) if part is None else part).flatten().double().cpu(),
        )
        for own, part in zip(layer, found, strict=True)
    ]


def _flat(parts: Sequence[_Part]) -> Tensor:
    return torch.cat([part.own_P for part in parts])


def _meet(one: Sequence[_Part], other: Sequence[_Part]) -> bool:
    """Whether there are weights that both losses reach."""
    return any(a.reached and b.reached for a, b in zip(one, other, strict=True))


def _norm(row_P: Tensor) -> float:
    return math.sqrt(float(row_P @ row_P))


def _halves(
    scene: Scene, forward: Forward, layer: Sequence[SharedParameter], tasks: Sequence[str]
) -> dict[str, list[float]]:
    """By task with rows in both halves: a·b, and (|a|² + |b|²)/2."""
    losses = [_half_losses(scene, forward, half) for half in _halved(scene.batch)]
    found = {}
    for task in tasks:
        if all(task in own for own in losses):
            a_P, b_P = (_flat(_at_weights(own[task], layer)) for own in losses)
            dot, square = float(a_P @ b_P), float(a_P @ a_P + b_P @ b_P) / 2
            if math.isfinite(dot) and math.isfinite(square):
                found[task] = [dot, square]
    return found


def _halved(batch: Batch) -> Iterator[Batch]:
    """The batch with the weight of one half of its rows 0, twice."""
    assert batch.weight_B is not None, "training batches carry weights"
    first_B = torch.arange(len(batch), device=batch.weight_B.device) < len(batch) // 2
    for half_B in (first_B, ~first_B):
        yield replace(batch, weight_B=batch.weight_B * half_B)


def _half_losses(scene: Scene, forward: Forward, half: Batch) -> dict[str, Tensor]:
    """Mean losses of a half, of tasks all of whose parts have rows there."""
    objective = scene.stepper.model.objective
    sums = denominators_of(objective, half).tolist()
    there = {
        part.name: total
        for part, total in zip(objective.parts, sums, strict=True)
        if total > 0 and part.name in scene.denominators
    }
    missing = {p.task for p in objective.parts if p.name in scene.denominators.keys() - there}
    losses = scene.stepper.losses(forward, half, there) if there else {}
    return {task: loss for task, loss in losses.items() if task not in missing}


def gradients_of(
    tasks: Sequence[str], log: Sequence[Mapping[str, Any]], looks: Sequence[Mapping[str, Any]]
) -> GradientEvidence:
    """What a run's log says.

    Args:
        tasks: Of the schema, in order.
        log: Its train records in order, as the log has them.
        looks: Its probe records that have a "layer", in order.
    """
    return GradientEvidence(
        fork=_at_fork(log),
        layer=_at_layer(looks),
        noise={task: _noise(task, looks) for task in tasks},
    )


def _at_fork(log: Sequence[Mapping[str, Any]]) -> Place:
    """A record has means over its own looks: a look of each, and as many of it as it has steps."""
    seen = [
        _Look(step=record["step"], **_of_fork(record["balance"]))
        for record in log
        if record["balance"].get("cosines")
    ]
    return _place("fork", seen, NO_FORK)


def _of_fork(balance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "norms": balance["gradient_norms"],
        "cosines": balance["cosines"],
        "conflicts": balance["conflict_rates"],
    }


def _at_layer(looks: Sequence[Mapping[str, Any]]) -> Place:
    seen = []
    for record in looks:
        layer = record["found"]["layer"]
        cosines = {pair: value for pair, value in layer["cosines"].items() if value is not None}
        conflicts = {pair: float(value < 0.0) for pair, value in cosines.items()}
        norms = {task: norm for task, norm in layer["norms"].items() if norm is not None}
        seen.append(_Look(step=record["step"], norms=norms, cosines=cosines, conflicts=conflicts))
    where = looks[-1]["found"]["layer"]["where"] if looks else ""
    return _place(where, seen, NO_LAYER)


@dataclass(frozen=True, kw_only=True)
class _Look:
    step: int
    norms: Mapping[str, float]
    cosines: Mapping[str, float]
    conflicts: Mapping[str, float]


def _place(where: str, looks: Sequence[_Look], otherwise: str) -> Place:
    pairs = dict.fromkeys(pair for look in looks for pair in look.cosines)
    tasks = dict.fromkeys(task for look in looks for task in look.norms)
    sizes = {
        task: [(own.step, own.norms[task]) for own in looks if task in own.norms] for task in tasks
    }
    return Place(
        where=where,
        pairs={pair: _pair(pair, [own for own in looks if pair in own.cosines]) for pair in pairs},
        norms={task: Mean.of(norm for _, norm in sizes[task]) for task in tasks},
        sizes={task: thinned(points) for task, points in sizes.items()},
        reason=None if looks else otherwise,
    )


def _pair(pair: str, looks: Sequence[_Look]) -> Pair:
    one, other = pair.split("/")
    conflict = Mean.of(look.conflicts[pair] for look in looks)
    return Pair(
        cosine=Mean.of(look.cosines[pair] for look in looks),
        conflict=conflict.value,
        similarity=Mean.of(_similarity(look.norms[one], look.norms[other]) for look in looks),
        cosines=thinned([(look.step, look.cosines[pair]) for look in looks]),
        conflicts=thinned([(look.step, look.conflicts[pair]) for look in looks]),
    )


def _similarity(one: float, other: float) -> float:
    """Of two norms that are not both 0; by their ratio, so that no square leaves float64."""
    small, large = sorted((one, other))
    ratio = small / large
    return 2 * ratio / (1 + ratio * ratio)


def _noise(task: str, looks: Sequence[Mapping[str, Any]]) -> Noise:
    layers = [record["found"]["layer"] for record in looks]
    own = [layer for layer in layers if task in layer["halves"]]
    signal = math.fsum(layer["halves"][task][0] for layer in own)
    square = math.fsum(layer["halves"][task][1] for layer in own)
    noise = (square - signal) / 2
    return Noise(
        snr=finite(signal / noise) if noise > 0 else None,
        looks=len(own),
        rows=math.fsum(layer["rows"] for layer in own) / len(own) if own else 0.0,
    )
