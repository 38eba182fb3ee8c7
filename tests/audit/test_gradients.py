"""Angles, sizes and noise of gradients against autograd by hand.

Shapes: P elements of a layer.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polyrank.audit.affinity import look_ahead
from polyrank.audit.gradients import gradients_of, last_layer, look_at_gradients
from polyrank.audit.plain import thinned, wilson
from polyrank.audit.scene import shared_parameters
from polyrank.data import Batch
from polyrank.training import Prepared
from polyrank.training.step import Stepper
from tests.audit.steps import STEP, TASKS, batches, plain_losses, scene, schema, trained
from tests.training.runs import prepared


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"), schema=schema())


def by_hand(network: str, step: Stepper, batch: Batch, rows: slice) -> dict[str, Tensor]:
    """By task, the gradient of its mean loss over some rows at the last shared weights."""
    name = {"shared_bottom": "sharing.trunk.layers.1.weight", "mmoe": "sharing.experts.weights.1"}
    model, found = step.model, {}
    assert batch.weight_B is not None
    weight_B = torch.zeros_like(batch.weight_B)
    weight_B[rows] = batch.weight_B[rows]
    half = dataclasses.replace(batch, weight_B=weight_B)
    for task in TASKS:
        model.zero_grad()
        plain_losses(model, half)[task].backward()
        gradient = model.get_parameter(name[network]).grad
        assert gradient is not None
        found[task] = gradient.flatten().double()
    model.zero_grad()
    return found


@pytest.mark.parametrize("network", ["shared_bottom", "mmoe"])
def test_cosines_norms_and_halves(log: Prepared, network: str) -> None:
    step, batch = trained(log, network), batches(log)[STEP]
    seen = scene(step, batch)
    layer = last_layer(seen, shared_parameters(step))
    found = look_at_gradients(seen, layer, TASKS)
    whole = by_hand(network, step, batch, slice(None))
    size = len(batch) // 2
    first = by_hand(network, step, batch, slice(None, size))
    second = by_hand(network, step, batch, slice(size, None))
    assert found["rows"] == len(batch)
    for task in TASKS:
        assert found["norms"][task] == pytest.approx(float(whole[task].norm()), rel=1e-4)
        dot, square = found["halves"][task]
        squares = float(first[task].norm() ** 2 + second[task].norm() ** 2)
        assert square == pytest.approx(squares / 2, rel=1e-4)
        assert dot == pytest.approx(float(first[task] @ second[task]), rel=1e-3, abs=1e-8)
    for one, other in (("click", "like"), ("click", "again"), ("like", "again")):
        cosine = torch.cosine_similarity(whole[one], whole[other], dim=0)
        assert found["cosines"][f"{one}/{other}"] == pytest.approx(float(cosine), abs=1e-5)


def test_tasks_of_one_label_and_one_tower_point_the_same_way(log: Prepared) -> None:
    step, batch = trained(log, "shared_bottom"), batches(log)[STEP]
    click, _, again = step.model.towers
    again.load_state_dict(click.state_dict())
    seen = scene(step, batch)
    found = look_at_gradients(seen, last_layer(seen, shared_parameters(step)), TASKS)
    assert found["cosines"]["click/again"] == pytest.approx(1.0)
    assert found["cosines"]["click/like"] == pytest.approx(found["cosines"]["like/again"])


class Louder(Stepper):
    """The loss of clicks counts eight times."""

    def losses(self, *given: Any) -> dict[str, Tensor]:
        """Of these, one is larger."""
        found = super().losses(*given)
        return {**found, "click": 8.0 * found["click"]}


def test_the_size_of_a_loss_says_nothing_of_angle_and_noise(log: Prepared) -> None:
    step, batch = trained(log, "mmoe"), batches(log)[STEP]
    looks, affinities = [], []
    for own in (step, Louder(**vars(step))):
        seen, shared = scene(own, batch), shared_parameters(own)
        layer = look_at_gradients(seen, last_layer(seen, shared), TASKS)
        looks.append({"step": 1, "found": {"layer": layer}})
        affinities.append(look_ahead(seen, shared, TASKS, "sgd"))
    plain, loud = (gradients_of(TASKS, [], [look]) for look in looks)
    for name, pair in plain.layer.pairs.items():
        assert loud.layer.pairs[name].cosine.value == pytest.approx(pair.cosine.value, rel=1e-4)
    norm = plain.layer.norms["click"].value
    assert norm is not None
    assert loud.layer.norms["click"].value == pytest.approx(8 * norm, rel=1e-5)
    assert loud.noise["click"].snr == pytest.approx(plain.noise["click"].snr, rel=1e-4)
    quiet, strong = (own["like"]["click"] for own in affinities)
    assert strong == pytest.approx(quiet, rel=0.02, abs=4e-7)
    quiet, strong = (own["click"]["click"] for own in affinities)
    assert quiet is not None
    assert strong == pytest.approx(8 * quiet, rel=0.05)  # eight times the step, to first order


def test_the_signal_of_known_gradients_is_found() -> None:
    """Gradients of rows with a known mean and spread: halves tell their ratio without bias."""
    rng = np.random.default_rng(0)
    mean_P, rows = np.full(50, 0.1), 64
    looks = []
    for step in range(1, 4001):
        a_P, b_P = (mean_P + rng.normal(0, math.sqrt(2 / rows), 50) for _ in "ab")
        halves = {"t": [float(a_P @ b_P), float(a_P @ a_P + b_P @ b_P) / 2]}
        layer = {"where": "w", "rows": rows, "norms": {}, "cosines": {}, "halves": halves}
        looks.append({"step": step, "found": {"layer": layer}})
    noise = gradients_of(("t", "u"), [], looks).noise
    truth = float(mean_P @ mean_P) / (50 / rows)
    assert noise["t"].snr == pytest.approx(truth, abs=0.03)  # .64; the error of the mean is .005
    assert (noise["u"].snr, noise["u"].looks) == (None, 0)


def test_a_window_counts_as_one_look_and_neighbours_are_averaged() -> None:
    balance = {
        "gradient_norms": {"a": 1.0, "b": 3.0},
        "cosines": {"a/b": -0.5},
        "conflict_rates": {"a/b": 0.75},
    }
    log = [{"step": 50 * place, "balance": balance} for place in range(1, 131)]
    log.append({"step": 9999, "balance": {"weights": {"a": 1.0}}})
    pair = gradients_of(("a", "b"), log, []).fork.pairs["a/b"]
    assert (pair.cosine.value, pair.conflict, pair.cosine.count) == (-0.5, 0.75, 130)
    assert pair.similarity.value == pytest.approx(2 * 3 / 10)
    assert len(pair.cosines) <= 60
    assert pair.cosines[-1] == (6500, -0.5)
    assert thinned([(1, 1.0), (2, 2.0), (3, 6.0)], 2) == ((2, 1.5), (3, 6.0))
    assert thinned([]) == ()


def test_wilson_is_the_score_interval() -> None:
    """Its ends are the shares of which the observed one is 1.96 standard errors away."""
    for share, count in ((0.0, 10.0), (0.3, 7.0), (1.0, 40.0), (0.002, 5000.0)):
        low, high = wilson(share, count)
        for end in (low, high):
            error = math.sqrt(end * (1 - end) / count)
            assert abs(share - end) == pytest.approx(1.959963984540054 * error, abs=1e-9)
        assert low <= share <= high
