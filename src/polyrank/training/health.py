"""Experts in ill health, noticed while they train.

What production saw (HoME, Wang et al., KDD 2025): one expert with nearly all of every gate, experts
that nothing uses, nine in ten activations zero, experts a hundred times as large as others. It is
measured at the steps that are logged, on at most 1,024 rows of this process as they trained, gate
dropout included, and over about the last 1,024 such rows: a thousandth of the time of training.

Shapes: B rows, E experts, H width of an expert's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from polyrank.sharing import Shared, Sharing, SharingConfig
from polyrank.training.remedies import remedy

MEMORY = 1024
"""Rows that are measured of a batch, and that a mean goes back."""
FEWEST = 256
"""Measured rows before anything is said."""
COLLAPSED, UNCOLLAPSED = 0.98, 0.95
"""Share of a gate's weight on one expert: said above, forgotten below."""
UNUSED, USED = 0.01, 0.02
"""Weight of an expert, where 1 is an even share: said below, forgotten above."""
DEAD, ALIVE = 0.9, 0.85
"""Share of an expert's outputs that are exactly 0."""
APART, TOGETHER = 100.0, 50.0
"""Mean size of the largest expert of a bank over that of the smallest."""


@dataclass(kw_only=True)
class Tally:
    """Sums over rows, with a value an expert."""

    rows: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, new: Tally) -> None:
        """Count new rows, and forget as many where there are enough."""
        keep = max(0.0, 1.0 - new.rows / MEMORY)
        self.rows = keep * self.rows + new.rows
        for name, values in new.sums.items():
            old = self.sums.get(name, [0.0] * len(values))
            self.sums[name] = [keep * a + b for a, b in zip(old, values, strict=True)]

    def means(self, name: str) -> list[float]:
        """The mean over the rows, of which there are some."""
        return [total / self.rows for total in self.sums[name]]


@dataclass(kw_only=True)
class Measured:
    """Of one batch, or what is remembered of several."""

    gates: dict[str, Tally] = field(default_factory=dict)
    """By gate: ``weight``, and ``kept``, the rows in which it is above 0."""
    banks: dict[str, Tally] = field(default_factory=dict)
    """By bank of experts: ``zeros``, the share of a row's outputs that are 0, and their ``size``,
    the mean without sign."""


@dataclass(kw_only=True)
class HealthState(Measured):
    """What a run remembers of its experts."""

    said: list[str] = field(default_factory=list)
    """What was said and has not recovered since."""

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> HealthState:
        """What ``dataclasses.asdict`` gave."""
        tallies = {
            kind: {name: Tally(**tally) for name, tally in tree[kind].items()}
            for kind in ("gates", "banks")
        }
        return cls(**tallies, said=list(tree["said"]))


@torch.no_grad()
def measure(shared: Shared) -> Measured:
    """Count the first rows of a batch, whose order is random; what is not finite is left out."""
    gates = {name: _of_gate(gate_BE[:MEMORY]) for name, gate_BE in shared.gates.items()}
    banks = {name: _of_bank(bank_BEH[:MEMORY]) for name, bank_BEH in shared.experts.items()}
    return Measured(gates=_finite(gates), banks=_finite(banks))


def _of_gate(gate_BE: Tensor) -> Tally:
    weight, kept = gate_BE.float().sum(0), (gate_BE > 0).sum(0)
    return Tally(rows=len(gate_BE), sums={"weight": weight.tolist(), "kept": kept.tolist()})


def _of_bank(bank_BEH: Tensor) -> Tally:
    width = bank_BEH.shape[2]
    zeros = (bank_BEH == 0).sum((0, 2)) / width
    size = bank_BEH.float().abs().sum((0, 2)) / width
    return Tally(rows=len(bank_BEH), sums={"zeros": zeros.tolist(), "size": size.tolist()})


