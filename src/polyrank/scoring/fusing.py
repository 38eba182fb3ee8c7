"""Setting a bundle's value model on a log whose predictions are computed once.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data import open_log
from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation import NO_GROUP, Observations
from polyrank.fusion import Candidates, Scored, WeightedSum
from polyrank.fusion.tuning import outcome
from polyrank.schema import Schema
from polyrank.scoring.first_rows import MOST_ROWS, context_of, first_rows
from polyrank.scoring.order import Order, expected
from polyrank.scoring.scorer import Scorer
from polyrank.scoring.shown import shown
from polyrank.scoring.slices import slice_values

TOP = 3
"""Places of a request by whose labels orders are told apart."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """Predictions and labels of a log, on which any order can be tried."""

    schema: Schema
    rows: Observations
    columns: Mapping[str, NDArray[Any]]
    """The context."""
    on: str
    """Which rows these are, in words."""

    @property
    def has_requests(self) -> bool:
        """Whether the log says which rows were candidates together."""
        return "request" in self.rows.groups

    @property
    def request_N(self) -> NDArray[np.int64]:
        """(N,) a number for each request; a row without a key is a request of its own."""
        if not self.has_requests:
            return np.zeros(self.rows.num_rows, dtype=np.int64)
        code_N = self.rows.groups["request"]
        _, number_N = np.unique(code_N, return_inverse=True)
        own_N = np.arange(len(code_N), 2 * len(code_N))
        return np.where(code_N == NO_GROUP, own_N, number_N)

    def score(self, order: Order) -> Scored:
        """What ``order`` gives every row.

        Raises:
            DataError: It compares the rows of a request, and the log has none.
        """
        if order.depends_on_request and not self.has_requests:
            raise DataError(
                "the value model compares the rows of a request, and the log has no requests",
                hint="Declare `keys.request` in the schema, or apply the model without a log.",
            )
        return order.score(self.rows.predictions, self.request_N, self.columns)

    def measured(self, scored: Scored) -> dict[str, Any]:
        """As in ``ValueVersion``; the share of a term is of the sum of mean sizes."""
        sizes = scored.mean_sizes
        total = sum(sizes.values())
        shares = {name: size / total if total else 0.0 for name, size in sizes.items()}
        terms = {name: {"size": size, "share": shares[name]} for name, size in sizes.items()}
        return {"on": self.on, "terms": terms}

    def means(self, scored: Scored | None = None) -> dict[str, float]:
        """By task the mean label, NaN where none was observed.

        Outside its sample space a label counts as 0: a purchase where there was no click is none.

        Args:
            scored: Of the ``TOP`` rows of each request in this order alone; null: of all rows.
        """
        chosen_N = np.ones(self.rows.num_rows, dtype=np.bool_)
        if scored is not None:
            nothing = Candidates(predictions={}, request_N=self.request_N)
            chosen_N = scored.places(nothing) <= TOP
        return {task: _mean(self._outcome(task)[chosen_N]) for task in self.schema.task_names}

    def _outcome(self, task: str) -> Floats:
        """(N,) the label, 0 where a task that it lies within was observed to be 0."""
        return outcome(self.schema, self.rows, task)


def replay(
    scorer: Scorer,
    log: Any,
    orders: Sequence[Order],
    *,
    part: str = "all",
    max_quarantine_share: float | None = None,
    most_rows: int = MOST_ROWS,
) -> Replay:
    """Predict a log once.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: A path, glob, folder or Arrow-compatible table, with labels; of what was served, the
            rows that were shown (``shown``).
        orders: What will be tried: their context columns are read.
        part: The part of the log by the split of the bundle's run; "all": every row.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        most_rows: Rows that are held in memory: the first ones count.

    Raises:
        DataError: The log is refused, or lacks a context column.
        ConfigError: An unknown part.
    """
    source = shown(open_log(log))
    names = context_of(orders, source.schema().names)
    found = first_rows(
        scorer,
        log,
        source,
        extra=names,
        keep=names,
        part=part,
        max_quarantine_share=max_quarantine_share,
        most_rows=most_rows,
    )
    return Replay(
        schema=scorer.bundle.schema,
        rows=found.rows,
        columns={name: slice_values(found.columns, name) for name in names},
        on=found.on,
    )


def equal_start(found: Replay, values: Mapping[str, float]) -> WeightedSum:
    """Weights under which the tasks contribute equally on the log, times what each is worth.

    Args:
        found: The log.
        values: By task, what it is worth beside the others: at least 0, and 0 leaves it out. Those
            not named are worth 1. It counts against a row where the task's ``sign`` is bad.

    Raises:
        ConfigError: A value names no task or is no such number, or a task is predicted 0 on every
            row, so that no weight makes it contribute.
    """
    tasks = found.schema.task_names
    for name, value in values.items():
        if name not in tasks:
            raise ConfigError(f"{name!r} is no task", where="--value", hint=suggest(name, tasks))
        if not 0 <= value < np.inf:
            raise ConfigError(
                f"{name!r} is worth {value:g}, which is no finite number of at least 0",
                where="--value",
                hint="Whether less of it is better says the task's `sign` in the schema.",
            )
    signs = {task.name: -1.0 if task.sign == "bad" else 1.0 for task in found.schema.tasks}
    worth = {name: signs[name] * values.get(name, 1.0) for name in tasks}
    if not any(worth.values()):
        raise ConfigError("every task is worth 0", where="--value", hint="Leave one above 0.")
    candidates = Candidates(
        predictions=expected(found.schema, found.rows.predictions), request_N=found.request_N
    )
    return WeightedSum.balanced(candidates, {name: value for name, value in worth.items() if value})


def _mean(label_N: Floats) -> float:
    known_N = ~np.isnan(label_N)
    return float(label_N[known_N].mean()) if known_N.any() else float("nan")
