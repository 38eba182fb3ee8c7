"""What is the user's own, computed once a user: a rewriting of an exported graph.

A row's user is chosen by ``index_select``. Whatever is computed of that row alone is moved before
the choice, and a linear layer that reads the user's columns beside others is parted:

    linear(cat([u[row], x]), W, b)  =  linear(u, W_u, b)[row] + linear(x, W_x)

The same holds of any ``index_select``: of the entries of a list and the targets that ask them, say.
It knows operations, not architectures; an operation that it does not know reads the rows as they
were. Nothing but the order of additions in a parted layer changes.

Shapes in comments: N rows, R rows before the choice.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from polyrank.scoring.export.forms import (
    Cat,
    Form,
    Many,
    Picked,
    Piece,
    Sum,
    arguments,
    ndim_of,
    positive,
    shape_of,
    starts_of,
)
from polyrank.scoring.export.nodes import Nodes
from polyrank.scoring.export.parting import Parting

aten = torch.ops.aten
_END = 2**63 - 1


POINTWISE = {
    *(aten.relu.default, aten.sigmoid.default, aten.silu.default, aten.tanh.default),
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.neg.default),
    *(aten._to_copy.default, aten.clamp.default),
    *(aten.exp.default, aten.log1p.default, aten.pow.Tensor_Scalar, aten.rsub.Scalar),
}
"""A result's element reads the elements at its place."""
_DIMS: dict[Any, int] = {
    aten.slice.Tensor: 1,
    aten.select.int: 1,
    aten.unsqueeze.default: 1,
    aten.softmax.int: 1,
    aten._softmax.default: 1,
    aten.unbind.int: 1,
    aten.split.Tensor: 2,
    aten.split_with_sizes.default: 2,
    aten.sum.dim_IntList: 1,
    aten.mean.dim: 1,
}
"""Operations along one dimension (or a list of them), and the place of that argument."""
_VIEWS = {aten.reshape.default}


