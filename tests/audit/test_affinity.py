"""Look-ahead affinity against a plain loop: copy the network, step by hand, look at the losses.

Shapes: T tasks.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polyrank.audit.affinity import (
    Affinity,
    Rule,
    _gradients,
    _steps,
    affinity_of,
    look_ahead,
)
from polyrank.audit.scene import shared_parameters
from polyrank.data import Batch
from polyrank.training import Prepared
from polyrank.training.step import Stepper
from tests.audit.steps import (
    NETWORKS,
    STEP,
    TASKS,
    batches,
    plain_losses,
    scene,
    schema,
    stepper,
    trained,
)
from tests.training.runs import prepared

OWN = ("towers.", "sharing.gates.")
"""Beginnings of the names of what single tasks own, in these networks."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"), schema=schema())


def plain_step(step: Stepper, gradients: Mapping[str, Mapping[str, Tensor]], task: str) -> Any:
    """By name, what Adam and row-wise Adagrad without momentum subtract for one task of all."""
    state: Any = step.optimizers.state()
    dense, table_rate = step.optimizers.rates(STEP)
    found = {}
    for name, own in gradients[task].items():
        squares = sum(by_name[name] ** 2 for by_name in gradients.values())
        assert isinstance(squares, Tensor)
        if name == "inputs.0.table.weight":
            total = torch.from_numpy(state[f"{name}/sum"]) + squares.mean(1)
            found[name] = table_rate * own / (total.sqrt()[:, None] + 1e-8)
        else:
            square = 0.999 * torch.from_numpy(state[f"{name}/exp_avg_sq"]) + 0.001 * squares
            square = square / (1 - 0.999 ** (float(state[f"{name}/step"]) + 1))
            found[name] = dense * own / (square.sqrt() + 1e-8)
    return found


def plain(step: Stepper, batch: Batch, rule: Rule) -> dict[str, dict[str, float]]:
    """The affinities, by a loop that shares nothing with the code under test but the network."""
    names = [name for name, _ in step.model.named_parameters() if not name.startswith(OWN)]
    gradients: dict[str, dict[str, Tensor]] = {}
    before: dict[str, float] = {}
    for task in TASKS:
        model = copy.deepcopy(step.model)
        losses = plain_losses(model, batch)
        losses[task].backward()
        gradients[task] = {
            name: parameter.grad.to_dense()
            for name, parameter in model.named_parameters()
            if name in names and parameter.grad is not None
        }
        before[task] = losses[task].item()
    dense, table_rate = step.optimizers.rates(STEP)
    found: dict[str, dict[str, float]] = {}
    for task in TASKS:
        model = copy.deepcopy(step.model)
        steps = {
            name: own * (table_rate if "table" in name else dense)
            for name, own in gradients[task].items()
        }
        if rule == "optimizer":
            steps = plain_step(step, gradients, task)
        for name, parameter in model.named_parameters():
            if name in steps:
                parameter.data -= steps[name]
        after = plain_losses(model, batch)
        found[task] = {other: 1 - after[other].item() / before[other] for other in TASKS}
    return found


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", ["optimizer", "sgd"])
def test_it_is_what_a_plain_loop_finds(log: Prepared, network: str, rule: Rule) -> None:
    step, batch = trained(log, network), batches(log)[STEP]
    bits = copy.deepcopy(step.model.state_dict())
    moments = copy.deepcopy(step.optimizers.state())
    found = look_ahead(scene(step, batch), shared_parameters(step), TASKS, rule)
    expected = plain(step, batch, rule)
    assert set(found) == set(TASKS)
    sizes = [abs(z) for row in expected.values() for z in row.values()]
    assert max(sizes) > (1e-3 if rule == "optimizer" else 1e-5)
    for giver in TASKS:
        assert found[giver] == pytest.approx(expected[giver], rel=2e-3, abs=4e-7)
        assert (found[giver][giver] or 0.0) > 0
    assert all(torch.equal(bits[name], value) for name, value in step.model.state_dict().items())
    assert all(p.grad is None for p in step.model.parameters())
    after = step.optimizers.state()
    assert all(np.array_equal(moments[key], after[key]) for key in moments)


