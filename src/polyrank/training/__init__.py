"""Training: the loop, the optimizers, precision, checkpoints, several processes."""

from polyrank.training.distributed import Processes, join_processes
from polyrank.training.loop import train
from polyrank.training.prepare import Prepared, prepare
from polyrank.training.progress import ProgressReport
from polyrank.training.records import (
    EvaluationRecord,
    NoticeRecord,
    Observer,
    Observers,
    Record,
    RunPlan,
    TrainRecord,
)
from polyrank.training.session import TrainResult
from polyrank.training.sources import Sources, open_sources
from polyrank.training.spans import Span

__all__ = [
    "EvaluationRecord",
    "NoticeRecord",
    "Observer",
    "Observers",
    "Prepared",
    "Processes",
    "ProgressReport",
    "Record",
    "RunPlan",
    "Sources",
    "Span",
    "TrainRecord",
    "TrainResult",
    "join_processes",
    "open_sources",
    "prepare",
    "train",
]
