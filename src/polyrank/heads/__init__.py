"""One file a kind of task: its loss on logits and its prediction in the user's unit.

>>> import torch
>>> from polyrank.data.layout import TargetStats
>>> from polyrank.heads import build_head
>>> from polyrank.schema import Binary
>>> head = build_head(Binary(name="click"), TargetStats(mean=0.2, std=0.4, count=1000))
>>> round(head.predict(head.initial_logits()[None]).item(), 3)
0.2
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from polyrank.data.layout import TargetStats
from polyrank.heads.base import Head, masked_mean
from polyrank.heads.binary import BinaryHead
from polyrank.heads.duration import DurationHead
from polyrank.heads.regression import RegressionHead
from polyrank.schema import Binary, Duration, Regression

HEADS: Mapping[str, Callable[[Any, TargetStats], Head]] = MappingProxyType(
    {"binary": BinaryHead, "regression": RegressionHead, "duration": DurationHead}
)
"""By kind of task."""


def build_head(task: Binary | Regression | Duration, stats: TargetStats) -> Head:
    """The head of ``task``, given what the training split shows of its label."""
    return HEADS[task.kind](task, stats)


__all__ = [
    "HEADS",
    "BinaryHead",
    "DurationHead",
    "Head",
    "RegressionHead",
    "build_head",
    "masked_mean",
]
