"""Engines whose runtimes throw something, really."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from polyrank.bundle import Bundle
from polyrank.model import RankingModel
from polyrank.scoring import Scorer
from polyrank.scoring.engines import OnnxEngine, TorchEngine
from polyrank.scoring.export.inputs_of import inputs_of


def cut(bundle: Bundle) -> Scorer:
    """Eager torch with embedding tables that lost their rows: an ``IndexError``."""
    model = _model(bundle)
    for weight in model.parameters():
        if weight.ndim == 2 and len(weight) > 100:
            weight.data = weight.data[:1]
    return Scorer(replace(bundle, model=model), TorchEngine(model))


def not_finite(bundle: Bundle) -> Scorer:
    """Eager torch with weights that are no numbers: nothing is thrown."""
    model = _model(bundle)
    for weight in model.parameters():
        weight.data.fill_(np.nan)
    return Scorer(replace(bundle, model=model), TorchEngine(model))


def out_of_bounds(bundle: Bundle) -> Scorer:
    """ONNX Runtime with a graph that looks for a user that is not there: ``InvalidArgument``, which
    derives from ``Exception`` alone."""
    nobody = numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "users")
    one = numpy_helper.from_array(np.ones(1, dtype=np.int64), "one")
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["user_row", "one"], ["next_row"]),
            helper.make_node("Gather", ["users", "next_row"], ["logits"]),
        ],
        "graph",
        [helper.make_tensor_value_info("user_row", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1])],
        [nobody, one],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    inputs = inputs_of(bundle)
    return Scorer(bundle, OnnxEngine(bundle.model, inputs, content.SerializeToString(), threads=1))


def _model(bundle: Bundle) -> RankingModel:
    return RankingModel(bundle.schema, bundle.encoders.layout, bundle.model_config, seed=1).eval()
