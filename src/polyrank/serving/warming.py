"""What is made at the first request, made before a version may serve."""

from __future__ import annotations

from contextlib import suppress

import orjson

from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.examples import recorded_of
from polyrank.serving.models import DEFAULT, Served
from polyrank.serving.rankers import Desk
from polyrank.serving.ranking import parse

SECONDS = 5.0
"""For stores, which may be slow."""


def warm(served: Served, desk: Desk) -> None:
    """Rank the rows that the version was tried on, by their features and by their ids.

    Nothing is logged, and only passes and look-ups are counted. A value model may read what these
    rows lack: then that much stays cold.
    """
    whole = recorded_of(served, desk)
    keys, last = served.bundle.schema.keys, served.rows.slice(served.rows.num_rows - 1).to_pylist()
    user = None if keys.user is None or not last else last[0].get(keys.user)
    ids = [{"id": each["id"]} for each in whole["candidates"]]
    for body in (whole, {"user": {"id": user}, "candidates": ids}):
        with suppress(RequestError):
            ask = parse(orjson.dumps(body))
            desk.ranker.rank(ask, served.order(DEFAULT), Deadline.within(SECONDS), {})