def _finite(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    return {
        name: tally
        for name, tally in tallies.items()
        if all(isfinite(x) for values in tally.sums.values() for x in values)
    }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that can be wrong."""

    key: str
    bad: bool
    """It is to be said."""
    well: bool
    """It has recovered; neither: as before."""
    message: str


@dataclass(frozen=True, kw_only=True)
class ExpertHealth:
    """Judges the experts of one sharing block.

    Args:
        config: Of the block: the remedies are its keys.
        block: Names gates and experts.
        gates_drop: Whether its gates drop experts in training: the weight of an expert is then
            that of the rows in which it was kept.
    """

    config: SharingConfig
    block: Sharing
    gates_drop: bool

    def news(self, state: HealthState, new: Measured) -> list[str]:
        """Count a batch into ``state``, and say what was not said before.

        Each is said once, and again where it recovered and returned.
        """
        for kind in ("gates", "banks"):
            tallies = getattr(state, kind)
            for name, tally in getattr(new, kind).items():
                tallies.setdefault(name, Tally()).add(tally)
        messages = []
        for finding in self._findings(state):
            if finding.bad and finding.key not in state.said:
                state.said.append(finding.key)
                messages.append(finding.message)
            elif finding.well and finding.key in state.said:
                state.said.remove(finding.key)
        return messages

    def _findings(self, state: HealthState) -> Iterator[Finding]:
        gates = {name: tally for name, tally in state.gates.items() if tally.rows >= FEWEST}
        banks = {name: tally for name, tally in state.banks.items() if tally.rows >= FEWEST}
        for name, tally in gates.items():
            yield from self._collapse(name, tally)
        if gates.keys() == state.gates.keys():
            yield from self._unused(gates)
        for name, tally in banks.items():
            yield from self._activations(name, tally)

    def _collapse(self, gate: str, tally: Tally) -> Iterator[Finding]:
        weights = tally.means("weight")
        if len(weights) == 1:
            return
        if self.gates_drop:
            pairs = zip(tally.sums["weight"], tally.sums["kept"], strict=True)
            weights = [weight / kept if kept else 0.0 for weight, kept in pairs]
        most = max(weights)
        name = self._behind(gate, len(weights))[weights.index(most)]
        yield Finding(
            key=f"gate {gate}",
            bad=most > COLLAPSED,
            well=most < UNCOLLAPSED,
            message=f"gate {gate!r} gives {most:.1%} of its weight to {name!r}: "
            f"{remedy('collapse', self.config)}",
        )

    def _unused(self, gates: Mapping[str, Tally]) -> Iterator[Finding]:
        """Of every expert, its mean weight over the gates that see it, 1 being an even share."""
        shares: dict[str, list[float]] = {}
        for gate, tally in gates.items():
            weights = tally.means("weight")
            for name, weight in zip(self._behind(gate, len(weights)), weights, strict=True):
                shares.setdefault(name, []).append(weight * len(weights))
        for name, seen in shares.items():
            share = sum(seen) / len(seen)
            yield Finding(
                key=f"unused {name}",
                bad=share < UNUSED,
                well=share > USED,
                message=f"{name!r} is unused: its gates give it {share:.2%} of an even share: "
                f"{remedy('unused', self.config)}",
            )

    def _activations(self, bank: str, tally: Tally) -> Iterator[Finding]:
        zeros, sizes = tally.means("zeros"), tally.means("size")
        names = self.block.expert_names.get(bank) or _numbered(bank, len(zeros))
        for name, share in zip(names, zeros, strict=True):
            yield Finding(
                key=f"dead {name}",
                bad=share > DEAD,
                well=share < ALIVE,
                message=f"{share:.1%} of what {name!r} gives is zero: "
                f"{remedy('dead', self.config)}",
            )
        living = [
            (size, name)
            for size, share, name in zip(sizes, zeros, names, strict=True)
            if share <= DEAD
        ]
        yield from self._scales(bank, living)

    def _scales(self, bank: str, living: Sequence[tuple[float, str]]) -> Iterator[Finding]:
        if not living:
            return
        (least, small), (most, large) = min(living), max(living)
        yield Finding(
            key=f"scales {bank}",
            bad=most > APART * least,
            well=most < TOGETHER * least or len(living) == 1,
            message=f"what {large!r} gives is {most / max(least, 1e-30):,.0f} times as large as "
            f"what {small!r} gives: {remedy('scales', self.config)}",
        )

    def _behind(self, gate: str, count: int) -> Sequence[str]:
        return self.block.gate_experts.get(gate) or _numbered(gate, count)


def _numbered(owner: str, count: int) -> list[str]:
    return [f"{owner}: expert {place}" for place in range(count)]
