"""Linear layers parted: the columns of a choice are multiplied before it.

Shapes in comments: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.fx import Node

from polyrank.scoring.export.forms import Cat, Form, Picked, Sum, arguments, is_zero, ndim_of
from polyrank.scoring.export.nodes import Nodes

aten = torch.ops.aten


class Parting:
    """What stands for a linear layer that reads what it was given in several ways.

    Args:
        nodes: Of the graph.
        forms: What is known of each node.
    """

    def __init__(self, nodes: Nodes, forms: Mapping[Node, Form]) -> None:
        self._nodes, self._forms = nodes, forms

    def apart(self, node: Node, form: Cat) -> None:
        """A linear layer of several vectors a row, those of users before their choice."""
        late = [
            piece.node
            if piece.picked is None
            else self._nodes.emit(
                aten.index_select.default, piece.picked.base, 0, piece.picked.index
            )
            for piece in form.pieces
        ]
        node.replace_all_uses_with(self._nodes.emit(aten.cat.default, late, form.dim))

    def _chosen(self, picked: Picked) -> Node:
        return self._nodes.emit(aten.index_select.default, picked.base, 0, picked.index)

    def part(self, node: Node, form: Cat | Sum) -> None:
        """A linear layer as a sum: of the rows as they stand, and of each choice before it."""
        _, weight, bias = arguments(node, (None, None, None))
        chosen: dict[Node, list[tuple[Node, Node]]] = {}
        rest: list[tuple[Node, Node]] = []
        for piece, columns in self._columns(form, weight):
            for sign, picked in piece:
                signed = columns if sign > 0 else self._nodes.emit(aten.neg.default, columns)
                if isinstance(picked, Picked):
                    chosen.setdefault(picked.index, []).append((picked.base, signed))
                else:
                    rest.append((picked, signed))
        total: Node | None = None
        for place, (index, parts) in enumerate(chosen.items()):
            own = self._product(parts, bias if place == 0 else None)
            late = self._nodes.emit(aten.index_select.default, own, 0, index)
            total = late if total is None else self._nodes.emit(aten.add.Tensor, total, late)
        assert total is not None
        if rest:
            total = self._added(total, rest)
        node.replace_all_uses_with(total)

    def _columns(
        self, form: Cat | Sum, weight: Node
    ) -> list[tuple[list[tuple[int, Picked | Node]], Node]]:
        """What is multiplied by which columns of the weight."""
        if isinstance(form, Sum):
            return [(list(form.terms), weight)]
        found: list[tuple[list[tuple[int, Picked | Node]], Node]] = []
        start = 0
        for piece in form.pieces:
            stop = start + piece.width
            if not is_zero(piece.node):
                own = self._nodes.emit(aten.slice.Tensor, weight, 1, start, stop)
                summed = self._forms.get(piece.node)
                terms: list[tuple[int, Picked | Node]] = [(1, piece.picked or piece.node)]
                found.append((list(summed.terms) if isinstance(summed, Sum) else terms, own))
            start = stop
        return found

    def _product(self, parts: Sequence[tuple[Node, Node]], bias: Node | None) -> Node:
        source, weight = self._joined(parts)
        return self._nodes.emit(aten.linear.default, source, weight, bias)

    def _added(self, total: Node, parts: Sequence[tuple[Node, Node]]) -> Node:
        source, weight = self._joined(parts)
        if ndim_of(source) == 2:
            turned = self._nodes.emit(aten.t.default, weight)
            return self._nodes.emit(aten.addmm.default, total, source, turned)
        product = self._nodes.emit(aten.linear.default, source, weight)
        return self._nodes.emit(aten.add.Tensor, total, product)

    def _joined(self, parts: Sequence[tuple[Node, Node]]) -> tuple[Node, Node]:
        """All parts side by side, those of one source with the sum of their weights."""
        by_source: dict[Node, Node] = {}
        for source, weight in parts:
            known = by_source.get(source)
            by_source[source] = (
                weight if known is None else self._nodes.emit(aten.add.Tensor, known, weight)
            )
        sources, weights = list(by_source), list(by_source.values())
        if len(sources) == 1:
            return sources[0], weights[0]
        last = ndim_of(sources[0]) - 1
        return self._nodes.emit(aten.cat.default, sources, last), self._nodes.emit(
            aten.cat.default, weights, 1
        )
