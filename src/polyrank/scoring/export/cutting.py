"""Products cut where their result is cut: each piece is read while the processor has it in cache.

    relu(linear(x, W, b)).split(k, 1)[i]  =  relu(linear(x, W_i, b_i))
    relu(cat([linear(x, W), ...], 1))     =  cat([relu(linear(x, W)), ...], 1)

Experts are trained as one product, whose result has tens of kilobytes a row; a runtime would write
it, read it for the activation, copy it into pieces and read these. Nothing is computed twice.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from polyrank.scoring.export.forms import arguments, ndim_of, positive, shape_of, starts_of
from polyrank.scoring.export.nodes import Nodes

aten = torch.ops.aten
LEAST = 64
"""Columns; many small products take longer than one."""
_ACTIVATIONS = (
    *(aten.relu.default, aten.silu.default, aten.sigmoid.default, aten.tanh.default),
    *(aten.clone.default, aten.alias.default),
)
_SPLITS = (aten.split.Tensor, aten.split_with_sizes.default)


def cut_products(program: ExportedProgram, *, least: int = LEAST) -> ExportedProgram:
    """The same program; the graph is changed in place.

    Args:
        program: Of inference, functional, with linear layers as such.
        least: Narrower pieces are left in one product.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target in _SPLITS:
            _cut(graph, node, least)
        elif node.target in _ACTIVATIONS:
            _activate_pieces(graph, node)
    graph.eliminate_dead_code()
    graph.lint()
    program.graph_module.recompile()
    return program


def _cut(graph: Graph, split: Node, least: int) -> None:
    """A split, where it reads a linear layer that nothing else reads."""
    source, sizes, dim = arguments(split, (None, None, 0))
    found = _linear_below(source)
    if found is None or positive(dim, ndim_of(split.args[0])) != ndim_of(source) - 1:  # type: ignore[arg-type]
        return
    linear, activations = found
    places = starts_of(sizes, shape_of(source)[-1])
    if min(stop - start for start, stop in places) < least:
        return
    x, weight, bias = arguments(linear, (None, None, None))
    nodes = Nodes(graph)

    def rows(of: Node | None, start: int, stop: int) -> Node | None:
        return None if of is None else nodes.emit(aten.slice.Tensor, of, 0, start, stop)

    pieces = []
    with graph.inserting_before(split):
        for place in places:
            piece = nodes.emit(aten.linear.default, x, rows(weight, *place), rows(bias, *place))
            for own in reversed(activations):
                piece = nodes.again(own, {own.all_input_nodes[0]: piece})
            pieces.append(piece)
    for user in list(split.users):
        assert user.target is operator.getitem
        place_of: Any = user.args[1]
        user.replace_all_uses_with(pieces[place_of])


def _linear_below(node: Node) -> tuple[Node, list[Node]] | None:
    """The linear layer under activations, and these from the top."""
    activations: list[Node] = []
    while node.target in _ACTIVATIONS and len(node.users) == 1:
        activations.append(node)
        node = node.all_input_nodes[0]
    plain = node.target is aten.linear.default and len(node.users) == 1
    return (node, activations) if plain else None


def _activate_pieces(graph: Graph, node: Node) -> None:
    """An activation of linear layers side by side, which nothing else reads."""
    (cat,) = node.all_input_nodes
    if cat.target is not aten.cat.default or len(cat.users) != 1:
        return
    parts, dim = arguments(cat, (None, 0))
    if not dim or any(_linear_below(part) is None for part in parts):
        return
    nodes = Nodes(graph)
    with graph.inserting_before(node):
        done = [nodes.again(node, {cat: part}) for part in parts]
        node.replace_all_uses_with(nodes.emit(aten.cat.default, done, dim))
