"""What gates do with their experts on held-out rows, and how alike experts are.

A gate's weights alone are told: what an architecture adds to a mixture without a gate (the own
experts of ``adatt``, the self-gates of ``home``) is not among them.

Shapes: B rows, E experts of a bank, G experts that two gates see together, H width of an output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from polyrank.audit.plain import Plain, finite
from polyrank.data import EncodedLog
from polyrank.model import RankingModel
from polyrank.sharing import Shared, SharingConfig
from polyrank.training.health import ExpertHealth, HealthState, Measured, Tally, measure

BATCH, ROWS = 256, 2048
"""Rows looked at together, and in all."""
NO_GATES = "architecture {!r} has no gates"
NO_EXPERTS = "architecture {!r} has no experts"


@dataclass(frozen=True, kw_only=True)
class Gate(Plain):
    """One gate, over the rows."""

    experts: tuple[str, ...]
    mean: tuple[float, ...]
    """The mean weight of each."""
    entropy: float
    """The mean of a row's, in nats."""
    effective: float
    """exp of it: how many experts a row uses, from 1 to all."""
    effective_overall: float
    """exp of the entropy of the mean weights: how many are used over all rows, at least
    ``effective`` but for rounding."""


@dataclass(frozen=True, kw_only=True)
class Bank(Plain):
    """The experts of one bank."""

    experts: tuple[str, ...]
    similarity: tuple[tuple[float | None, ...], ...]
    """Linear CKA of their outputs: 1 where they say the same but for rotation and scale, about 0
    where they have nothing in common. None beside an expert whose output does not vary. Unbiased
    over batches of rows (Nguyen et al., ICLR 2021, equation 3), so a little below 0 at times."""


@dataclass(frozen=True, kw_only=True)
class GateEvidence(Plain):
    """Of a network, in evaluation mode."""

    rows: int
    gates: Mapping[str, Gate]
    """As the architecture names them: by task, in lower levels with the level in front."""
    no_gates: str | None
    """Why there are none."""
    divergences: Mapping[str, float]
    """By "a/b" of two tasks with gates of their own: the mean of a row's Jensen-Shannon divergence
    in bits, from 0, the same weights, to 1, no expert in common."""
    banks: Mapping[str, Bank]
    no_banks: str | None
    """Why there are none."""
    findings: tuple[str, ...]
    """Experts that are unused, dead or outsized, and gates that one expert has taken over, by the
    criteria of ``training.expert_health``, each with what to change."""


