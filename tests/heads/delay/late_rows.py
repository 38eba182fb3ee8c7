"""Rows whose labels come late, for the tests of delay corrections.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polyrank.data import Batch
from polyrank.data.layout import TargetStats
from polyrank.heads import build_head
from polyrank.heads.binary import BinaryHead
from polyrank.heads.delay import DELAYS, Correction, DelayConfig, Times
from polyrank.schema import Binary, Maturity, parse

CONFIGS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "naive": [{}],
    "fnw": [{}],
    "es_dfm": [{"wait": 0.25}, {"wait": 0.5, "auxiliary_weight": 0.3}],
}
"""By kind: what its tests run over."""
CASES = {
    " ".join([kind, *map(str, settings.values())]): {"kind": kind, **settings}
    for kind, listed in CONFIGS.items()
    for settings in listed
}
TASK = Binary(name="buy", maturity=Maturity(window=10, event_time="paid", observed_until=100))
AGES = (0.25, 4.0)
"""Of the training rows: a span from 3 windows before the cut."""


def head(rate: float = 0.3) -> BinaryHead:
    made = build_head(TASK, TargetStats(mean=rate, std=0.5, count=100))
    assert isinstance(made, BinaryHead)
    return made


def config_of(case: str) -> DelayConfig:
    tree = dict(CASES[case])
    return parse(DELAYS[tree["kind"]], tree)


def correction(case: str, ages: tuple[float, float] = AGES) -> Correction:
    stats = TargetStats(mean=0.3, std=0.5, count=100, ages=ages)
    return config_of(case).build(TASK, head(), stats)


def every_row() -> Times:
    """All pairs of ages and delays that differ in what a correction makes of them."""
    ages = (-0.1, 0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0, 1.5, 2.9, 3.0, 3.25, 3.3, 3.6, 4.0)
    delays = (math.nan, math.inf, 0.0, 0.1, 0.25, 0.4, 0.5, 0.9, 1.0, 1.1, 2.0)
    pairs = [
        (age, delay) for age in ages for delay in delays if not delay <= 2 or delay <= age
    ]  # an event is never after the cut
    elapsed, delay = zip(*pairs, strict=True)
    return Times(elapsed_B=torch.tensor(elapsed), delay_B=torch.tensor(delay))


def random_logits(chosen: Correction, rows: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Leaves, by output."""
    generator = torch.Generator().manual_seed(4)
    names = ["buy", *(output.name for output in chosen.outputs)]
    return {
        name: torch.randn(rows, 1, generator=generator).to(dtype).requires_grad_() for name in names
    }


def batch_of(times: Times, weights: Tensor | None = None) -> Batch:
    """A batch of the one task: observed where mature."""
    rows = len(times.elapsed_B)
    mature_B = times.mature_B
    return Batch(
        ids_BF=torch.zeros(rows, 1, dtype=torch.int64),
        numeric_BN=torch.zeros(rows, 0),
        ragged={},
        vectors={},
        labels_BT=(mature_B & (times.delay_B <= 1)).double()[:, None],
        observed_BT=mature_B[:, None],
        weight_B=torch.ones(rows) if weights is None else weights,
        extras={"buy.elapsed": times.elapsed_B, "buy.delay": times.delay_B},
    )


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))
