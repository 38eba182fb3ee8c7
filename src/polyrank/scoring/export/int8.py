"""A network's large products in 8 bits, for ONNX Runtime on the CPU.

Weights are rounded to int8, a scale a column; activations to uint8 by a scale of the tensor, fixed
by what it holds on some rows. So a row's bits do not depend on the rows beside it, as they would if
the scale were that of the batch. What lies beyond those rows' range is cut off. Columns of very
different ranges are brought closer first, by factors that the weights take in (Xiao et al.,
SmoothQuant, ICML 2023, equation 4). What is added to a product, such as the user's part, is added
to its integers; what passes a ReLU is kept in 8 bits from 0, which is the ReLU.

Shapes: K width of a product's input, O of its output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data import Batch
from polyrank.model import RankingModel
from polyrank.scoring.engines.onnx import feed_of, session_of
from polyrank.scoring.export.network import Inputs
from polyrank.scoring.export.onnx_graph import Rewriting, is_chosen_from, readers_of

if TYPE_CHECKING:
    import onnx

LEAST = 32
"""Products narrower than this stay in float32: they cost little."""
_UNEVEN = 2.0
"""The widest column's range by that of the one in the middle, above which columns are scaled."""
_STRENGTH = 0.7
"""How much of a column's range its weights take over: SmoothQuant's alpha."""
_FAINT = 1e-3
"""Columns of less than this share of the widest are rounded by the scale of that share."""
_MOST = 1e9
"""Of the integers that are added to a product's."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Range:
    """The least and the largest value of each column."""

    low_K: Floats
    high_K: Floats

    def scaled(self, factor_K: Floats) -> Range:
        """Of the columns divided by so much."""
        return Range(self.low_K / factor_K, self.high_K / factor_K)

    @property
    def low(self) -> float:
        """0 or the least of all."""
        return min(0.0, float(self.low_K.min()))

    @property
    def high(self) -> float:
        """0 or the largest of all."""
        return max(0.0, float(self.high_K.max()))


@dataclass(frozen=True)
class _Bytes:
    """A tensor in 8 bits: (name - zero) * step, each column times its factor."""

    name: str
    step: str
    zero: str
    size: float
    factor_K: Floats | None = None

    @property
    def names(self) -> tuple[str, str, str]:
        return self.name, self.step, self.zero


def quantised(
    graph: bytes, model: RankingModel, inputs: Inputs, rows: Batch, *, least: int = LEAST
) -> bytes:
    """The graph with its large products in 8 bits.

    Args:
        graph: The network that gives logits.
        model: It.
        inputs: Of its layout.
        rows: By which ranges are fixed: recorded ones, or as like them as can be.
        least: Products narrower than this stay as they are.
    """
    return quantised_by(graph, feed_of(model, inputs, rows, None), least=least)


def quantised_by(graph: bytes, feed: Mapping[str, NDArray[Any]], *, least: int = LEAST) -> bytes:
    """As ``quantised``, of any graph by what it is fed, tensors by name."""
    import onnx

    proto = onnx.load_from_string(_folded(graph))
    weights = {each.name: each for each in proto.graph.initializer}
    readers = readers_of(proto)
    products = [
        node
        for node in proto.graph.node
        if _is_product(node, weights, least) and not is_chosen_from(node, readers)
    ]
    watched = {node.input[0] for node in products}
    watched |= {
        own.output[0]
        for node in products
        for own in readers.get(node.output[0], ())
        if own.op_type == "Relu"
    }
    ranges = _ranges(proto, sorted(watched), feed)
    _Quantising(proto, [node for node in products if node.input[0] in ranges], ranges).run()
    proto.opset_import.add(domain="com.microsoft", version=1)
    content: bytes = proto.SerializeToString()
    return content


def _folded(graph: bytes) -> bytes:
    """What depends on weights alone, computed."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "folded.onnx"
        session_of(graph, 1, folded=path)
        return path.read_bytes()


def _is_product(node: onnx.NodeProto, weights: Mapping[str, Any], least: int) -> bool:
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in weights:
        return False
    told = {each.name: each for each in node.attribute}
    plain = all(told[name].f == 1.0 for name in ("alpha", "beta") if name in told)
    turned = "transA" in told and told["transA"].i
    dims = weights[node.input[1]].dims
    return plain and not turned and len(dims) == 2 and min(dims) >= least


