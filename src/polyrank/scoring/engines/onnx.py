"""ONNX Runtime on the CPU: the same bits for every batch, place, user and number of threads.

Shapes: N rows, L logits of an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data import Batch
from polyrank.installed import require
from polyrank.model import RankingModel
from polyrank.scoring.engines.base import Predictions, UserRows
from polyrank.scoring.engines.failures import engine_errors
from polyrank.scoring.engines.reading import Reading
from polyrank.scoring.export.network import Inputs, tensors_of
from polyrank.scoring.export.one_user import ADDED_ROW

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

_TWICE = torch.tensor([0, 0])


class OnnxEngine:
    """The network in ONNX Runtime; what heads make of its logits, in torch.

    Matrix products of ONNX Runtime's CPU provider give a row the same bits in every batch, at every
    place and under any number of threads. The embedding tables stay where they are: they are
    handed to the runtime, not copied.

    Args:
        model: Trained.
        inputs: Of its layout.
        graph: The network that gives logits, as ``export.graph_of`` makes it.
        threads: Of the runtime; null: as torch.
        precision: What the graph computes in.
        tables: What it reads instead of the model's embedding tables, by name; null: these.

    Raises:
        ConfigError: ONNX Runtime is not installed.
    """

    name = "onnx"

    def __init__(
        self,
        model: RankingModel,
        inputs: Inputs,
        graph: bytes,
        *,
        threads: int | None = None,
        precision: str = "fp32",
        tables: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.precision = precision
        self._model, self._inputs = model, inputs
        self._tables = {name: table.numpy() for name, table in (tables or {}).items()}
        self._session = session_of(graph, threads)
        self._names = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._reading = Reading(model, inputs)

    @property
    def table_bytes(self) -> int:
        """Of the embedding tables that the engine holds itself; 0: it reads the model's."""
        return sum(table.nbytes for table in self._tables.values())

    def predict(
        self, batch: Batch, *, users: UserRows | None = None, further: bool = False
    ) -> Predictions:
        """As ``Engine.predict``."""
        return self._reading.predict(self._logits, batch, users, further=further)

    def _logits(self, batch: Batch, users: UserRows | None) -> Mapping[str, NDArray[np.float32]]:
        rows = len(batch)
        if rows == 1:  # of one row alone the runtime's products may take another way
            batch = batch.take(_TWICE)
            users = users and UserRows(batch=users.batch, row_N=users.row_N[_TWICE])
        given = feed_of(self._model, self._inputs, batch, users) | self._tables
        found = self._session.run(None, {name: given[name] for name in self._names})
        return {name: value[:rows] for name, value in zip(self._outputs, found, strict=True)}


def feed_of(
    model: RankingModel, inputs: Inputs, batch: Batch, users: UserRows | None
) -> dict[str, NDArray[Any]]:
    """What a graph of ``export.graph_of`` reads, by name."""
    given = tensors_of(model, inputs, batch, users)
    feed = {name: value.numpy() for name, value in given.items()}
    alone = users is not None and len(users.batch) == 1
    feed[ADDED_ROW] = feed["user_row"][:1] if alone else feed["user_row"]
    return feed


def require_runtime() -> None:
    """Refuses to go on without ONNX Runtime.

    Raises:
        ConfigError: It is not installed.
    """
    require("export", "onnxruntime", where="engine", otherwise="or use 'eager'")


def session_of(
    graph: bytes, threads: int | None, *, folded: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session on the CPU whose threads do not spin while they wait.

    Args:
        graph: An ONNX model.
        threads: Null: as torch.
        folded: Where to write the model after rewritings that any processor can run.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        EngineError: It refuses the graph.
    """
    require_runtime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if folded is not None:
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
    with engine_errors():
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
