"""Rows for the tests of funnels: every state of a chain, and losses as a step has them.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polyrank.data import Batch, TargetStats
from polyrank.heads import Head, build_head, masked_mean
from polyrank.heads.funnels import FUNNELS, Objective
from polyrank.schema import Binary, Categorical, Duration, Schema, parse
from polyrank.training.step import denominators_of

ITEM = Categorical(name="item", min_frequency=1)
SCHEMA = Schema(
    features=(ITEM,),
    tasks=(
        Duration(name="watch", within="click"),
        Binary(name="review", within="buy"),
        Binary(name="buy", within="click"),
        Binary(name="click"),
        Binary(name="cart", within="click"),
        Binary(name="like"),
    ),
)
"""A chain of three, its last task declared first, and a second task within the click."""
CHAINS = {
    "buy": ("click", "buy"),
    "cart": ("click", "cart"),
    "review": ("click", "buy", "review"),
}
"""What lies within others, by hand."""
TASKS = SCHEMA.task_names
CONFIGS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "masked": [{}],
    "esmm": [{}],
    "esm2": [{"action": "cart", "conversion": "buy"}],
    "escm2": [{"estimator": "ips"}, {"estimator": "dr"}],
    "aitm": [{}],
}
"""By kind: what its contract runs over."""
Logits = dict[str, Tensor]


def heads(schema: Schema = SCHEMA, rate: float = 0.3) -> dict[str, Head]:
    stats = TargetStats(mean=rate, std=0.5, count=100)
    return {task.name: build_head(task, stats) for task in schema.tasks}


def objective(kind: str, config: Mapping[str, Any], schema: Schema = SCHEMA) -> Objective:
    funnel = parse(FUNNELS[kind], dict(config))
    funnel.check(schema)
    return funnel.build(schema, heads(schema))


def batch_of(
    labels: Mapping[str, Sequence[float | None]],
    weights: Sequence[float] | None = None,
    schema: Schema = SCHEMA,
) -> Batch:
    """None is not observed; what lies outside of its space is hidden here, as the encoder does."""
    rows = len(next(iter(labels.values())))
    columns, seen = [], []
    for task in schema.tasks:
        own = labels.get(task.name, [None] * rows)
        spaces = [labels[name] for name in schema.space(task.name)]
        inside = [all(space[row] == 1 for space in spaces) for row in range(rows)]
        seen.append([own[row] is not None and inside[row] for row in range(rows)])
        columns.append([own[row] if seen[-1][row] else 0.0 for row in range(rows)])
    return Batch(
        ids_BF=torch.zeros(rows, 1, dtype=torch.int64),
        numeric_BN=torch.zeros(rows, 0),
        ragged={},
        vectors={},
        labels_BT=torch.tensor(columns, dtype=torch.float64).T,
        observed_BT=torch.tensor(seen).T,
        weight_B=torch.tensor(weights or [1.0] * rows),
    )


def every_state() -> Batch:
    """Not observed, 0 and 1 of click, buy, review, cart: 81 rows, with weights."""
    states = list(itertools.product([None, 0.0, 1.0], repeat=4))
    return batch_of(
        {
            **{
                name: [state[place] for state in states]
                for place, name in enumerate(("click", "buy", "review", "cart"))
            },
            "like": [1.0 if row % 3 else None for row in range(len(states))],
            "watch": [float(row) if row % 2 else None for row in range(len(states))],
        },
        [1.0 + row % 4 for row in range(len(states))],
    )


def random_logits(chosen: Objective, rows: int, seed: int = 0, scale: float = 2.0) -> Logits:
    """float32 leaves, by output."""
    generator = torch.Generator().manual_seed(seed)
    return {
        output.name: (
            scale * torch.randn(rows, output.num_logits, generator=generator)
        ).requires_grad_()
        for output in chosen.outputs
    }


def totals(chosen: Objective, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """By part: its mean as a step takes it, over the parts that have a row."""
    sums = denominators_of(chosen, batch)
    parts = zip(chosen.parts, sums.tolist(), strict=True)
    wanted = {part.name: weight for part, weight in parts if weight > 0}
    losses = chosen.losses(logits, batch, wanted)
    assert batch.weight_B is not None
    return {
        part.name: masked_mean(
            losses[part.name], mask_B, batch.weight_B, torch.tensor(wanted[part.name])
        )
        for part, mask_B in zip(chosen.parts, chosen.masks(batch).unbind(1), strict=True)
        if part.name in wanted
    }


def total(chosen: Objective, logits: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The loss of a step with equal task weights."""
    weights = {part.name: part.weight for part in chosen.parts}
    means = totals(chosen, logits, batch)
    return sum((weights[name] * mean for name, mean in means.items()), torch.zeros(()))


# The slow version, in floats: one row at a time.


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def cross_entropy(p: float, label: float) -> float:
    return -(label * math.log(p) + (1 - label) * math.log(1 - p))


def own_label(batch: Batch, row: int, task: str) -> float | None:
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    place = TASKS.index(task)
    seen = bool(batch.observed_BT[row, place])
    return float(batch.labels_BT[row, place]) if seen else None


def joint_label(batch: Batch, row: int, chain: Sequence[str]) -> float | None:
    """1 if all are 1, 0 if one is known to be 0, else not known."""
    for task in chain:
        label = own_label(batch, row, task)
        if label != 1:
            return label
    return 1.0


def weight(batch: Batch, row: int) -> float:
    assert batch.weight_B is not None
    return float(batch.weight_B[row])


def mean_over_rows(batch: Batch, losses: Sequence[float | None]) -> float:
    """Weighted mean over the rows whose loss is not None."""
    kept = [(loss, weight(batch, row)) for row, loss in enumerate(losses) if loss is not None]
    return sum(loss * share for loss, share in kept) / sum(share for _, share in kept)
