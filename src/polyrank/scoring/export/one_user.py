"""Where a row's user is chosen only to be added to a product, one user needs no choice.

ONNX adds one row to all rows of a product by itself. So such choices read an index of their own,
``user_row.added``: the user of each row or, where all rows are of one user, that one alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyrank.scoring.export.onnx_graph import Readers, readers_of

if TYPE_CHECKING:
    import onnx

ADDED_ROW = "user_row.added"
_SAME = ("Reshape", "Identity")


def add_one_user(proto: onnx.ModelProto) -> None:
    """Change the model in place; one without such choices stays as it is."""
    import onnx

    same = {"user_row"}
    readers, found = readers_of(proto), []
    for node in proto.graph.node:
        if node.op_type in _SAME and node.input[0] in same:
            same.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in same and _is_added(node, readers):
            found.append(node)
    for node in found:
        node.input[1] = ADDED_ROW
    if found:
        kept = [each for each in proto.graph.value_info if each.name not in _outputs(found)]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(kept)
        proto.graph.input.append(
            onnx.helper.make_tensor_value_info(ADDED_ROW, onnx.TensorProto.INT64, ["added_rows"])
        )


def _is_added(node: onnx.NodeProto, readers: Readers) -> bool:
    """Whether products alone read it, to add it; they know how many rows they have."""
    name = node.output[0]
    read = readers.get(name, ())
    rows = not any(own.name == "axis" and own.i for own in node.attribute)
    return (
        rows
        and bool(read)
        and all(own.op_type == "Gemm" and list(own.input).index(name) == 2 for own in read)
    )


def _outputs(nodes: list[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.output}
