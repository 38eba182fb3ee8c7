"""Requests that a model answers: one made of nothing but its columns, one of recorded rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyrank.serving.infer import LENGTHS
from polyrank.serving.models import Served
from polyrank.serving.protocol import ModelSpec, TensorSpec
from polyrank.serving.rankers import Desk

MOST = 20
"""Candidates of an example."""


def example_of(served: Served, desk: Desk, spec: ModelSpec) -> dict[str, Any]:
    """The body of a ``POST /v1/rank`` with made-up values: whoever reaches the server may see it,
    so nothing of the bundle is in it but names and types of columns.

    Args:
        served: What answers it.
        desk: The version's.
        spec: What the version takes, the columns of its value models among it.
    """
    columns = dict(_made_up(spec))
    rows = [{name: column[row] for name, column in columns.items()} for row in range(MOST)]
    user = [name for name in desk.ranker.requests.user_columns if name in columns]
    return _body(served, user, [name for name in columns if name not in user], rows)


def recorded_of(served: Served, desk: Desk) -> dict[str, Any]:
    """The same of the rows that the version was tried on: they may be rows of a log."""
    requests = desk.ranker.requests
    rows = served.rows.slice(0, MOST).to_pylist()
    return _body(served, requests.user_columns, requests.row_columns, rows)


def _body(
    served: Served,
    of_user: Sequence[str],
    of_row: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """By features, but for the ids: an id alone would say nothing where no store knows it."""
    keys = served.bundle.schema.keys
    ids = (keys.item, keys.user)
    candidates = [
        {
            "id": _plain(row.get(str(keys.item), place)),
            "features": {name: _plain(row.get(name)) for name in of_row if name not in ids},
        }
        for place, row in enumerate(rows, start=1)
    ]
    last, user = rows[-1], keys.user
    known = {} if user in of_user or user not in last else {"id": _plain(last.get(str(user)))}
    asker = {**known, "features": {name: _plain(last.get(name)) for name in of_user}}
    return {"model": served.model, "user": asker, "candidates": candidates}


def _made_up(spec: ModelSpec) -> Iterator[tuple[str, list[Any]]]:
    """By column, a value for each candidate."""
    for place, tensor in enumerate(spec.inputs):
        if tensor.name.endswith(LENGTHS):
            continue
        values = [_value(tensor, row, place) for row in range(MOST)]
        if tensor.name + LENGTHS in spec.input_by_name:
            values = [values[max(0, row - row % 4) : row] for row in range(MOST)]
        yield tensor.name, values


def _value(tensor: TensorSpec, row: int, place: int) -> Any:
    """Small whole numbers, letters, and numbers that differ from candidate to candidate."""
    if len(tensor.shape) == 2:
        width = int(tensor.shape[1])
        return [round(math.cos((row + place + 1) * (at + 1)), 3) for at in range(width)]
    if tensor.datatype == "INT64":
        return row + 1
    if tensor.datatype == "BYTES":
        return chr(ord("a") + row)
    return (row * 7 + place) % 13 / 2 + 0.5


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
