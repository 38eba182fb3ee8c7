"""An exported program as an ONNX model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from polyrank.errors import ConfigError
from polyrank.installed import require
from polyrank.model import RankingModel
from polyrank.scoring.export.network import Inputs
from polyrank.scoring.export.one_user import add_one_user
from polyrank.scoring.export.program import Program, program_of

if TYPE_CHECKING:
    import onnx

OPSET = 20


def onnx_of(program: Program, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model, with every tensor's name as the program has it.

    Args:
        program: The network.
        metadata: Goes into the file.

    Raises:
        ConfigError: An operation has no counterpart, or the packages are missing.
    """
    require("export", "onnx", "onnxscript", where="writing ONNX")
    example = dict(program.example)
    with _silent():
        try:
            made = torch.onnx.export(
                program.program,
                (example,),
                dynamo=True,
                input_names=list(example),
                output_names=list(program.outputs),
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ConfigError(
                f"this network has no form in ONNX: {_first_line(error)}",
                where="model",
                hint="Export it as pt2, or score with --engine eager.",
            ) from error
    assert made is not None
    proto: onnx.ModelProto = made.model_proto
    _name_dims(proto)
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def graph_of(model: RankingModel, inputs: Inputs) -> bytes:
    """The network that gives logits, without embedding tables, for an engine."""
    proto = onnx_of(program_of(model, inputs, "logits", cut=True), {})
    add_one_user(proto)
    graph: bytes = proto.SerializeToString()
    return graph


def _first_line(error: BaseException) -> str:
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return str(root).strip().splitlines()[0]


def _name_dims(proto: onnx.ModelProto) -> None:
    """Free dimensions get names that say what they count."""
    names: dict[str, str] = {}
    for value in proto.graph.input:
        shape = value.type.tensor_type.shape.dim
        if not shape or not shape[0].dim_param:
            continue
        told = value.name.removeprefix("list.") if value.name.endswith(".values") else None
        if told is None:
            told = "users" if value.name in ("user_ids", "user_numbers") else None
        if value.name in ("user_row", "ids", "numbers"):
            told = "rows"
        if told is not None:
            names.setdefault(shape[0].dim_param, told)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


@contextmanager
def _silent() -> Iterator[None]:
    """What the exporter says concerns its authors."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