@torch.inference_mode()
def gate_evidence(
    model: RankingModel, sharing: SharingConfig, log: EncodedLog, *, rows: int = ROWS
) -> GateEvidence:
    """What ``rows`` random rows of a log show.

    Args:
        model: Trained; its mode is restored.
        sharing: Its architecture.
        log: At least one row.
        rows: About how many.
    """
    training, seen = model.training, _Seen()
    device = next(model.parameters()).device
    model.eval()
    try:
        batches = log.batches(batch_size=BATCH, seed=0, epoch=0)
        for batch, _ in zip(batches, range(-(-rows // BATCH)), strict=False):
            seen.add(model(batch.to(device)).shared, len(batch))
    finally:
        model.train(training)
    return seen.told(model, sharing)


class _Seen:
    """What the batches gave."""

    def __init__(self) -> None:
        self._rows = 0
        self._gates: dict[str, list[Tensor]] = {}
        self._kernels: dict[str, Tensor] = {}
        self._health = Measured()

    def add(self, shared: Shared, rows: int) -> None:
        """Count a batch."""
        self._rows += rows
        for name, gate_BE in shared.gates.items():
            own_BE = gate_BE.double().cpu()
            self._gates.setdefault(name, []).append(own_BE / own_BE.sum(1, keepdim=True))
        for name, bank_BEH in shared.experts.items():
            new_EE = hsic(bank_BEH.double().cpu())
            self._kernels[name] = self._kernels[name] + new_EE if name in self._kernels else new_EE
        new = measure(shared)
        _count(self._health.gates, new.gates)
        _count(self._health.banks, new.banks)

    def told(self, model: RankingModel, sharing: SharingConfig) -> GateEvidence:
        """All of it."""
        block = model.sharing
        gates = {name: torch.cat(parts) for name, parts in self._gates.items()}
        behind = {
            name: tuple(block.gate_experts.get(name) or _numbered(name, gate_BE.shape[1]))
            for name, gate_BE in gates.items()
        }
        judge = ExpertHealth(config=sharing, block=block, gates_drop=False)
        return GateEvidence(
            rows=self._rows,
            gates={name: _gate(gate_BE, behind[name]) for name, gate_BE in gates.items()},
            no_gates=None if gates else NO_GATES.format(sharing.kind),
            divergences=dict(_divergences(tuple(model.heads), gates, behind)),
            banks={
                name: Bank(
                    experts=tuple(block.expert_names.get(name) or _numbered(name, len(kernel_EE))),
                    similarity=_similarity(kernel_EE),
                )
                for name, kernel_EE in self._kernels.items()
            },
            no_banks=None if self._kernels else NO_EXPERTS.format(sharing.kind),
            findings=tuple(judge.news(HealthState(), self._health)),
        )


def _count(into: dict[str, Tally], new: Mapping[str, Tally]) -> None:
    """All rows alike, where ``Tally.add`` forgets old ones."""
    for name, tally in new.items():
        total = into.setdefault(name, Tally())
        total.rows += tally.rows
        for key, values in tally.sums.items():
            old = total.sums.get(key, [0.0] * len(values))
            total.sums[key] = [a + b for a, b in zip(old, values, strict=True)]


def _numbered(owner: str, count: int) -> tuple[str, ...]:
    return tuple(f"{owner}: expert {place}" for place in range(count))


def _gate(gate_BE: Tensor, experts: tuple[str, ...]) -> Gate:
    mean_E = gate_BE.mean(0)
    entropy = float(torch.special.entr(gate_BE).sum(1).mean())
    return Gate(
        experts=experts,
        mean=tuple(mean_E.tolist()),
        entropy=entropy,
        effective=math.exp(entropy),
        effective_overall=math.exp(float(torch.special.entr(mean_E).sum())),
    )


def _divergences(
    tasks: Sequence[str], gates: Mapping[str, Tensor], behind: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, float]]:
    """Of the gates of the last level, in a group of tasks or without."""
    of_task = {name.rpartition(": ")[2]: name for name in gates}
    own = [(task, of_task[task]) for task in tasks if task in of_task]
    for (one, first), (other, second) in combinations(own, 2):
        union = tuple(dict.fromkeys((*behind[first], *behind[second])))
        p_BG = _spread(gates[first], behind[first], union)
        q_BG = _spread(gates[second], behind[second], union)
        yield f"{one}/{other}", jensen_shannon(p_BG, q_BG)


def _spread(gate_BE: Tensor, experts: Sequence[str], union: Sequence[str]) -> Tensor:
    spread_BG = gate_BE.new_zeros(len(gate_BE), len(union))
    spread_BG[:, [union.index(name) for name in experts]] = gate_BE
    return spread_BG


def jensen_shannon(p_BG: Tensor, q_BG: Tensor) -> float:
    """The mean over rows of H((p + q) / 2) - (H(p) + H(q)) / 2, in bits (Lin, IEEE Transactions on
    Information Theory 1991, equation 4.1)."""
    middle_B = torch.special.entr((p_BG + q_BG) / 2).sum(1)
    apart_B = torch.special.entr(p_BG).sum(1) + torch.special.entr(q_BG).sum(1)
    return max(0.0, float((middle_B - apart_B / 2).mean()) / math.log(2.0))


def hsic(outputs_BEH: Tensor) -> Tensor:
    """(E, E): the unbiased estimate of HSIC with linear kernels between any two experts' outputs
    (Song et al., JMLR 2012, equation 5); zeros for fewer than 4 rows, where there is none."""
    rows, experts, _ = outputs_BEH.shape
    if rows < 4:
        return outputs_BEH.new_zeros(experts, experts)
    centred_EBH = (outputs_BEH - outputs_BEH.mean(0)).transpose(0, 1)
    kernel_EBB = centred_EBH @ centred_EBH.mT
    kernel_EBB.diagonal(dim1=1, dim2=2).zero_()
    sums_EB = kernel_EBB.sum(2)
    totals_E = sums_EB.sum(1)
    flat_EK = kernel_EBB.flatten(1)
    found_EE = flat_EK @ flat_EK.T - 2.0 / (rows - 2) * (sums_EB @ sums_EB.T)
    found_EE += torch.outer(totals_E, totals_E) / ((rows - 1) * (rows - 2))
    return found_EE / (rows * (rows - 3))


def _similarity(kernel_EE: Tensor) -> tuple[tuple[float | None, ...], ...]:
    own_E = kernel_EE.diagonal().clamp_min(0.0).sqrt()
    cka_EE = kernel_EE / torch.outer(own_E, own_E)
    return tuple(tuple(finite(value) for value in row) for row in cka_EE.tolist())
