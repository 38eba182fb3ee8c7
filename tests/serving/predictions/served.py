"""A server's answers to every request of the small simulated log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.scoring import PREFIX, Order, Scorer
from polyrank.serving.predictions import Answer
from tests import feeds

LABELS = ("click", "long_view", "purchase", "like", "report", "watch_time_s")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@cache
def scorer() -> Scorer:
    return Scorer(feeds.bundle())


@cache
def shown() -> pa.Table:
    """What candidates brought: all but labels, place and propensity."""
    return feeds.log().drop_columns([*LABELS, "position", "propensity"])


@cache
def labels() -> pa.Table:
    """What followed, by the request and the item."""
    return feeds.log().select(["request_id", "item_id", *LABELS])


@cache
def answers() -> tuple[Answer, ...]:
    return tuple(_answers())


def _answers() -> Iterator[Answer]:
    schema = feeds.schema()
    order = Order.of(feeds.bundle())
    scored = scorer().score(shown())
    predicted = {task: scored[PREFIX + task].to_numpy() for task in schema.task_names}
    request_N = shown()["request_id"].to_numpy()
    bounds = np.flatnonzero(np.diff(request_N, prepend=-1, append=-1))
    for start, end in pairwise(bounds):
        own = {task: value_N[start:end] for task, value_N in predicted.items()}
        score_N = order.score(own, np.zeros(end - start, np.int64), {}).score_N
        rank_N = np.argsort(np.argsort(-score_N, kind="stable")) + 1
        yield answer(
            request=f"r-{request_N[start]}",
            rows=shown().slice(start, end - start),
            predictions=own,
            score_N=score_N,
            position_N=rank_N,
        )


def answer(**given: Any) -> Answer:
    rows = pa.table({"user_id": [1, 1], "item_id": [5, 6], "request_id": [3, 3]})
    told: dict[str, Any] = {
        "request": "r-1",
        "at": NOON,
        "model": "feed",
        "version": "abc",
        "schema": feeds.schema(),
        "rows": rows,
        "predictions": {"click": np.array([0.25, 0.5])},
    }
    return Answer(**{**told, **given})


def replaced(one: Answer, **changes: Any) -> Answer:
    return dataclasses.replace(one, **changes)
