"""Rewriting an ONNX graph node by node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

_OWN = ("QGemm", "MatMulIntegerToFloat")
"""ONNX Runtime's own operations."""
Readers = Mapping[str, Sequence["onnx.NodeProto"]]
"""By tensor, the nodes that read it, once a place."""


def readers_of(proto: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Of every tensor."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def is_chosen_from(node: onnx.NodeProto, readers: Readers) -> bool:
    """Whether all that reads a node chooses rows of it: it is computed once a user."""
    read = readers.get(node.output[0], ())
    return bool(read) and all(
        own.op_type == "Gather" and own.input[0] == node.output[0] for own in read
    )


class Rewriting(ABC):
    """One pass over a graph, from its inputs on, in place.

    Args:
        proto: The model.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto = proto
        self.nodes: tuple[onnx.NodeProto, ...] = tuple(proto.graph.node)
        self.weights = {each.name: each for each in proto.graph.initializer}
        self.readers = readers_of(proto)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.outputs = {each.name for each in proto.graph.output}
        self._done: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def run(self) -> None:
        """Rewrite all nodes; those that nothing reads any more go."""
        for node in self.nodes:
            self.rewrite(node)
        graph = self._proto.graph
        kept: list[onnx.NodeProto] = []
        wanted = set(self.outputs)
        for node in reversed(self._done):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        constants = [*graph.initializer, *self._constants.values()]
        del graph.initializer[:]
        graph.initializer.extend(each for each in constants if each.name in wanted)

    @abstractmethod
    def rewrite(self, node: onnx.NodeProto) -> None:
        """Add what stands for a node, or keep it."""

    def keep(self, node: onnx.NodeProto) -> None:
        """The node as it is."""
        self._done.append(node)

    def add(self, kind: str, names: Sequence[str], *outputs: str, **attributes: Any) -> None:
        """A new node, named by its first output."""
        import onnx

        domain = "com.microsoft" if kind in _OWN else ""
        self._done.append(
            onnx.helper.make_node(kind, names, outputs, outputs[0], domain=domain, **attributes)
        )

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Its name."""
        from onnx import numpy_helper

        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def array(self, name: str) -> NDArray[Any]:
        """The values of one of the model's constants."""
        from onnx import numpy_helper

        found: NDArray[Any] = numpy_helper.to_array(self.weights[name])
        return found
