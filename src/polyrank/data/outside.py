"""Labels that speak outside their sample space: a purchase where there was no click.

A row contradicts itself where a task's label is not 0 (of a class: is not worth 0) and a task of
its sample space was observed and is 0, for good: a 0 that may yet become 1 contradicts nothing, and
an event after its window is a 0. What becomes of the row, ``outside`` of the inner task says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import floats_of, plain
from polyrank.data.faults import Fault, Rule, broken
from polyrank.data.maturing import ages_of
from polyrank.data.observed import in_unit, settled_codes
from polyrank.schema import Binary, Schema, Task

Rows = NDArray[np.bool_]


def outside_faults(
    table: pa.Table, raw: pa.Table, schema: Schema, found: Sequence[Fault]
) -> list[Fault]:
    """The rows that contradict themselves, of the tasks that refuse such; not those whose label is
    at fault already.

    Args:
        table: With all labels.
        raw: The same rows as the source gave them, for what the message shows.
        schema: The tasks.
        found: Faults found before.
    """
    faults: list[Fault] = []
    for task in _that(schema, "refuse"):
        bad_B = contradictory(table, schema, task)
        for fault in found:
            if fault.rule.column == task.label:
                bad_B[fault.rows_K] = False
        shown = raw if task.label in raw.schema.names else table
        rule = Rule(
            task.label,
            f"task {task.name!r}: the label is 0 or null where {_told(schema, task)} is 0 "
            "(outside: refuse)",
            "Mend it, or set `outside` to mask or drop.",
        )
        faults += broken(rule, bad_B, plain(shown.column(task.label)))
    return faults


def outside_drops(table: pa.Table, schema: Schema) -> dict[str, Rows]:
    """By reason, the rows that contradict themselves, of the tasks that drop such."""
    return {
        f"label {task.name!r} is not 0 where {_told(schema, task)} is 0": contradictory(
            table, schema, task
        )
        for task in _that(schema, "drop")
    }


def outside_notes(table: pa.Table, schema: Schema) -> dict[str, int]:
    """Of the tasks that are not binary: how many labels contradict their sample space, by what is
    to be told. ``outside_counts`` counts those of binary tasks."""
    return {
        f"label {task.name!r} is not 0 outside its sample space: masked": int(
            contradictory(table, schema, task).sum()
        )
        for task in schema.tasks
        if task.within is not None and not isinstance(task, Binary)
    }


def contradictory(table: pa.Table, schema: Schema, task: Task) -> Rows:
    """The rows where a task's label is not 0 and one of the tasks that it lies within is."""
    denied_B = np.zeros(table.num_rows, dtype=np.bool_)
    for outer in schema.space(task.name):
        denied_B |= (_labels(table, schema, schema.task(outer)) == 0) & _final(table, schema, outer)
    value_B = _labels(table, schema, task)
    speaks_B: Rows = ~np.isnan(value_B) & (value_B != 0)
    return speaks_B & denied_B


def _final(table: pa.Table, schema: Schema, name: str) -> Rows:
    """Where a label cannot change any more."""
    late = next((task for task in schema.maturing if task.name == name), None)
    if late is None:
        return np.ones(table.num_rows, dtype=np.bool_)
    return ages_of(table, schema, late).mature_B


def _labels(table: pa.Table, schema: Schema, task: Task) -> NDArray[np.float64]:
    """NaN where not observed, 0 where the event came after its window."""
    value_B = in_unit(task, settled_codes(table, schema, task))
    if task.mask is None:
        return value_B
    return np.where(floats_of(plain(table.column(task.mask))) == 1, value_B, np.nan)


def _that(schema: Schema, choice: str) -> Iterator[Task]:
    return (task for task in schema.tasks if task.outside == choice)


def _told(schema: Schema, task: Task) -> str:
    return " or ".join(map(repr, schema.space(task.name)))
