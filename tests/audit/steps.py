"""A network of three tasks in the middle of its training, and its losses by hand."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from polyrank.audit.scene import Scene
from polyrank.data import Batch
from polyrank.model import RankingModel
from polyrank.schema import Binary, Categorical, Keys, Numeric, Schema
from polyrank.training import Prepared
from polyrank.training.balance import build_balance
from polyrank.training.optimizers import Optimizers
from polyrank.training.precision import choose_precision
from polyrank.training.processes import Processes
from polyrank.training.schedule import Schedule
from polyrank.training.seeds import mix
from polyrank.training.step import Stepper, denominators_of
from tests.training.runs import config

CPU = torch.device("cpu")
STEP = 7
TASKS = ("click", "like", "again")


def schema(tasks: tuple[str, ...] = TASKS) -> Schema:
    """``again`` has the label of ``click``."""
    labels = {"again": "click"}
    return Schema(
        features=(
            Categorical(name="user", side="user", min_frequency=1),
            Categorical(name="item", side="item", min_frequency=1),
            Numeric(name="age", side="user"),
        ),
        tasks=tuple(Binary(name=task, label=labels.get(task, task)) for task in tasks),
        keys=Keys(user="user", weight="weight"),
    )


TOWERS = {"widths": [8]}
NETWORKS: dict[str, dict[str, Any]] = {
    "shared_bottom": {
        "sharing": {"kind": "shared_bottom", "widths": [16, 8], "dropout": 0.2},
        "towers": TOWERS,
    },
    "mmoe": {"sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16, 8]}, "towers": TOWERS},
}


def stepper(log: Prepared, network: str, tasks: tuple[str, ...] = TASKS) -> Stepper:
    run = config(schema(tasks), model=NETWORKS[network])
    model = RankingModel(run.schema_, log.encoders.layout, run.model, seed=0)
    optimizers = Optimizers(
        model, run.training, Schedule(warmup_steps=0, total_steps=100, cosine=True)
    )
    return Stepper(
        model=model,
        balance=build_balance(run, optimizers.dense.values(), Processes(), CPU),
        optimizers=optimizers,
        steps_per_epoch=100,
        processes=Processes(),
        precision=choose_precision("fp32", CPU),
        device=CPU,
        seed=3,
        clip_norm=None,
    )


def batches(log: Prepared) -> list[Batch]:
    return list(log.train.batches(batch_size=64, seed=0, epoch=0))


def scene(step: Stepper, batch: Batch) -> Scene:
    objective = step.model.objective
    sums = denominators_of(objective, batch).tolist()
    names = (part.name for part in objective.parts)
    return Scene(
        stepper=step,
        step=STEP,
        batch=batch,
        denominators={name: total for name, total in zip(names, sums, strict=True) if total > 0},
    )


def trained(log: Prepared, network: str) -> Stepper:
    """After some steps, so that the optimizers have moments."""
    step = stepper(log, network)
    for place, batch in enumerate(batches(log)[:STEP]):
        step(place, batch, scene(step, batch).denominators, want_gates=False)
    return step


def plain_losses(model: RankingModel, batch: Batch) -> dict[str, Tensor]:
    """Weighted means of the cross-entropy over observed rows, with the step's dropout."""
    torch.manual_seed(mix(3, STEP, 0))
    logits = model(batch).logits
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    found = {}
    for place, task in enumerate(TASKS):
        seen = batch.observed_BT[:, place]
        rows = F.binary_cross_entropy_with_logits(
            logits[task][seen, 0], batch.labels_BT[seen, place].float(), reduction="none"
        )
        weight = batch.weight_B[seen]
        found[task] = (rows * weight).sum() / weight.sum()
    return found
