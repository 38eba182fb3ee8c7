"""Whatever a runtime throws, an engine says it by one error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from polyrank.bundle import Bundle
from polyrank.model import RankingModel
from polyrank.scoring.engines import Engine, EngineError, OnnxEngine, TorchEngine
from polyrank.scoring.engines.failures import engine_errors
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.made_up import made_up
from tests import feeds


def cut(bundle: Bundle) -> Engine:
    """Eager torch with an embedding table that lost its rows."""
    model = RankingModel(bundle.schema, bundle.encoders.layout, feeds.MODEL, seed=1)
    for weight in model.parameters():
        if weight.ndim == 2 and len(weight) > 100:
            weight.data = weight.data[:1]
    return TorchEngine(model)


def out_of_bounds(bundle: Bundle) -> Engine:
    """ONNX Runtime with a graph that reads the user of each row where there is one user."""
    one = numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "users")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["users", "user_row"], ["logits"])],
        "graph",
        [helper.make_tensor_value_info("user_row", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1])],
        [one],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return OnnxEngine(bundle.model, inputs_of(bundle), content.SerializeToString(), threads=1)


@pytest.mark.parametrize(("made", "thrown"), [(cut, "IndexError"), (out_of_bounds, "Argument")])
def test_what_a_runtime_throws_is_one_error(made: Callable[[Bundle], Engine], thrown: str) -> None:
    bundle = feeds.bundle()
    with pytest.raises(EngineError, match=thrown) as error:
        made(bundle).predict(made_up(bundle.encoders, 3))
    assert isinstance(error.value, RuntimeError)
    assert thrown in type(error.value.__cause__).__name__


def test_a_graph_that_the_runtime_refuses_is_one_error_too() -> None:
    bundle = feeds.bundle()
    with pytest.raises(EngineError, match="InvalidProtobuf"):
        OnnxEngine(bundle.model, inputs_of(bundle), b"no graph", threads=1)


def test_too_little_memory_stays_what_it_is() -> None:
    with pytest.raises(MemoryError), engine_errors():
        np.empty(1 << 60, dtype=np.uint8)
    with pytest.raises(EngineError, match="RuntimeError"), engine_errors():
        torch.zeros(2) + torch.zeros(3)
