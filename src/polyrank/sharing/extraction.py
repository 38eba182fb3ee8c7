"""Levels of own and shared experts: what CGC has one of and PLE several.

Shapes: B rows, D width of an input, G gates, E experts, W weights of all gates, H output width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polyrank.layers import Gates, PackedExperts, weighted_sums
from polyrank.sharing.base import EVERYONE, Shared, Sharing, alias
from polyrank.sharing.gated import Balance, Gated


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many of everything."""

    own: int
    """Experts of each task in a level."""
    shared: int
    """Shared experts in a level."""
    levels: int
    unseen: frozenset[str] = frozenset()
    """Tasks whose experts the shared gates do not see."""


class Extraction(Sharing):
    """Every level: the gate of task k mixes the task's own experts and the shared ones; the gate of
    the shared part mixes all experts, and there is none in the last level. The experts and the gate
    of task k read what it got from the level below, the shared ones what the shared part got (Tang
    et al., RecSys 2020, equations 1-7).

    Args:
        width: Of the input.
        tasks: Their names.
        counts: Of experts and levels.
        config: How experts and gates are made.
    """

    def __init__(self, width: int, tasks: Sequence[str], counts: Counts, config: Gated) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        self.out_width = config.widths[-1]
        names = [
            LevelNames(tasks, counts, "" if level == counts.levels else f"{level} ")
            for level in range(1, counts.levels + 1)
        ]
        self.levels = nn.ModuleList(
            Level(config, own, width=self.out_width if place else width, first=place == 0)
            for place, own in enumerate(names)
        )
        self.expert_names = {own.bank: own.experts for own in names}
        self.gate_experts = {gate: seen for own in names for gate, seen in own.gates.items()}
        self.owners = {
            f"levels.{place}.{path}": owners
            for place, own in enumerate(names)
            for path, owners in own.owners(first=place == 0).items()
        }
        self.balance = Balance(config.balance, self.expert_names, self.gate_experts)

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """Level by level; the last level's experts are the fork."""
        sources: Sequence[Tensor] = views[:1]
        gates: dict[str, Tensor] = {}
        experts: dict[str, Tensor] = {}
        for bank, level in zip(self.expert_names, self.levels, strict=True):
            asked = [alias(source) for source in sources]
            found, experts[bank] = level(sources, asked)
            gates |= found
            assert isinstance(level, Level)
            spread_BGE = level.spread(found, experts[bank].dtype)
            sources = weighted_sums(spread_BGE, experts[bank]).unbind(1)
        return Shared(
            tasks=dict(zip(self._tasks, sources, strict=True)),
            fork=(experts[bank],),
            asked=tuple(asked[: len(self._tasks)]),
            mixing=dict(zip(self._tasks, spread_BGE.unbind(1), strict=True)),
            gates=gates,
            experts=experts,
            penalty=self.balance(gates),
        )


class LevelNames:
    """The names in one level; ``prefix`` stands in front of all."""

    def __init__(self, tasks: Sequence[str], counts: Counts, prefix: str) -> None:
        self.counts = counts
        self.bank = f"{prefix}experts"
        self.tasks = tuple(f"{prefix}{task}" for task in tasks)
        own = [
            tuple(f"{task} expert {place}" for place in range(counts.own)) for task in self.tasks
        ]
        shared = tuple(f"{prefix}expert {place} of {EVERYONE}" for place in range(counts.shared))
        self.experts = (*(name for names in own for name in names), *shared)
        self.gates = {task: (*names, *shared) for task, names in zip(self.tasks, own, strict=True)}
        self.everyone = f"{prefix}{EVERYONE}"
        self.last = not prefix
        if not self.last:
            seen = [
                name
                for task, names in zip(tasks, own, strict=True)
                if task not in counts.unseen
                for name in names
            ]
            self.gates[self.everyone] = (*seen, *shared)

    def owners(self, *, first: bool) -> dict[str, tuple[str, ...]]:
        """Of the parts of a ``Level``."""
        shared = tuple(f"{self.everyone} {name}" for name in self.gates.get(self.everyone, ()))
        if first:
            found = {"readers.0.experts": self.experts, "readers.0.gates.0": self.tasks}
            return found if self.last else {**found, "readers.0.gates.1": shared}
        found = {"readers": (*self.tasks, self.everyone)}
        return found if self.last else {**found, f"readers.{len(self.tasks)}.gates.0": shared}


class Level(nn.Module):
    """One level. In the first, all experts read the same input and so are one bank."""

    places_W: Tensor

    def __init__(self, config: Gated, names: LevelNames, *, width: int, first: bool) -> None:
        super().__init__()
        counts, tasks, everyone = names.counts, names.tasks, names.everyone
        self._shape = (len(names.gates), len(names.experts))
        self.extra_multiply_adds = len(names.gates) * len(names.experts) * config.widths[-1]
        seen = counts.own + counts.shared
        num_seen = len(names.gates.get(everyone, ()))
        shared_gate = () if names.last else (config.make_gates(width, (everyone,), num_seen),)
        if first:
            experts = config.make_experts(width, len(names.experts))
            readers = [Reader(experts, [config.make_gates(width, tasks, seen), *shared_gate])]
        else:
            readers = [
                Reader(
                    config.make_experts(width, counts.own),
                    [config.make_gates(width, (task,), seen)],
                )
                for task in tasks
            ]
            readers.append(Reader(config.make_experts(width, counts.shared), shared_gate))
        self.readers = nn.ModuleList(readers)
        place = {name: place for place, name in enumerate(names.experts)}
        places = [
            row * len(place) + place[name]
            for row, gate in enumerate(names.gates.values())
            for name in gate
        ]
        # Never on meta, where a bundle builds a network to be filled: no file holds it.
        self.register_buffer("places_W", torch.tensor(places, device="cpu"), persistent=False)

    def forward(
        self, sources: Sequence[Tensor], asked: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The gates, and the experts (B, E, H).

        Args:
            sources: (B, D) for the experts: one for all, or one a task and the shared one.
            asked: The same for the gates.
        """
        gates: dict[str, Tensor] = {}
        banks = []
        for reader, source_BD, asked_BD in zip(self.readers, sources, asked, strict=True):
            found, bank_BEH = reader(source_BD, asked_BD)
            gates |= found
            banks.append(bank_BEH)
        return gates, torch.cat(banks, dim=1) if len(banks) > 1 else banks[0]

    def spread(self, gates: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """(B, G, E): every gate's weights of all experts, zeros where it does not look."""
        weights_BW = torch.cat(tuple(gates.values()), dim=1).to(dtype)
        num_gates, num_experts = self._shape
        spread_BX = weights_BW.new_zeros(weights_BW.shape[0], num_gates * num_experts)
        spread_BX = spread_BX.index_copy(1, self.places_W, weights_BW)
        return spread_BX.view(-1, num_gates, num_experts)


class Reader(nn.Module):
    """The experts and gates that read one input."""

    def __init__(self, experts: PackedExperts, gates: Sequence[Gates]) -> None:
        super().__init__()
        self.experts = experts
        self.gates = nn.ModuleList(gates)

    def forward(self, source_BD: Tensor, asked_BD: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The gates by name, from ``asked_BD``; the experts (B, E, H), from ``source_BD``."""
        gates: dict[str, Tensor] = {}
        for module in self.gates:
            gates |= module(asked_BD)
        return gates, self.experts(source_BD)
