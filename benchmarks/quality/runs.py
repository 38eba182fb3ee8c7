"""polyrank's side: a part of the log as one table, a run, its predictions on a part.

Shapes: N rows.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from polyrank.config import RunConfig, load_config
from polyrank.data import Encoders, Reader, load_side_table
from polyrank.evaluation import Observations
from polyrank.schema import Schema
from polyrank.scoring import TorchEngine
from polyrank.training import Sources, TrainResult, open_sources, prepare, train

Part = Literal["train", "validation", "test"]

_ROWS = 4096


@dataclass(frozen=True)
class Study:
    """A configuration and the logs it names."""

    path: Path
    root: Path
    settings: tuple[str, ...] = ()
    """``key.path=value`` each, put over the file in every run."""

    def config(self, *settings: str) -> RunConfig:
        """The run, with further settings put over the study's."""
        return load_config(self.path, (*self.settings, *settings))

    @cached_property
    def schema(self) -> Schema:
        """Of the file as it stands."""
        return self.config().schema_

    @cached_property
    def sources(self) -> Sources:
        """The opened logs."""
        return open_sources(self.config().data, self.root)

    def rows(self, part: Part) -> pa.Table:
        """The rows of a part as polyrank trains on them: deduplicated, joined, checked."""
        config = self.config()
        tables = {
            side.name: load_side_table(
                self.sources.tables[side.name], side, self.schema, root=self.root
            )
            for side in self.schema.tables
        }
        reader = Reader(
            self.sources.logs["log"], self.schema, tables=tables, split=config.data.split
        )
        return pa.concat_tables(list(reader.chunks(part)))


@dataclass(frozen=True)
class Run:
    """A trained network with its encoders."""

    encoders: Encoders
    result: TrainResult
    schema: Schema

    def observe(self, rows: pa.Table) -> Observations:
        """Predictions beside the labels of ``rows``."""
        engine = TorchEngine(self.result.model)
        chunks = [rows.slice(start, _ROWS) for start in range(0, rows.num_rows, _ROWS)]
        found = [
            engine.predict(self.encoders.encode(chunk.combine_chunks(), labels=False))
            for chunk in chunks
        ]
        predictions = {
            task: np.concatenate([part[task] for part in found]) for task in self.schema.task_names
        }
        return beside_labels(self.encoders, rows, predictions)


def beside_labels(encoders: Encoders, rows: pa.Table, predictions: dict[str, Any]) -> Observations:
    """``predictions`` with the labels, masks and users that the encoders read in ``rows``."""
    batch = encoders.encode(rows.combine_chunks())
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    columns = encoders.layout.tasks
    labels_NT, observed_NT = batch.labels_BT.double().numpy(), batch.observed_BT.numpy()
    return Observations(
        predictions=predictions,
        labels={task: labels_NT[:, columns.index(task)] for task in predictions},
        masks={task: observed_NT[:, columns.index(task)] for task in predictions},
        groups={role: codes.numpy() for role, codes in (batch.groups or {}).items()},
    )


def run(study: Study, *settings: str, cache: Path) -> Run:
    """Train; the encoded log is kept under ``cache`` for the next run."""
    config = study.config(*settings, f"data.cache={cache}")
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        prepared = prepare(config, study.sources, Path(folder))
        result = train(config, prepared, Path(folder))
    return Run(prepared.encoders, result, config.schema_)
