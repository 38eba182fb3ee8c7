"""The ONNX file of a bundle's network, in the precision asked for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from polyrank.bundle import Bundle
from polyrank.errors import ConfigError
from polyrank.scoring.engines.choosing import CALIBRATED_ON, Precision
from polyrank.scoring.engines.onnx import feed_of
from polyrank.scoring.export.made_up import made_up
from polyrank.scoring.export.network import Inputs
from polyrank.scoring.export.onnx_file import onnx_of
from polyrank.scoring.export.program import program_of

MOST_BYTES = 1_900_000_000
"""Of one ONNX file; the format ends at 2 GiB."""


def onnx_content(bundle: Bundle, inputs: Inputs, precision: Precision) -> bytes:
    """The file: predictions by task, with all it computes from inside.

    In int8 it has operations of ONNX Runtime's own.

    Args:
        bundle: The model.
        inputs: Of its layout.
        precision: One that the engine ``onnx`` has.

    Raises:
        ConfigError: It would be too large, or the network has no such form.
    """
    model = bundle.model
    apart = precision == "int8_tables"
    _check_size(bundle, apart)
    program = program_of(model, inputs, "predictions", cut=True, tables=apart)
    told = {"polyrank.bundle": bundle.version, "polyrank.precision": precision}
    content: bytes = onnx_of(program, told).SerializeToString()
    if precision == "fp32":
        return content
    from polyrank.scoring.export.int8 import quantised_by
    from polyrank.scoring.export.int8_tables import with_int8_tables

    rows = made_up(bundle.encoders, CALIBRATED_ON)
    content = quantised_by(content, feed_of(model, inputs, rows, None))
    if apart:
        content = with_values(*with_int8_tables(content, model))
    return content


def with_values(graph: bytes, values: Mapping[str, Tensor]) -> bytes:
    """The graph with these of its inputs inside."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_from_string(graph)
    given = [each for each in proto.graph.input if each.name not in values]
    del proto.graph.input[:]
    proto.graph.input.extend(given)
    proto.graph.initializer.extend(
        numpy_helper.from_array(value.numpy(), name) for name, value in values.items()
    )
    content: bytes = proto.SerializeToString()
    return content


def _check_size(bundle: Bundle, int8_tables: bool) -> None:
    size = sum(value.numel() * 4 for value in bundle.model.state_dict().values())
    if int8_tables:
        size -= sum(table.numel() * 3 - len(table) for table in bundle.model.tables_of_inputs())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the network has {size:,} bytes, and one ONNX file holds {MOST_BYTES:,}",
            where="model",
            hint="Lower `embedding_dim`, or the vocabularies by `min_frequency` or hashing.",
        )
