"""What is asked: rankings that the server answers, and requests that it must refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import orjson

from polyrank.bundle import Bundle

TRIAL = "trial"
"""The profile whose value model is changed while others ask."""


@dataclass(frozen=True)
class Question:
    """One request."""

    number: int
    """Of its kind."""
    message: bytes
    """As it goes over the wire."""
    candidates: int = 0
    profile: str = "default"
    refused: tuple[int, ...] = ()
    """Statuses that are right; none: it is to be answered."""


def message(body: bytes, deadline_ms: int, *, path: str = "/v1/rank", more: str = "") -> bytes:
    """A POST request over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"x-deadline-ms: {deadline_ms}\r\n{more}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def rankings(
    bundle: Bundle,
    example: Mapping[str, Any],
    size: int,
    count: int,
    deadline_ms: int,
    profile: str = "default",
) -> list[Question]:
    """Requests of ``size`` candidates each: by id where the bundle has tables of users and of
    items, else with the features of the server's own example."""
    rng = np.random.default_rng(size)
    keys, on = bundle.schema.keys, {side.on: side for side in bundle.schema.tables}
    by_id = keys.user in on and keys.item in on
    found = []
    for number in range(count):
        body = (
            _by_id(bundle, example, size, rng) if by_id else _by_features(example, size, rng)
        ) | {"profile": profile}
        found.append(
            Question(number, message(orjson.dumps(body), deadline_ms), size, profile=profile)
        )
    return found


def _by_id(
    bundle: Bundle, example: Mapping[str, Any], size: int, rng: np.random.Generator
) -> dict[str, Any]:
    on = {side.on: side for side in bundle.schema.tables}
    keys = bundle.schema.keys
    assert keys.user is not None
    assert keys.item is not None
    joined = {name for table in bundle.tables.values() for name in table.column_names}
    users = bundle.tables[on[keys.user].name].column(on[keys.user].key).to_numpy()
    items = bundle.tables[on[keys.item].name].column(on[keys.item].key).to_numpy()
    given = example["candidates"][int(rng.integers(len(example["candidates"])))]["features"]
    context = {name: value for name, value in given.items() if name not in {*joined, keys.item}}
    return {
        "user": {"id": rng.choice(users).item()},
        "candidates": rng.choice(items, size, replace=size > len(items)).tolist(),
        "context": context,
    }


def _by_features(example: Mapping[str, Any], size: int, rng: np.random.Generator) -> dict[str, Any]:
    there = example["candidates"]
    order = rng.permutation(len(there)).tolist()
    return {
        "user": example["user"],
        "candidates": list(islice(cycle(there[place] for place in order), size)),
    }


def mistakes(deadline_ms: int) -> list[Question]:
    """Requests that must be refused, each with the statuses that are right."""
    bodies: Sequence[tuple[bytes, tuple[int, ...]]] = (
        (b"{", (400,)),
        (b'{"candidates": 7}', (400,)),
        (b'{"candidates": [1], "candidate": []}', (400,)),
        (b'{"candidates": [NaN]}', (400,)),
        (b'{"candidates": [1], "profile": "no such profile"}', (400, 404)),
        (b'{"candidates": [1], "version": "none"}', (404,)),
        (b'{"candidates": [{"id": {}}]}', (400,)),
        (b"[" * 5000, (400,)),
        (b"\xff\xfe", (400,)),
        (orjson.dumps({"candidates": list(range(10_001))}), (413,)),
    )
    found = [
        Question(place, message(body, deadline_ms), refused=right)
        for place, (body, right) in enumerate(bodies)
    ]
    nowhere = message(b"{}", deadline_ms, path="/v1/nowhere")
    typed = message(b"{}", deadline_ms).replace(b"application/json", b"text/html")
    return [
        *found,
        Question(len(found), nowhere, refused=(404,)),
        Question(len(found) + 1, typed, refused=(415,)),
    ]
