"""One answered request, as the server hands it to the log.

Shapes: N candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.schema import Schema

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What was asked and answered. Nothing of it may change once it is handed over."""

    request: str
    """The request's id."""
    at: datetime
    """When it came; with a time zone."""
    model: str
    version: str
    """Of the bundle that answered."""
    schema: Schema
    """That bundle's."""
    rows: pa.Table
    """N candidates: keys, features and context, given or joined, as the scorer read them."""
    predictions: Mapping[str, Floats]
    """By task (N,), as answered; NaN where none could be made."""
    context: tuple[str, ...] = ()
    """Columns that calibration, value model and demotion read beside predictions
    (``Scorer.segment_columns``, ``Order.columns``)."""
    score_N: Floats | None = None
    """Null: the request asked for predictions alone."""
    position_N: NDArray[np.int64] | None = None
    """Rank, from 1; null as ``score_N``."""
    num_shown: int | None = None
    """How many of the first ranks were answered; null: all."""
    value_version: int | None = None
    """Of the value model."""
    profile: str | None = None
    """The value-model profile."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By name: the value model's weights as they were applied, drawn ones if they are drawn."""
    propensity_N: Floats | None = None
    """The chance of each candidate at its place given those above; NaN: unknown, as weights were
    drawn; null: 1, nothing was drawn."""
    drawn: str | None = None
    """What the ranking was drawn from, as JSON; null: nothing was drawn."""
    draw: str | None = None
    """The server's name of the draw, which the noise is a function of; null as ``drawn``."""
    types: Mapping[str, Any] = field(default_factory=dict)
    """By column the Arrow type it is logged in (``types_of``); others as they are given."""
    degraded: tuple[str, ...] = ()
    """What was not as it should be, such as ``features:timeout``."""


def size_of(answer: Answer) -> int:
    """About how many bytes it holds."""
    arrays: list[Any] = [*answer.predictions.values(), answer.score_N, answer.position_N]
    arrays.append(answer.propensity_N)
    beside: int = sum(array.nbytes for array in arrays if array is not None)
    return int(answer.rows.nbytes) + beside
