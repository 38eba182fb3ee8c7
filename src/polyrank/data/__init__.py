"""From a log to batches: sources, joins, checks, splits, encoders, the encoded cache."""

from polyrank.data.batch import Batch, Ragged
from polyrank.data.layout import (
    IdColumn,
    Layout,
    NumericColumn,
    RaggedColumn,
    TargetStats,
    VectorColumn,
)

__all__ = [
    "Batch",
    "IdColumn",
    "Layout",
    "NumericColumn",
    "Ragged",
    "RaggedColumn",
    "TargetStats",
    "VectorColumn",
]
