"""One step: forward, a loss a task, weights, backward, sums over processes, clipping, updates.

Shapes: B rows, T tasks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from polyrank.balancing import Moment, Weighting
from polyrank.data import Batch
from polyrank.heads import Objective, masked_mean
from polyrank.model import Forward, RankingModel
from polyrank.training.balance import Balance, Balanced, Losses
from polyrank.training.extension import Frozen
from polyrank.training.fork import NONE, fork_of
from polyrank.training.gradients import clip, global_norm
from polyrank.training.health import Measured, measure
from polyrank.training.optimizers import Optimizers
from polyrank.training.precision import Precision
from polyrank.training.processes import Processes
from polyrank.training.seeds import mix, seed_step


class LossNotFinite(ArithmeticError):
    """The loss of these tasks is NaN or infinite; no weight was changed."""

    def __init__(self, losses: Mapping[str, float]) -> None:
        super().__init__(", ".join(f"{task} is {loss}" for task, loss in losses.items()))


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step did."""

    applied: bool
    """False: a gradient was not finite, and nothing was changed."""
    losses: Mapping[str, float]
    """Masked mean by observed task, over all processes."""
    gradient_norm: float
    balanced: Balanced
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    health: Measured | None = None


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """All that a step needs; what a step changes is in the model, balance and optimizers."""

    model: RankingModel
    balance: Balance
    optimizers: Optimizers
    steps_per_epoch: int
    processes: Processes
    precision: Precision
    device: torch.device
    seed: int
    clip_norm: float | None
    expert_health: bool = False
    """Measure the experts where the gates are wanted."""
    frozen: Frozen | None = None

    def __call__(
        self,
        step: int,
        batch: Batch,
        denominators: Mapping[str, float],
        *,
        want_gates: bool,
        stopped: Collection[str] = (),
    ) -> StepResult:
        """Do step number ``step``, counted from 0.

        Args:
            step: Decides the random numbers and the learning rates.
            batch: This process's rows, maybe none, on the CPU.
            denominators: Sum of the rows' weights over all processes, above 0, by part of the
                objective; parts without a row to learn from are not in it, and contribute nothing.
            want_gates: Whether to summarise the gates and experts of this process's rows.
            stopped: Tasks that are frozen: what they own alone stays. The denominators hold none of
                their parts.

        Raises:
            LossNotFinite: Nothing was changed.
        """
        seed_step(self.seed, step, self.processes.rank)
        batch = batch.to(self.device)
        with self.precision.autocast(self.device):
            forward = self.model(batch)
        shares = self.losses(forward, batch, denominators)
        shares_T = torch.stack(tuple(shares.values()))
        losses_T = self.processes.sum(shares_T.detach())
        losses = dict(zip(shares, losses_T.tolist(), strict=True))
        _require_finite(losses)
        method = self.balance.method
        before = [buffer.clone() for buffer in method.buffers()]
        balanced = self._backward(forward, shares, dict(zip(shares, losses_T, strict=True)), step)
        norm = self._reduce() if balanced.finite else math.nan
        applied = math.isfinite(norm)
        if applied:
            self.optimizers.update(step, stopped)
            if self.frozen is not None:
                self.frozen.restore()
            if isinstance(method, Weighting) and method.reads_losses_after:
                method.after(self._losses_again(step, batch, denominators))
        else:
            for buffer, old in zip(method.buffers(), before, strict=True):
                buffer.copy_(old)
        self.optimizers.clear_gradients()
        gates = summarise_gates(forward.shared.gates) if want_gates else {}
        return StepResult(
            applied=applied,
            losses=losses,
            gradient_norm=norm,
            balanced=balanced,
            gates=gates,
            health=measure(forward.shared) if want_gates and self.expert_health else None,
        )

    def losses(
        self, forward: Forward, batch: Batch, denominators: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """By task, this process's share of its loss: the weighted sum of its parts' means.

        Args:
            forward: Of ``batch``.
            batch: On the device of the stepper.
            denominators: As for a step.
        """
        assert batch.weight_B is not None, "training batches carry weights"
        objective = self.model.objective
        losses = objective.losses(forward.logits, batch, denominators)
        masks = objective.masks(batch).unbind(1)
        shares: dict[str, Tensor] = {}
        for part, mask_B in zip(objective.parts, masks, strict=True):
            if part.name in denominators:
                total = torch.tensor(denominators[part.name], device=self.device)
                mean = masked_mean(losses[part.name], mask_B, batch.weight_B, total)
                mean = mean if part.weight == 1.0 else part.weight * mean
                shares[part.task] = shares[part.task] + mean if part.task in shares else mean
        return shares

    def _backward(
        self,
        forward: Forward,
        shares: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        step: int,
    ) -> Balanced:
        penalty = forward.shared.penalty
        losses = Losses(
            shares=shares,
            totals=totals,
            penalty=None if penalty is None else penalty / self.processes.world,
            fork=fork_of(forward.shared) if self.frozen is None else NONE,
        )
        # Of no process, so that all of them draw the same weights.
        moment = Moment(
            step=step, steps_per_epoch=self.steps_per_epoch, seed=mix(self.seed, step, -1)
        )
        return self.balance.backward(losses, moment)

    @torch.no_grad()
    def _losses_again(
        self, step: int, batch: Batch, denominators: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """The losses after the step, over all processes; running statistics stay as they are."""
        statistics = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        seed_step(self.seed, step, self.processes.rank)
        with self.precision.autocast(self.device):
            forward = self.model(batch)
        shares = self.losses(forward, batch, denominators)
        losses_T = self.processes.sum(torch.stack(tuple(shares.values())))
        for buffer, old in statistics:
            buffer.copy_(old)
        return dict(zip(shares, losses_T, strict=True))

    def _reduce(self) -> float:
        """Sum the gradients over all processes and clip them; their norm before clipping."""
        dense, tables = list(self.optimizers.dense.values()), list(self.optimizers.tables.values())
        self.processes.sum_gradients(dense, tables)
        if self.frozen is not None:
            self.frozen.clear_gradients()
        norm = global_norm(dense, tables)
        if self.clip_norm is not None and math.isfinite(norm):
            clip(dense, tables, norm, self.clip_norm)
        return norm


def denominators_of(objective: Objective, batch: Batch) -> Tensor:
    """(P,) float64: sum of the weights of the rows that each part learns from."""
    assert batch.weight_B is not None, "training batches carry weights"
    return (objective.masks(batch) * batch.weight_B[:, None]).sum(0, dtype=torch.float64)


@torch.no_grad()
def summarise_gates(gates: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """By task: the mean weight of each expert, and the mean entropy of a row's weights in nats."""
    return {
        task: {
            "mean": gate_BE.float().mean(0).tolist(),
            "entropy": torch.special.entr(gate_BE.float()).sum(1).mean().item(),
        }
        for task, gate_BE in gates.items()
    }


def _require_finite(losses: Mapping[str, float]) -> None:
    wrong = {task: loss for task, loss in losses.items() if not math.isfinite(loss)}
    if wrong:
        raise LossNotFinite(wrong)