def _ranges(
    proto: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, NDArray[Any]]
) -> dict[str, Range]:
    """By tensor; those without rows have none."""
    import onnx

    made = {name for node in proto.graph.node for name in node.output}
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    computed = [name for name in names if name in made]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    session = session_of(watched.SerializeToString(), 1)
    given = {each.name: feed[each.name] for each in session.get_inputs()}
    found = {name: feed[name] for name in names if name in feed}
    if computed:
        found |= dict(zip(computed, session.run(computed, given), strict=True))
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in found.items()}
    return {name: Range(value.min(0), value.max(0)) for name, value in flat.items() if len(value)}


class _Quantising(Rewriting):
    """One pass over a graph, from its inputs on."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        products: Sequence[onnx.NodeProto],
        ranges: Mapping[str, Range],
    ) -> None:
        super().__init__(proto)
        self._products = {node.output[0]: node for node in products}
        self._ranges = ranges
        self._bytes: dict[str, _Bytes] = {}
        self._kept = self._kept_in_bytes()
        """By what a ReLU gives that stays in 8 bits, its largest value."""

    def rewrite(self, node: onnx.NodeProto) -> None:
        """See ``Rewriting``."""
        name = node.output[0]
        if name in self._products:
            self._product(node)
        elif name in self._kept:
            return  # what it reads was made from 0
        elif node.op_type == "Concat" and all(own in self._kept for own in node.input):
            self._concat(node)
        else:
            self.keep(node)

    def _kept_in_bytes(self) -> dict[str, float]:
        kept = {}
        for node in self._products.values():
            (relu, *others) = self.readers.get(node.output[0], [node])
            if relu.op_type != "Relu" or others or node.op_type != "Gemm":
                continue
            name = relu.output[0]
            if name in self.outputs or name not in self._ranges:
                continue
            if all(self._reads_bytes(own, name) for own in self.readers.get(name, ())):
                kept[name] = self._ranges[name].high
        for node in self.nodes:
            if node.op_type == "Concat":
                own = [name for name in node.input if name in kept]
                if len(own) == len(node.input):  # side by side they have one scale
                    kept.update(dict.fromkeys(own, max(kept[name] for name in own)))
                else:
                    for name in own:
                        del kept[name]
        return kept

    def _reads_bytes(self, node: onnx.NodeProto, name: str) -> bool:
        product = node.output[0] in self._products and list(node.input).count(name) == 1
        alone = node.op_type == "Concat" and len(self.readers[name]) == 1
        return (product and node.input[0] == name) or alone

    def _concat(self, node: onnx.NodeProto) -> None:
        """In 8 bits, for whoever reads these; floats of it for whoever does not."""
        name, first = node.output[0], self._bytes[node.input[0]]
        mine = _Bytes(f"{name}.uint8", first.step, first.zero, first.size)
        self._bytes[name] = mine
        attributes = {own.name: own.i for own in node.attribute}
        self.add("Concat", [self._bytes[own].name for own in node.input], mine.name, **attributes)
        self.add("DequantizeLinear", mine.names, name)

    def _product(self, node: onnx.NodeProto) -> None:
        source, name = self._rounded(node.input[0]), node.output[0]
        weight_KO = self._weight(node)
        if source.factor_K is not None:
            weight_KO = weight_KO * source.factor_K[:, None]
        most_O = np.abs(weight_KO).max(0)
        scale_O = np.maximum(most_O, max(_FAINT * most_O.max(), 1e-12)) / np.float32(127)
        rounded_KO = np.clip(np.rint(weight_KO / scale_O), -127, 127).astype(np.int8)
        weight = (
            self.constant(f"{name}.int8", np.ascontiguousarray(rounded_KO)),
            self.constant(f"{name}.scale", scale_O.astype(np.float32)),
            self.constant(f"{name}.zeros", np.zeros(len(scale_O), np.int8)),
        )
        if node.op_type == "MatMul":
            names = [source.name, weight[0], source.step, weight[1], source.zero, weight[2]]
            self.add("MatMulIntegerToFloat", names, name)
            return
        added = self._added(node, source.size * scale_O)
        relu = self.readers[name][0].output[0] if name in self.readers else ""
        if relu in self._kept:
            mine = self._from_zero(relu)
            names = [*source.names, *weight, added, mine.step, mine.zero]
            self.add("QGemm", names, mine.name)
        else:
            self.add("QGemm", [*source.names, *weight, added], name)

    def _from_zero(self, relu: str) -> _Bytes:
        size = max(self._kept[relu], 1e-12) / 255
        mine = _Bytes(
            f"{relu}.uint8",
            self.constant(f"{relu}.step", np.array(size, np.float32)),
            self.constant(f"{relu}.zero", np.array(0, np.uint8)),
            size,
        )
        self._bytes[relu] = mine
        return mine

    def _rounded(self, source: str) -> _Bytes:
        """What a product reads, in 8 bits."""
        if source not in self._bytes:
            found, factor_K, name = self._ranges[source], self._factors(source), source
            if factor_K is not None:
                found, name = found.scaled(factor_K), f"{source}.even"
                inverse = self.constant(f"{source}.factors", 1 / factor_K)
                self.add("Mul", [source, inverse], name)
            size = max(found.high - found.low, 1e-12) / 255
            mine = _Bytes(
                f"{source}.uint8",
                self.constant(f"{source}.step", np.array(size, np.float32)),
                self.constant(f"{source}.zero", np.array(np.rint(-found.low / size), np.uint8)),
                size,
                factor_K,
            )
            self.add("QuantizeLinear", [name, mine.step, mine.zero], mine.name)
            self._bytes[source] = mine
        return self._bytes[source]

    def _factors(self, source: str) -> Floats | None:
        """What columns are divided by; null: they are even enough."""
        own = self._ranges[source]
        range_K = np.maximum(np.abs(own.low_K), np.abs(own.high_K))
        if range_K.max() <= _UNEVEN * np.median(range_K) or not range_K.any():
            return None
        read = [node for node in self._products.values() if node.input[0] == source]
        weight_K = np.max([np.abs(self._weight(node)).max(1) for node in read], axis=0)
        range_K, weight_K = (
            np.maximum(each, max(_FAINT * each.max(), 1e-12)) for each in (range_K, weight_K)
        )
        factor_K: Floats = (range_K**_STRENGTH / weight_K ** (1 - _STRENGTH)).astype(np.float32)
        return factor_K

    def _added(self, node: onnx.NodeProto, unit_O: Floats) -> str:
        """What is added to a product, in units of its integers; empty: nothing."""
        if len(node.input) < 3:
            return ""
        added, name = node.input[2], node.output[0]
        if added in self.weights:
            whole = np.rint(self.array(added) / unit_O).clip(-_MOST, _MOST).astype(np.int32)
            return self.constant(f"{name}.added", whole)
        chosen = self.makers.get(added)
        late = chosen is not None and chosen.op_type == "Gather" and not _axis(chosen)
        source = chosen.input[0] if late and chosen is not None else added
        inverse = self.constant(f"{name}.units", (1 / unit_O).astype(np.float32))
        bounds = [
            self.constant(f"int8.{sign}", np.array(sign * _MOST, np.float32)) for sign in (-1, 1)
        ]
        self.add("Mul", [source, inverse], f"{name}.counted")
        self.add("Clip", [f"{name}.counted", *bounds], f"{name}.bounded")
        self.add("Cast", [f"{name}.bounded"], f"{name}.whole", to=6)
        if not late or chosen is None:
            return f"{name}.whole"
        self.add("Gather", [f"{name}.whole", chosen.input[1]], f"{name}.added", axis=0)
        return f"{name}.added"

    def _weight(self, node: onnx.NodeProto) -> Floats:
        """(K, O) What the rows are multiplied by."""
        stored = self.array(node.input[1])
        turned = any(each.name == "transB" and each.i for each in node.attribute)
        return np.asarray(stored.T if turned else stored, np.float32)


def _axis(node: onnx.NodeProto) -> int:
    return next((own.i for own in node.attribute if own.name == "axis"), 0)
