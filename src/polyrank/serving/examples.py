"""A request that a model answers, made of the rows that it was tried on."""

from __future__ import annotations

import math
from typing import Any

from polyrank.serving.models import Served
from polyrank.serving.rankers import Desk

MOST = 20
"""Candidates of an example."""


def example_of(served: Served, desk: Desk) -> dict[str, Any]:
    """The body of a ``POST /v1/rank``, by features: ids that stores know are not to be told."""
    rows = served.rows.slice(0, MOST).to_pylist()
    requests = desk.ranker.requests
    user = {name: _plain(rows[-1].get(name)) for name in requests.user_columns}
    candidates = [
        {
            "id": place,
            "features": {name: _plain(row.get(name)) for name in requests.row_columns},
        }
        for place, row in enumerate(rows, start=1)
    ]
    item = served.bundle.schema.keys.item
    for entry, row in zip(candidates, rows, strict=True):
        if item in row:
            entry["id"] = _plain(row[item])
    return {"model": served.model, "user": {"features": user}, "candidates": candidates}


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
