"""What the tasks of an older model gained or lost in a newer one, on the same rows.

Shapes: N rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.config import EvaluationConfig
from polyrank.evaluation import Comparison, Observations, compare
from polyrank.scoring.evaluation import observe_rows
from polyrank.scoring.scorer import Scorer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gains:
    """The tasks of ``a`` in ``b``."""

    rows: int
    largest: Mapping[str, float]
    """By task the largest distance of two predictions; 0: all are the same, bit for bit."""
    comparison: Comparison | None
    """Paired differences b - a; None where there are more rows than may be held in memory."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        told = None if self.comparison is None else self.comparison.to_json()
        return {"rows": self.rows, "largest": dict(self.largest), "comparison": told}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Gains:
        """What ``to_json`` gave."""
        told = tree["comparison"]
        return cls(
            rows=tree["rows"],
            largest=tree["largest"],
            comparison=None if told is None else Comparison.from_json(told),
        )


def measure_gains(
    a: Scorer, b: Scorer, chunks: Iterator[pa.Table], config: EvaluationConfig
) -> Gains:
    """``a`` and ``b`` on tables as a ``Reader`` gives them.

    Args:
        a: The older model.
        b: The newer one; it has all tasks of ``a``.
        chunks: Rows with the features of both and the labels of ``b``.
        config: Draws of the intervals, and how many rows may be held in memory. All metrics that
            apply are compared.
    """
    tasks = a.bundle.schema.tasks
    largest = {task.name: 0.0 for task in tasks}
    before: list[Observations] = []
    after: list[Observations] = []
    rows = 0
    for chunk in chunks:
        (seen,) = observe_rows(b, iter([chunk]), tuple(largest))
        older = a.predict(chunk)
        for task in largest:
            apart = np.abs(seen.predictions[task] - older[task]).max(initial=0.0)
            largest[task] = max(largest[task], float(apart))
        rows += chunk.num_rows
        if rows <= config.exact_rows:
            after.append(seen)
            before.append(dataclasses.replace(seen, predictions=older))
    comparison = None
    if rows <= config.exact_rows:
        comparison = compare(
            Observations.concatenate(before),
            Observations.concatenate(after),
            tasks,
            resamples=config.resamples,
        )
    return Gains(rows=rows, largest=largest, comparison=comparison)