def compute_once(program: ExportedProgram) -> ExportedProgram:
    """The same program with the user's own computed once; the graph is changed in place.

    Args:
        program: Of inference, functional, with linear layers as such.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif node.target in (aten.clone.default, aten.alias.default):
            node.replace_all_uses_with(node.args[0])
        elif node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # what it reads may be no copy any more
    _Rewriting(graph).run()
    graph.eliminate_dead_code()
    graph.lint()
    program.graph_module.recompile()
    return program


class _Rewriting:
    """One pass over a graph, from its inputs on."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._forms: dict[Node, Form] = {}
        self._nodes = Nodes(graph)
        self._parting = Parting(self._nodes, self._forms)
        self._rules: dict[Any, Callable[[Node], Form | None]] = {
            aten.index_select.default: self._index_select,
            aten.cat.default: self._cat,
            aten.stack.default: self._stack,
            aten.linear.default: self._linear,
            aten.layer_norm.default: self._layer_norm,
            **dict.fromkeys(POINTWISE, self._pointwise),
            **dict.fromkeys(_DIMS, self._along),
            **dict.fromkeys(_VIEWS, self._view),
        }

    def run(self) -> None:
        for node in list(self._graph.nodes):
            if node.op != "call_function":
                continue
            if node.target is operator.getitem:
                form = self._getitem(node)
            else:
                rule = self._rules.get(node.target)
                if rule is None:
                    continue
                with self._graph.inserting_before(node):
                    form = rule(node)
            if form is not None:
                self._settle(node, form)

    def _settle(self, node: Node, form: Form) -> None:
        """What reads the node as it stands reads the choice made late."""
        self._forms[node] = form
        if isinstance(form, Picked) and node.target is not aten.index_select.default:
            with self._graph.inserting_after(node):
                late = self._nodes.emit(aten.index_select.default, form.base, 0, form.index)
            node.replace_all_uses_with(late)
            self._forms[late] = form

    # Rules: what form a node has, given those of what it reads; null: none.

    def _index_select(self, node: Node) -> Form | None:
        source, dim, index = node.args
        assert isinstance(source, Node)
        if dim == 0:
            assert isinstance(index, Node)
            return Picked(source, index)
        return self._moved(node, source)

    def _getitem(self, node: Node) -> Form | None:
        source, place = node.args
        assert isinstance(source, Node)
        form = self._forms.get(source)
        return form.each[place] if isinstance(form, Many) and isinstance(place, int) else None

    def _cat(self, node: Node) -> Form | None:
        parts, dim = arguments(node, (None, 0))
        return self._side_by_side(parts, positive(dim, ndim_of(node)))

    def _stack(self, node: Node) -> Form | None:
        parts, dim = arguments(node, (None, 0))
        dim = positive(dim, ndim_of(node))
        if dim == 0 or not any(isinstance(self._forms.get(part), Picked) for part in parts):
            return None
        thin = []
        for part in parts:
            form = self._forms.get(part)
            plain = self._nodes.emit(aten.unsqueeze.default, part, dim)
            if isinstance(form, Picked):
                base = self._nodes.emit(aten.unsqueeze.default, form.base, dim)
                self._forms[plain] = Picked(base, form.index)
            thin.append(plain)
        return self._side_by_side(thin, dim)

    def _side_by_side(self, parts: Sequence[Node], dim: int) -> Form | None:
        if dim == 0:
            return None
        pieces = [piece for part in parts for piece in self._pieces(part, dim)]
        if all(piece.picked is None for piece in pieces):
            return None
        picked = [piece.picked for piece in pieces if piece.picked is not None]
        if len(picked) == len(pieces) and len({own.index for own in picked}) == 1:
            bases = [own.base for own in picked]
            base = self._nodes.emit(aten.cat.default, bases, dim) if len(bases) > 1 else bases[0]
            return Picked(base, picked[0].index)
        return Cat(dim, tuple(pieces))

    def _pieces(self, node: Node, dim: int) -> Sequence[Piece]:
        form = self._forms.get(node)
        if isinstance(form, Cat) and form.dim == dim:
            return form.pieces
        width = shape_of(node)[dim]
        return [Piece(node, width, form if isinstance(form, Picked) else None)]

    def _pointwise(self, node: Node) -> Form | None:
        read = [own for own in node.all_input_nodes if not self._broadcast(own, node)]
        forms = [self._forms.get(own) for own in read]
        if not read or any(form is None for form in forms):
            return None
        if all(isinstance(form, Picked) for form in forms):
            return self._picked_pointwise(node, read)
        if all(isinstance(form, Cat) for form in forms):
            return self._by_piece(node, read)
        return None

    def _picked_pointwise(self, node: Node, read: Sequence[Node]) -> Form | None:
        """Before the choice, where all is chosen by one index; else a sum, if it is one."""
        picked = {own: self._forms[own] for own in read}
        bases = {own: form for own, form in picked.items() if isinstance(form, Picked)}
        index = {form.index for form in bases.values()}
        if len(index) == 1:
            swap = {own: form.base for own, form in bases.items()}
            return Picked(self._nodes.again(node, swap), index.pop())
        if node.target in (aten.add.Tensor, aten.sub.Tensor) and len(node.args) == len(read) == 2:
            signs = (1, -1 if node.target is aten.sub.Tensor else 1)
            return Sum(tuple((sign, bases[own]) for sign, own in zip(signs, read, strict=True)))
        return None

    def _by_piece(self, node: Node, read: Sequence[Node]) -> Form | None:
        """Piece by piece, where all have the same pieces and the rest does not know columns."""
        cats = [form for own in read if isinstance(form := self._forms[own], Cat)]
        first = cats[0]
        widths = [[piece.width for piece in cat.pieces] for cat in cats]
        same = all(own == widths[0] for own in widths) and len({cat.dim for cat in cats}) == 1
        if not same or len(read) != len(node.all_input_nodes):
            return None
        pieces = []
        for own in zip(*(cat.pieces for cat in cats), strict=True):
            plain = self._nodes.again(
                node, dict(zip(read, (each.node for each in own), strict=True))
            )
            picked = [each.picked for each in own]
            indices = {each.index if each else None for each in picked}
            found = None
            if None not in indices and len(indices) == 1:
                bases = [each.base for each in picked if each is not None]
                base = self._nodes.again(node, dict(zip(read, bases, strict=True)))
                found = Picked(base, next(each.index for each in picked if each is not None))
            pieces.append(Piece(plain, own[0].width, found))
        return Cat(first.dim, tuple(pieces))

    def _broadcast(self, own: Node, node: Node) -> bool:
        """Whether it is the same for every row."""
        first = shape_of(own)[0] if ndim_of(own) else 1
        return ndim_of(own) < ndim_of(node) or (isinstance(first, int) and first == 1)

    def _along(self, node: Node) -> Form | None:
        source, dims = node.args[0], self._dims(node)
        assert isinstance(source, Node)
        if node.target is aten.slice.Tensor and dims == [0]:
            whole = tuple(node.args[2:]) in ((), (0,), (0, _END), (None, None))
            return self._forms.get(source) if whole else None
        if 0 in dims:
            return None
        form = self._forms.get(source)
        if isinstance(form, Cat):
            return self._along_cat(node, form, dims)
        return self._moved(node, source)

    def _dims(self, node: Node) -> list[int]:
        place = _DIMS[node.target]
        default = -1 if "softmax" in str(node.target) else 0
        given = node.args[place] if len(node.args) > place else default
        source = node.args[0]
        assert isinstance(source, Node)
        ndim = ndim_of(source) + (node.target is aten.unsqueeze.default)
        return [positive(dim, ndim) for dim in (given if isinstance(given, list) else [given])]

    def _along_cat(self, node: Node, form: Cat, dims: Sequence[int]) -> Form | None:
        """Some of the pieces, where they are cut along their own dimension."""
        if list(dims) != [form.dim]:
            return None
        width = sum(piece.width for piece in form.pieces)
        if node.target is aten.slice.Tensor:
            _, _, start, stop, step = arguments(node, (None, 0, 0, _END, 1))
            cut = range(width)[start:stop:step]
            return self._cut(form, cut.start, cut.stop) if step == 1 else None
        if node.target in (aten.split.Tensor, aten.split_with_sizes.default):
            sizes = node.args[1]
            starts = starts_of(sizes, width)
            return Many(tuple(self._cut(form, start, stop) for start, stop in starts))
        return None

    def _cut(self, form: Cat, start: int, stop: int) -> Form | None:
        pieces, first = [], 0
        for piece in form.pieces:
            low, high = max(start - first, 0), min(stop - first, piece.width)
            if low < high:
                pieces.append(self._narrowed(piece, form.dim, low, high))
            first += piece.width
        if len(pieces) == 1:
            return pieces[0].picked
        return Cat(form.dim, tuple(pieces)) if any(piece.picked for piece in pieces) else None

    def _narrowed(self, piece: Piece, dim: int, low: int, high: int) -> Piece:
        if (low, high) == (0, piece.width):
            return piece
        node = self._nodes.emit(aten.slice.Tensor, piece.node, dim, low, high)
        picked = None
        if piece.picked is not None:
            base = self._nodes.emit(aten.slice.Tensor, piece.picked.base, dim, low, high)
            picked = Picked(base, piece.picked.index)
        return Piece(node, high - low, picked)

    def _layer_norm(self, node: Node) -> Form | None:
        source = node.args[0]
        assert isinstance(source, Node)
        form = self._forms.get(source)
        if isinstance(form, Cat) and form.dim < ndim_of(node) - len(node.args[1]):  # type: ignore[arg-type]
            return self._each_piece(node, source, form)
        return self._moved(node, source)

    def _each_piece(self, node: Node, source: Node, form: Cat) -> Cat:
        """The operation on each piece, which it does not see beyond."""
        pieces = []
        for piece in form.pieces:
            picked = None
            if piece.picked is not None:
                base = self._nodes.again(node, {source: piece.picked.base})
                picked = Picked(base, piece.picked.index)
            pieces.append(Piece(self._nodes.again(node, {source: piece.node}), piece.width, picked))
        return Cat(form.dim, tuple(pieces))

    def _view(self, node: Node) -> Form | None:
        source, sizes = node.args
        assert isinstance(source, Node)
        assert isinstance(sizes, list | tuple)
        form = self._forms.get(source)
        if isinstance(form, Cat):
            return form if ndim_of(node) == ndim_of(source) else None
        if not isinstance(form, Picked) or str(shape_of(node)[0]) != str(shape_of(source)[0]):
            return None
        rest = list(sizes[1:])
        if any(isinstance(size, Node) or size == -1 for size in rest):
            rest = [int(size) for size in shape_of(node)[1:]]
        base = self._nodes.emit(aten.reshape.default, form.base, [-1, *rest])
        return Picked(base, form.index)

    def _moved(self, node: Node, source: Node) -> Form | None:
        """The operation before the choice."""
        form = self._forms.get(source)
        if not isinstance(form, Picked):
            return None
        base = self._nodes.again(node, {source: form.base})
        value = base.meta["val"]
        if isinstance(value, list | tuple):
            parts = [self._nodes.emit(operator.getitem, base, place) for place in range(len(value))]
            return Many(tuple(Picked(part, form.index) for part in parts))
        return Picked(base, form.index)

    def _linear(self, node: Node) -> Form | None:
        source = node.args[0]
        assert isinstance(source, Node)
        form = self._forms.get(source)
        if isinstance(form, Picked):
            return self._moved(node, source)
        if isinstance(form, Cat) and form.dim < ndim_of(source) - 1:
            self._parting.apart(node, self._each_piece(node, source, form))
            return None
        if isinstance(form, Cat | Sum):
            self._parting.part(node, form)
        return None
