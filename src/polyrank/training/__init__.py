"""Training: the loop, the optimizers, precision, checkpoints, several processes.

>>> import tempfile
>>> from pathlib import Path
>>> import pyarrow as pa
>>> from polyrank.config import DataConfig, RunConfig, TrainingConfig
>>> from polyrank.schema import Binary, Categorical, Schema
>>> from polyrank.training import Sources, prepare, train
>>> schema = Schema(
...     features=(Categorical(name="item", min_frequency=1),), tasks=(Binary(name="click"),)
... )
>>> log = pa.table({"item": [1, 2, 3, 4] * 50, "click": [1, 0, 1, 0] * 50})
>>> config = RunConfig(
...     schema_=schema,
...     data=DataConfig(train="log", validation="log"),
...     training=TrainingConfig(epochs=2, batch_size=20, table_learning_rate=0.5),
... )
>>> with tempfile.TemporaryDirectory() as folder:
...     prepared = prepare(config, Sources.of(train=log, validation=log), Path(folder))
...     result = train(config, prepared, Path(folder))
>>> prepared.ledger.used, result.steps, result.best_score
(400, 20, 1.0)

A run is a function of its configuration, its log and the number of processes: it can be cut off at
any moment, by ``kill -9`` too, and ends with the same bits when it is resumed. What it writes into
its folder: ``checkpoints``, ``log.jsonl`` (see ``journal``), ``quarantine.parquet`` and the cache
of the encoded log.
"""

from polyrank.training.distributed import join_processes
from polyrank.training.loop import train
from polyrank.training.prepare import cached_encoders, prepare
from polyrank.training.prepared import Prepared
from polyrank.training.probe import Probe
from polyrank.training.processes import Processes
from polyrank.training.progress import ProgressReport
from polyrank.training.records import (
    EvaluationRecord,
    NoticeRecord,
    Observer,
    Observers,
    ProbeRecord,
    Record,
    RunPlan,
    TrainRecord,
)
from polyrank.training.reopen import reopen
from polyrank.training.session import TrainResult
from polyrank.training.sources import Sources, open_sources
from polyrank.training.spans import Span

__all__ = [
    "EvaluationRecord",
    "NoticeRecord",
    "Observer",
    "Observers",
    "Prepared",
    "Probe",
    "ProbeRecord",
    "Processes",
    "ProgressReport",
    "Record",
    "RunPlan",
    "Sources",
    "Span",
    "TrainRecord",
    "TrainResult",
    "cached_encoders",
    "join_processes",
    "open_sources",
    "prepare",
    "reopen",
    "train",
]