def test_tasks_of_one_label_and_one_tower_help_each_other_as_themselves(log: Prepared) -> None:
    step, batch = trained(log, "shared_bottom"), batches(log)[STEP]
    click, _, again = step.model.towers
    again.load_state_dict(click.state_dict())
    found = look_ahead(scene(step, batch), shared_parameters(step), TASKS, "optimizer")
    for one, other in (("click", "again"), ("again", "click")):
        assert found[one][other] == pytest.approx(found[one][one], rel=1e-5)
        assert found[one]["like"] == pytest.approx(found[other]["like"], rel=1e-5)
        assert found["like"][one] == pytest.approx(found["like"][other], rel=1e-5)


def test_another_order_of_the_tasks_changes_no_affinity(log: Prepared) -> None:
    step, batch = trained(log, "mmoe"), batches(log)[STEP]
    order = ("again", "click", "like")
    places = [TASKS.index(task) for task in order]
    other = stepper(log, "mmoe", order)
    state = step.model.state_dict()
    for name, own in step.model.state_dict().items():
        if name.startswith("towers."):
            _, place, rest = name.split(".", 2)
            own = state[f"towers.{places[int(place)]}.{rest}"]
        elif name.startswith("sharing.gates."):
            own = own.unflatten(0, (len(TASKS), -1))[places].flatten(0, 1)
        other.model.state_dict()[name].copy_(own)
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    turned = dataclasses.replace(
        batch, labels_BT=batch.labels_BT[:, places], observed_BT=batch.observed_BT[:, places]
    )
    found = look_ahead(scene(step, batch), shared_parameters(step), TASKS, "sgd")
    again = look_ahead(scene(other, turned), shared_parameters(other), order, "sgd")
    for giver in TASKS:
        assert again[giver] == pytest.approx(found[giver], rel=1e-2, abs=4e-7)


def test_no_task_goes_far_because_others_cancel_it(log: Prepared) -> None:
    """On the first step, whose moments know nothing else, as on any other: at most the rate."""
    step, batch = stepper(log, "mmoe"), batches(log)[0]
    seen, shared = scene(step, batch), shared_parameters(step)
    _, gradients = _gradients(seen, shared, ("click",))
    against = {name: -0.999 * own for name, own in gradients["click"].items()}
    dense, table = step.optimizers.rates(STEP)
    parts = dict(_steps(seen, shared, {**gradients, "like": against}, "optimizer"))
    for own in (*parts["click"], *parts["like"]):
        root = own.step.abs() if own.rows_U is None else own.step.square().mean(1).sqrt()
        assert root.max() <= (dense if own.rows_U is None else table) * (1 + 1e-5)
        assert root.max() > 0.5 * (dense if own.rows_U is None else table)


def test_who_has_no_label_in_the_batch_neither_gives_nor_takes(log: Prepared) -> None:
    step, batch = trained(log, "mmoe"), batches(log)[STEP]
    assert batch.observed_BT is not None
    observed_BT = batch.observed_BT.clone()
    observed_BT[:, 1] = False
    hidden = dataclasses.replace(batch, observed_BT=observed_BT)
    found = look_ahead(scene(step, hidden), shared_parameters(step), ("click", "like"), "sgd")
    assert set(found) == {"click"}
    assert set(found["click"]) == {"click", "again"}


def test_means_errors_and_what_was_never_seen() -> None:
    looks: list[Any] = [{"a": {"a": 0.5, "b": 0.25}}, {"a": {"a": None, "b": 0.75}}]
    found = affinity_of(("a", "b"), looks, "sgd", seconds=2.0, total=8.0)
    assert (found.looks, found.share, found.reason) == (2, 0.25, None)
    mean = found.means["a"]["b"]
    assert (mean.value, mean.error, mean.count) == (0.5, 0.25, 2)  # sd .3536, over the root of 2
    assert (found.means["a"]["a"].value, found.means["a"]["a"].error) == (0.5, None)
    assert found.means["b"]["a"].value is None
    assert Affinity.from_json(found.to_json()) == found
    nothing = affinity_of(("a", "b"), [], "optimizer", seconds=0.0, total=0.0)
    assert nothing.share is None
    assert nothing.reason is not None
