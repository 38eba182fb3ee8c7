"""The rules on labels that arrive late: an event, its impression and the label have to agree.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import plain
from polyrank.data.faults import Fault, Rule, broken
from polyrank.data.maturing import Ages, ages_of, maturity_of
from polyrank.data.observed import label_codes, was_asked
from polyrank.schema import Binary, Schema

Bad = Callable[[Ages, NDArray[np.float64]], NDArray[np.bool_]]
"""From ages and labels, NaN where not observed, to the rows that break the rule."""


@dataclass(frozen=True, eq=False)
class AgeCheck:
    """One rule on the time of an event, the time of its impression and the label."""

    rule: Rule
    schema: Schema
    task: Binary
    bad: Bad

    def faults(self, table: pa.Table, raw: pa.Table) -> list[Fault]:
        """The rows that break the rule, with the time of the event as ``raw`` has it."""
        own_B = was_asked(table, self.task)
        label_B = np.where(own_B, label_codes(table, self.task), np.nan)
        bad_B = self.bad(ages_of(table, self.schema, self.task), label_B)
        return broken(self.rule, bad_B, plain(raw.column(self.rule.column)))


def checks_of_ages(schema: Schema, columns: Collection[str]) -> Iterator[AgeCheck]:
    """The rules for a table with these columns; those that need others are left out."""
    for task in schema.maturing:
        event_time = maturity_of(task).event_time
        needed = {task.label, task.mask, event_time, schema.keys.time} - {None}
        if needed <= set(columns):
            for text, cure, bad in _RULES:
                rule = Rule(event_time, f"task {task.name!r}: {text}", cure)
                yield AgeCheck(rule, schema, task, bad)


def _no_event(ages: Ages, label_B: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((label_B == 1) & ~ages.event_B)


def _no_label(ages: Ages, label_B: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((label_B == 0) & ages.event_B & ~ages.early_B & ~ages.late_B)


_RULES: tuple[tuple[str, str, Bad], ...] = (
    (
        "an event follows its impression",
        "A clock is wrong: mend or drop the row.",
        lambda ages, label_B: ages.early_B,
    ),
    (
        "a label of 1 has the time of its event",
        "Write it, or a label of 0 where none came.",
        _no_event,
    ),
    (
        "with an event within the window the label is 1, and here it is 0",
        "Write 1, or null as the time of an event that does not count.",
        _no_label,
    ),
)
