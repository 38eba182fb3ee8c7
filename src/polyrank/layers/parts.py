"""What a module is made of, in words: its layers, their shapes, and what each costs.

>>> from polyrank.layers import PackedExperts, Tower
>>> part_of("experts", PackedExperts(32, widths=(64, 16), num_experts=3)).shape
'3 × (32 → 64 → 16)'
>>> part_of("click", Tower(16, (8,))).shape
'16 → 8 → 1'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from torch import nn

from polyrank.layers.cost import Cost, cost_of
from polyrank.layers.experts import PackedExperts
from polyrank.layers.gates import Gates
from polyrank.layers.mlp import MLP, Tower
from polyrank.layers.pooling import TargetAttention
from polyrank.layers.table import FlatTable

MOST_SHAPES = 3
"""Told of one list of layers."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a network and what it costs."""

    name: str
    cost: Cost
    """Of all ``count`` together."""
    each: str = ""
    """What goes in and comes out of one, or the sizes of its weights; empty where only its parts
    have a shape."""
    count: int = 1
    """How many there are, all alike."""
    parts: tuple[Part, ...] = ()
    """What it is made of, where that is worth telling; their costs add up to its own."""

    @property
    def shape(self) -> str:
        """The shape of all of them."""
        if self.count == 1 or not self.each:
            return self.each
        plain = "×" not in self.each and " " not in self.each
        return f"{self.count} × {self.each if plain else f'({self.each})'}"


def part_of(name: str, module: nn.Module) -> Part:
    """A module, and what it is made of, down to layers whose shape says all."""
    cost = cost_of(module)
    if _is_leaf(module):
        count, each = _shape_of(module)
        return Part(name=name, cost=cost, each=each, count=count)
    parts = parts_of(module)
    if len(parts) == 1:
        return replace(parts[0], name=f"{name}: {parts[0].name}")
    return Part(name=name, cost=cost, parts=tuple(parts))


def parts_of(module: nn.Module) -> list[Part]:
    """What a module is made of; the costs add up to the module's.

    Neighbours in a list that are alike are one part. What multiplies nothing, such as norms, is one
    part with the weights that are a module's own.
    """
    parts = _children(module)
    cost, told = cost_of(module), sum_of(part.cost for part in parts)
    rest = Cost(cost.parameters - told.parameters, cost.multiply_adds - told.multiply_adds)
    if rest != Cost(0, 0):
        own = dict(module.named_parameters(recurse=False))
        name = "other weights" if rest.parameters else "weighted sums"
        parts.append(Part(name=name, cost=rest, each=_sizes(own)))
    return list(parts[0].parts) if len(parts) == 1 and parts[0].parts else parts


def repeated(part: Part, count: int) -> Part:
    """The same part so many times."""
    cost = Cost(count * part.cost.parameters, count * part.cost.multiply_adds)
    parts = tuple(repeated(inner, count) for inner in part.parts)
    return replace(part, cost=cost, count=count * part.count, parts=parts)


def sum_of(costs: Iterable[Cost]) -> Cost:
    """What several parts cost together."""
    return sum(costs, Cost(0, 0))


def _children(module: nn.Module) -> list[Part]:
    found: list[Part] = []
    for name, child in module.named_children():
        if not _counts(child):
            continue
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            found += _listed(name, child)
        else:
            found.append(part_of(name, child))
    return found


def _listed(name: str, children: nn.ModuleList | nn.ModuleDict) -> list[Part]:
    """Layers as one part; other modules by runs that are alike, and one alone without a name."""
    named = [(key, child) for key, child in children.named_children() if _counts(child)]
    runs = [list(run) for _, run in groupby(named, lambda item: _signature(item[1]))]
    parts = [repeated(part_of(name, run[0][1]), len(run)) for run in runs]
    if len(parts) == 1:
        return list(parts[0].parts) if len(named) == 1 and parts[0].parts else parts
    if all(_is_leaf(child) for _, child in named):
        shapes = [part.shape for part in parts]
        more = len(shapes) - MOST_SHAPES
        told = ", ".join(shapes[:MOST_SHAPES]) + (f" and {more} more" if more > 0 else "")
        return [Part(name=name, cost=sum_of(part.cost for part in parts), each=told)]
    return [
        replace(part, name=part.name.replace(name, f"{name} {_place(run)}", 1))
        for part, run in zip(parts, runs, strict=True)
    ]


def _place(run: Sequence[tuple[str, nn.Module]]) -> str:
    """The places of a run in its list, counted from 1, or its names."""
    names = [str(int(name) + 1) if name.isdecimal() else name for name, _ in run]
    return names[0] if len(run) == 1 else f"{names[0]} to {names[-1]}"


def _is_leaf(module: nn.Module) -> bool:
    """Whether its shape says all of it."""
    if type(module) in _SHAPES or hasattr(module, "multiply_adds"):
        return True
    return all(isinstance(child, nn.ParameterList) for child in module.children() if _counts(child))


def _counts(module: nn.Module) -> bool:
    return cost_of(module).multiply_adds > 0


def _signature(module: nn.Module) -> tuple[object, ...]:
    """Equal for modules that differ in their weights only."""
    shapes = tuple((name, tuple(p.shape)) for name, p in module.named_parameters())
    return type(module), shapes, cost_of(module)


# Shapes: how many, and what one is.


def _shape_of(module: nn.Module) -> tuple[int, str]:
    describe = _SHAPES.get(type(module))
    if describe is not None:
        return describe(module)
    return 1, module.extra_repr() or _sizes(dict(module.named_parameters()))


def _sizes(weights: Mapping[str, nn.Parameter]) -> str:
    """Of the matrices; of vectors only where there is nothing else."""
    most = max((weight.ndim for weight in weights.values()), default=0)
    sizes = ["×".join(map(str, w.shape)) for w in weights.values() if w.ndim >= min(most, 2)]
    told = [(size, len(list(run))) for size, run in groupby(sizes)]
    return ", ".join(size if count == 1 else f"{count} of {size}" for size, count in told)


def _chain(widths: Sequence[int]) -> str:
    return " → ".join(map(str, widths))


def _mlp(module: Any) -> tuple[int, str]:
    layers = list(module.layers)
    return 1, _chain([layers[0].in_features, *(layer.out_features for layer in layers)])


def _tower(module: Any) -> tuple[int, str]:
    num_logits, before = module.weight.shape
    hidden = _mlp(module.hidden)[1] if len(module.hidden.layers) else str(before)
    return 1, f"{hidden} → {num_logits}"


def _experts(module: Any) -> tuple[int, str]:
    weights = list(module.weights)
    return module.num_experts, _chain([weights[0].shape[2], *(w.shape[1] for w in weights)])


def _sequence(module: Any) -> tuple[int, str]:
    return 1, ", ".join(part_of("", layer).shape for layer in module if _counts(layer))


_SHAPES: Mapping[type[nn.Module], Callable[[Any], tuple[int, str]]] = {
    nn.Linear: lambda module: (1, f"{module.in_features} → {module.out_features}"),
    MLP: _mlp,
    Tower: _tower,
    PackedExperts: _experts,
    Gates: lambda module: (
        len(module.names),
        f"{module.weight.shape[1]} → {module.num_experts}",
    ),
    nn.Sequential: _sequence,
    FlatTable: lambda module: (1, f"{module.num_rows:,} rows × {module.dim}"),
    TargetAttention: lambda module: _tower(module.unit),
}
