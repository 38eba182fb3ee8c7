"""Embedding tables in 8 bits, a scale a row, for ONNX Runtime: about a quarter of the bytes.

A row of D numbers becomes D + 1 bytes: its numbers in steps of its own, from -127 to 127, and
which of 256 steps that is. Steps are an eighth of an octave apart, the largest being that of the
table's largest number, so a row loses at most 1/254 of its largest number times 2^(1/8) (rows
2^-32 times smaller than the largest more). One look-up a row finds both (Guan et al., Post-Training
4-bit Quantization on Embedding Tables, 2019, section 2, with a shared list of scales).

Shapes: V rows, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.model import RankingModel
from polyrank.scoring.export.network import table_name
from polyrank.scoring.export.onnx_graph import Rewriting

if TYPE_CHECKING:
    import onnx

_OCTAVE = 8
_ROWS = 65536
"""Rounded at a time: what is between takes memory for these only."""
_TAKEN = "its tables are in 8 bits, and with an engine that took them"


def rounded_rows(table_VD: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
    """Rows in 8 bits, int8 (V, D + 1), and the 256 steps, by the last column as an index."""
    largest = float(table_VD.abs().max()) / 127 if table_VD.numel() else 0.0
    places = np.arange(256)
    places[128:] -= 256  # an index below 0 counts from behind
    steps = (max(largest, 1e-30) * 2.0 ** ((places - 127) / _OCTAVE)).astype(np.float32)
    steps_S, (num_rows, width) = torch.from_numpy(steps), table_VD.shape
    rounded = torch.empty(num_rows, width + 1, dtype=torch.int8)
    for start in range(0, num_rows, _ROWS):
        block = table_VD[start : start + _ROWS]
        octaves_V = torch.log2(block.abs().amax(1).double() / 127 / max(largest, 1e-30))
        place_V = (torch.ceil(octaves_V * _OCTAVE) + 127).clamp(-128, 127).long()
        own = block / steps_S[place_V][:, None]
        rounded[start : start + _ROWS, :-1] = own.round().clamp(-127, 127).to(torch.int8)
        rounded[start : start + _ROWS, -1] = place_V.to(torch.int8)
    return rounded, steps


def with_int8_tables(graph: bytes, model: RankingModel) -> tuple[bytes, dict[str, Tensor]]:
    """The graph reading tables in 8 bits, and these by the names of its inputs.

    Args:
        graph: Of ``graph_of`` or ``quantised``.
        model: It, with its tables.

    Raises:
        ConfigError: The network reads a table otherwise than by rows.
    """
    import onnx

    proto = onnx.load_from_string(graph)
    found = {
        table_name(place): rounded_rows(table)
        for place, table in enumerate(model.tables_of_inputs())
    }
    _Lookups(proto, {name: steps for name, (_, steps) in found.items()}).run()
    for each in proto.graph.input:
        if each.name in found:
            each.type.tensor_type.elem_type = onnx.TensorProto.INT8
            each.type.tensor_type.shape.dim[1].dim_value += 1
    content: bytes = proto.SerializeToString()
    return content, {name: table for name, (table, _) in found.items()}


def take_tables(model: RankingModel) -> None:
    """Let go of a model's float tables; whoever asks it for one later is told."""

    def refuse(*_: object) -> None:
        raise ConfigError(_TAKEN, where="bundle", hint="Load the bundle again.")

    for table in model.tables():
        table.weight = nn.Parameter(table.weight.new_empty(0, table.dim), requires_grad=False)
        table.register_forward_pre_hook(refuse)
        table.register_state_dict_pre_hook(refuse)  # type: ignore[no-untyped-call]


def require_tables(model: RankingModel) -> None:
    """Refuse a model whose tables were taken.

    Raises:
        ConfigError: They were.
    """
    if any(len(table.weight) != table.num_rows for table in model.tables()):
        raise ConfigError(_TAKEN, where="bundle", hint="Load the bundle again.")


class _Lookups(Rewriting):
    """Every look-up in a table becomes one in bytes, times the row's step."""

    def __init__(self, proto: onnx.ModelProto, steps: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(proto)
        self._steps = steps

    def rewrite(self, node: onnx.NodeProto) -> None:
        """See ``Rewriting``."""
        tables = [name for name in node.input if name in self._steps]
        if not tables:
            self.keep(node)
            return
        axis = next((own.i for own in node.attribute if own.name == "axis"), 0)
        if node.op_type != "Gather" or axis or list(node.input[:1]) != tables:
            raise ConfigError(
                f"this network reads an embedding table by {node.op_type}, not by rows",
                where="model",
                hint='Keep its tables as they are: precision "int8".',
            )
        self._look_up(node)

    def _look_up(self, node: onnx.NodeProto) -> None:
        table, ids, name = node.input[0], node.input[1], node.output[0]
        steps = self.constant(f"{table}.steps", self._steps[table])
        width = self._width(table)
        sizes = self.constant(f"{table}.sizes", np.array([width, 1], np.int64))
        self.add("Gather", [table, ids], f"{name}.row", axis=0)
        parts = (f"{name}.bytes", f"{name}.place")
        self.add("Split", [f"{name}.row", sizes], *parts, axis=-1)
        self.add("Cast", [parts[1]], f"{name}.index", to=6)
        self.add("Gather", [steps, f"{name}.index"], f"{name}.step", axis=0)
        self.add("Cast", [parts[0]], f"{name}.whole", to=1)
        self.add("Mul", [f"{name}.whole", f"{name}.step"], name)

    def _width(self, table: str) -> int:
        given = next(each for each in self._proto.graph.input if each.name == table)
        return int(given.type.tensor_type.shape.dim[1].dim_value)
