"""A network's large products in 8 bits, for ONNX Runtime on the CPU.

Weights are rounded to int8, a scale a column; activations to uint8 by a scale of the product, fixed
by what it reads on some rows. So a row's bits do not depend on the rows beside it, as they would if
the scale were that of the batch. What lies beyond those rows' range is cut off.

Shapes: K width of a product's input, O of its output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data import Batch
from polyrank.model import RankingModel
from polyrank.scoring.engines.onnx import session_of
from polyrank.scoring.export.network import Inputs, tensors_of

if TYPE_CHECKING:
    import onnx

LEAST = 64
"""Products narrower than this stay in float32: they cost little."""


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
    import onnx

    proto = onnx.load_from_string(_folded(graph))
    weights = {each.name: each for each in proto.graph.initializer}
    products = [node for node in proto.graph.node if _is_product(node, weights, least)]
    feed = {name: value.numpy() for name, value in tensors_of(model, inputs, rows, None).items()}
    ranges = _ranges(proto, sorted({node.input[0] for node in products}), feed)
    done = [
        new
        for node in proto.graph.node
        for new in (_in_int8(node, weights, ranges, proto) if node in products else [node])
    ]
    del proto.graph.node[:]
    proto.graph.node.extend(_once_each(done))
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
    return plain and not turned and min(weights[node.input[1]].dims) >= least


def _ranges(
    proto: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each tensor."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = session_of(watched.SerializeToString(), 1)
    given = {each.name: feed[each.name] for each in session.get_inputs()}
    found = session.run(list(names), given)
    return {
        name: (min(0.0, float(value.min())), max(0.0, float(value.max())))
        for name, value in zip(names, found, strict=True)
    }


def _in_int8(
    node: onnx.NodeProto,
    weights: Mapping[str, Any],
    ranges: Mapping[str, tuple[float, float]],
    proto: onnx.ModelProto,
) -> list[onnx.NodeProto]:
    """The nodes that stand for a product, whose constants are added to the model."""
    import onnx
    from onnx import numpy_helper

    source, name = node.input[0], node.output[0]
    weight_KO = _weight(node, numpy_helper.to_array(weights[node.input[1]]))
    scale_O = np.maximum(np.abs(weight_KO).max(0), 1e-12) / 127
    rounded_KO = np.clip(np.rint(weight_KO / scale_O), -127, 127).astype(np.int8)
    low, high = ranges[source]
    step = np.float32(max(high - low, 1e-12) / 255)
    constants = {
        f"{source}.step": np.array(step, np.float32),
        f"{source}.zero": np.array(np.rint(-low / step), np.uint8),
        f"{name}.int8": np.ascontiguousarray(rounded_KO),
        f"{name}.scale": scale_O.astype(np.float32),
        f"{name}.zeros": np.zeros(rounded_KO.shape[1], np.int8),
    }
    known = {each.name for each in proto.graph.initializer}
    proto.graph.initializer.extend(
        numpy_helper.from_array(value, key) for key, value in constants.items() if key not in known
    )
    step_of, zero_of = f"{source}.step", f"{source}.zero"
    names = (f"{name}.int8", step_of, f"{name}.scale", zero_of, f"{name}.zeros")
    bias = list(node.input[2:3])
    alone = f"{name}.product" if bias else name
    nodes = [
        onnx.helper.make_node(
            "QuantizeLinear", [source, step_of, zero_of], [f"{source}.uint8"], f"{source}.uint8"
        ),
        onnx.helper.make_node(
            "MatMulIntegerToFloat",
            [f"{source}.uint8", *names],
            [alone],
            alone,
            domain="com.microsoft",
        ),
    ]
    if bias:
        nodes.append(onnx.helper.make_node("Add", [alone, bias[0]], [name], name))
    return nodes


def _weight(node: onnx.NodeProto, stored: NDArray[Any]) -> NDArray[np.float32]:
    """(K, O) What the rows are multiplied by."""
    turned = any(each.name == "transB" and each.i for each in node.attribute)
    return np.asarray(stored.T if turned else stored, np.float32)


def _once_each(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Without the second rounding of what several products read."""
    seen: set[str] = set()
    kept = []
    for node in nodes:
        if node.output[0] not in seen:
            kept.append(node)
        seen.add(node.output[0])
    return kept
