"""What a gradient is multiplied by, against the optimizers' own steps without momentum."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.training import Prepared
from tests.training.runs import prepared
from tests.training.test_faults import denominators, first_batch, stepper


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("cache"))


def squared(gradient: Tensor) -> Tensor:
    """Element by element, of a sparse one at its rows."""
    if not gradient.is_sparse:
        return gradient**2
    parts = gradient.indices(), gradient.values() ** 2, gradient.shape
    return torch.sparse_coo_tensor(*parts, check_invariants=True).coalesce()


@pytest.mark.parametrize("kind", ["rowwise_adagrad", "rowwise_adam"])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_gradient_times_its_scale_is_the_step_without_momentum(
    log: Prepared, kind: str, steps: int
) -> None:
    step = stepper(log, table_optimizer=kind, clip_norm=None)
    batch = first_batch(log)
    for place in range(steps):
        step(place, batch, denominators(batch), want_gates=False)
    optimizers = step.optimizers
    torch.manual_seed(0)
    _, losses = step.model(batch), step.losses(step.model(batch), batch, denominators(batch))
    torch.stack(list(losses.values())).sum().backward()
    named = {**optimizers.dense, **optimizers.tables}
    joint: dict[str, Any] = {
        name: own.grad.coalesce() if own.grad.is_sparse else own.grad
        for name, own in named.items()
        if own.grad is not None
    }
    before = copy.deepcopy(optimizers.state())
    scales = optimizers.scales(steps, {name: squared(own) for name, own in joint.items()})
    after = optimizers.state()
    assert before.keys() == after.keys()
    assert all((before[key] == after[key]).all() for key in before)
    old = {name: own.detach().clone() for name, own in named.items()}
    for optimizer in (optimizers._adamw, optimizers._rowwise):
        for entry in optimizer.state.values():  # of momentum nothing is left
            for key in ("exp_avg", "mean"):
                if key in entry:
                    entry[key].zero_()
        for group in optimizer.param_groups:
            group["weight_decay"] = 0.0
            if "betas" in group:
                group["betas"] = (0.0, group["betas"][1])
    optimizers.update(steps)
    for name, gradient in joint.items():
        if gradient.is_sparse:
            gradient, scale = gradient.to_dense(), torch.zeros(len(old[name]), 1)
            scale[joint[name].indices()[0]] = scales[name]
        else:
            scale = scales[name]
        moved = old[name] - named[name].detach()
        assert moved.abs().max() > 0
        torch.testing.assert_close(moved, gradient * scale, rtol=1e-4, atol=2e-7)
