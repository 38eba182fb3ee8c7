"""T28, G5, G6: what clients and operators entrust to a server stands in nothing that it says."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.serving.faults.process import JSON, OPERATOR, Home, Process
from tests.serving.http.wire import ask, chunks, eventually, request
from tests.serving.server import TOKEN
from tests.serving.test_telemetry import Collector, collecting

CANARY = "canary7f3a91"
BODIES: tuple[Any, ...] = (
    {"user": {"features": {"user_country": CANARY}}, "candidates": [1]},
    {"user": {"id": CANARY}, "candidates": [1]},
    {"candidates": [CANARY]},
    {"candidates": [1, CANARY]},
    {"candidates": [1], "context": {"surface": CANARY, "hour": CANARY}},
    {"candidates": [{"id": 1, "features": {"item_length_s": CANARY}}]},
    {"candidates": [{"id": 1, "features": {"item_tags": [CANARY, 3]}}]},
    {"candidates": [1], "user": {"features": {"user_activity": [CANARY]}}},
    {"candidates": [1], "top_k": CANARY},
    {"candidates": CANARY},
    CANARY,
)


def tensors(datatype: str, data: Any) -> Any:
    return {"inputs": [{"name": "item_category", "datatype": datatype, "shape": [1], "data": data}]}


def sent() -> Iterator[bytes]:
    """Requests that hold the canary wherever a client can put it."""
    for tree in BODIES:
        body = json.dumps(tree).encode()
        yield request("POST", f"/v1/rank?user={CANARY}", body, **JSON)
    for tree in (tensors("BYTES", [CANARY]), tensors("FP32", [CANARY]), tensors("BYTES", CANARY)):
        yield request("POST", "/v2/models/feed/infer", json.dumps(tree).encode(), **JSON)
    good = json.dumps(BODIES[0]).encode()
    yield request("POST", "/v1/rank", good[:-9], **JSON)
    yield request("POST", "/v1/rank", good + good, **JSON)
    yield request("POST", "/v1/rank", CANARY.encode(), content_encoding="gzip", **JSON)
    yield request("POST", "/v1/rank", gzip.compress(good), content_encoding=CANARY, **JSON)
    yield request("POST", "/v1/rank", transfer_encoding="chunked") + chunks(CANARY.encode())
    yield request("POST", "/v1/rank", good, content_type=f"text/{CANARY}")
    for name in ("x_request_id", "x_deadline_ms", "traceparent", "origin"):
        yield request("POST", "/v1/rank", good, **JSON, **{name: f"{CANARY} {{}}"})
    yield request("GET", f"/v1/{CANARY}")
    yield request("GET", f"/v1/rank/{CANARY}%0a")
    yield request(CANARY.upper(), f"/{CANARY}")
    for scheme in ("Bearer", "Basic", ""):
        wrong = f"{scheme} {CANARY}-0123456789abcdef".strip()
        yield request("GET", "/v1/models/feed/status", authorization=wrong, cookie=CANARY)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def operated(process: Process) -> Iterator[bytes]:
    """What operators are answered."""
    model = {"kind": "weighted_sum", "terms": {"click": {"weight": 2.0}}}
    for method, what, tree in (
        ("GET", "status", None),
        ("PUT", "value-model", {"value_model": model, "by": "ann"}),
        ("PUT", "value-model", {"value_model": {**model, "kind": "none"}}),
        ("POST", "value-model/rollback", {}),
        ("POST", "pin", {"version": 7}),
    ):
        body = None if tree is None else json.dumps(tree).encode()
        sent = request(method, f"/v1/models/feed/{what}", body, **JSON, **OPERATOR)
        yield ask(process.port, sent).body


def test_a_canary_is_in_no_line_metric_error_page_or_span(
    home: Home, bundle: Path, tmp_path: Path, collector: Collector
) -> None:
    features = {"feed": {"items": {"kind": "redis", "url": f"redis://:{CANARY}@127.0.0.1:9/0"}}}
    settings: dict[str, Any] = {
        "otlp": f"http://127.0.0.1:{collector.server_port}/v1/traces",
        "predictions": {"folder": str(tmp_path / "log")},
        "features": features,
    }
    before, count = len(home.said()), 0
    with home.serving({"feed": bundle}, **settings) as process:
        told = []
        for each in sent():
            reply = ask(process.port, each)
            count += 1
            if reply.status != 200:
                assert reply.error
                told.append(reply.body + repr(reply.headers).encode())
        assert len(told) > 20
        told += operated(process)
        for path in ("/metrics", "/v1/stats", "/v1/models", "/openapi.json", "/console", "/v2"):
            told.append(ask(process.port, request("GET", path)).body)
        eventually(lambda: '"GET", "route": "/v2"' in home.said()[before:])
    lines = home.said()[before:].splitlines()
    assert len(collector.spans) >= count // 2
    spans = b"".join(span.SerializeToString() for span in collector.spans)
    logged = list((tmp_path / "log").rglob("*.parquet"))
    assert logged != []
    for part in logged:  # it holds keys, and features only where they are asked for
        assert {"user_country", "surface"}.isdisjoint(pq.read_schema(part).names)
    for where in (*told, *map(str.encode, lines), spans):
        assert CANARY.encode() not in where, where[:500]
        assert TOKEN.encode() not in where, where[:500]
        assert b"Traceback" not in where, where[:500]
    assert all(isinstance(json.loads(line), dict) for line in lines if line.startswith("{"))
    assert sum(line.startswith("{") for line in lines) > count
