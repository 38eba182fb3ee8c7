"""What a rewriting knows of a node of an exported graph: how else its value can be had.

Shapes in comments: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten


@dataclass(frozen=True)
class Picked:
    """base[index]."""

    base: Node
    index: Node


@dataclass(frozen=True)
class Piece:
    """Some columns."""

    node: Node
    """As they stand, (N, ...)."""
    width: int
    picked: Picked | None


@dataclass(frozen=True)
class Cat:
    """Pieces side by side along ``dim``, which is not the first."""

    dim: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Sum:
    """± base[index] + ..., each chosen by an index of its own."""

    terms: tuple[tuple[int, Picked], ...]


@dataclass(frozen=True)
class Many:
    """What an operation with several results gives."""

    each: tuple[Form | None, ...]


Form = Picked | Cat | Sum | Many


def arguments(node: Node, defaults: Sequence[Any]) -> list[Any]:
    """Positional arguments, filled up."""
    assert not node.kwargs, f"{node.target}: {node.kwargs}"
    return [*node.args, *defaults[len(node.args) :]]


def shape_of(node: Node) -> Any:
    """The shape of what it gives; free sizes are symbols."""
    return node.meta["val"].shape


def ndim_of(node: Node) -> int:
    """Dimensions of what a node gives; 0 of a number."""
    value = node.meta.get("val")
    return int(value.ndim) if isinstance(value, torch.Tensor) else 0


def positive(dim: Any, ndim: int) -> int:
    """A dimension counted from the front."""
    assert isinstance(dim, int)
    return dim % ndim if ndim else 0


def starts_of(sizes: Any, width: int) -> list[tuple[int, int]]:
    """Where each part of a split starts and stops."""
    if isinstance(sizes, int):
        return [(start, min(start + sizes, width)) for start in range(0, width, sizes)]
    found, start = [], 0
    for size in sizes:
        found.append((start, start + size))
        start += size
    return found


def is_zero(node: Node) -> bool:
    """Whether it gives zeros only."""
    return node.target in (aten.new_zeros.default, aten.zeros.default)
