"""Rows kept to try a bundle on, with what one bundle predicted for them.

A record is committed like any artefact and named after the bundle's content, so that one folder
holds those of many versions: a pipeline writes it with the bundle, before it is deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polyrank.bundle import Bundle
from polyrank.errors import ArtefactError, DataError
from polyrank.scoring import PREFIX, Order, Scorer
from polyrank.scoring.engines import graphs
from polyrank.serving.models.engine import EngineOf, eager
from polyrank.serving.models.served import engine_name
from polyrank.storage import FileSource, arrays_writer, commit_directory, jsonio, open_committed
from polyrank.storage.tables import table_bytes

KIND = "recorded-rows"
FORMAT_VERSION = 1
MAX_ROWS = 256
LABEL_DIGITS = 12
"""Hexadecimal digits of a bundle's content that name it."""
Predictions = Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """Rows, and what a bundle predicted for them."""

    rows: pa.Table
    predictions: Predictions
    """By task, as ``predicted`` gives them."""
    content: str
    """Of the bundle."""
    engine: str
    capability: str
    """Of the processor; on another one bits may differ."""


def label_of(content: str) -> str:
    """How a bundle without a folder among versions is called."""
    return content[:LABEL_DIGITS]


def capability() -> str:
    """The instruction set that torch uses and the form of exported graphs: with others, other bits
    are right."""
    return f"{torch.backends.cpu.get_cpu_capability()}, graphs {graphs.FORMAT_VERSION}"


def predicted(scorer: Scorer, rows: pa.Table) -> Predictions:
    """By task (N,) calibrated predictions; NaN in a row that is refused."""
    scored = scorer.score(rows)
    tasks = scorer.bundle.schema.task_names
    return {task: scored[PREFIX + task].to_numpy().astype(np.float64) for task in tasks}


def record_rows(
    bundle: Bundle,
    table: pa.Table,
    folder: Path,
    *,
    engine_of: EngineOf = eager,
    limit: int = MAX_ROWS,
) -> Path:
    """Keep rows of a log, and what a saved bundle predicts for them, in ``folder``.

    The rows hold features as they were logged: keep them as you keep the log.

    Args:
        bundle: As loaded from where it was saved.
        table: Of which the first ``limit`` rows are kept, with the columns that scoring reads.
        folder: ``<path>.rows`` beside the path that is served.
        engine_of: Makes the engine that is served by.
        limit: From 1 to 256.

    Returns:
        Where the record lies; the one of the same bundle before it is replaced.

    Raises:
        DataError: A row is refused, so that it says nothing.
    """
    assert bundle.version, "a bundle that was saved has a version"
    engine = engine_of(bundle)
    scorer = Scorer(bundle, engine)
    rows = table.slice(0, min(max(limit, 1), MAX_ROWS))
    rows = rows.select([name for name in rows.column_names if name in _read(scorer)])
    predictions = predicted(scorer, rows)
    if bad := [task for task, value_N in predictions.items() if not np.isfinite(value_N).all()]:
        raise DataError(
            f"no finite prediction of {', '.join(bad)} for some rows",
            where="recorded rows",
            hint="Give rows that the schema accepts.",
        )
    about = {
        "content": bundle.version,
        "engine": engine_name(engine),
        "capability": capability(),
    }
    path = folder / label_of(bundle.version)
    files: dict[str, FileSource] = {
        "rows.parquet": table_bytes(rows),
        "predictions.safetensors": arrays_writer(dict(predictions)),
        "about.json": jsonio.dumps(about),
    }
    commit_directory(path, files, kind=KIND, format_version=FORMAT_VERSION, replace=True)
    return path


def open_rows(path: Path) -> Recorded:
    """A record, verified before any of it is used.

    Raises:
        ArtefactError: It is damaged, or no record.
    """
    with open_committed(path, kind=KIND, supported_versions={FORMAT_VERSION}) as committed:
        about: Any = committed.json("about.json")
        rows = committed.table("rows.parquet")
        predictions = committed.arrays("predictions.safetensors")
    if not isinstance(about, dict) or about.keys() != {"content", "engine", "capability"}:
        raise ArtefactError("is no record of rows", where=path.name, hint="Record them again.")
    return Recorded(rows=rows, predictions=predictions, **about)


def _read(scorer: Scorer) -> set[str]:
    schema = scorer.bundle.schema
    lengths = (task.length for task in schema.durations if task.length is not None)
    return {
        *schema.feature_columns(bias=False),
        *(side.on for side in schema.tables),
        *lengths,
        *scorer.segment_columns,
        *Order.of(scorer.bundle).columns,
    }
