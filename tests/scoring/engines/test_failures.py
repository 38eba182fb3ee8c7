"""Whatever a runtime throws, an engine says it by one error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from polyrank.bundle import Bundle
from polyrank.scoring import Scorer
from polyrank.scoring.engines import EngineError, OnnxEngine
from polyrank.scoring.engines.failures import engine_errors
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.made_up import made_up
from tests import feeds
from tests.scoring.engines import broken


@pytest.mark.parametrize(
    ("made", "thrown"), [(broken.cut, "IndexError"), (broken.out_of_bounds, "InvalidArgument")]
)
def test_what_a_runtime_throws_is_one_error(made: Callable[[Bundle], Scorer], thrown: str) -> None:
    bundle = feeds.bundle()
    with pytest.raises(EngineError, match=thrown) as error:
        made(bundle).engine.predict(made_up(bundle.encoders, 3))
    assert isinstance(error.value, RuntimeError)
    assert type(error.value.__cause__).__name__ == thrown


def test_a_graph_that_the_runtime_refuses_is_one_error_too() -> None:
    bundle = feeds.bundle()
    with pytest.raises(EngineError, match="InvalidProtobuf"):
        OnnxEngine(bundle.model, inputs_of(bundle), b"no graph", threads=1)


def test_too_little_memory_stays_what_it_is() -> None:
    with pytest.raises(MemoryError), engine_errors():
        np.empty(1 << 60, dtype=np.uint8)
    with pytest.raises(EngineError, match="RuntimeError"), engine_errors():
        torch.zeros(2) + torch.zeros(3)
