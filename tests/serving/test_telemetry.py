"""Spans reach a real collector over HTTP, and one that is down delays nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from polyrank.bundle import save_bundle
from tests import feeds
from tests.serving.server import running


class Collector(HTTPServer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    """OTLP over HTTP."""

    def do_POST(self) -> None:
        """One export."""
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    with Collector() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def test_a_request_is_a_span_of_its_callers_trace(collector: Collector, tmp_path: Path) -> None:
    save_bundle(feeds.bundle(), tmp_path / "feed")
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    with running({"feed": tmp_path / "feed"}, otlp=endpoint) as server:
        asked = {"candidates": [{"id": 1, "features": {"item_category": "a secret"}}]}
        server.ask("POST", "/v1/rank", asked, headers=headers)
        server.rank({"candidates": "none"}, 400)
    spans = {span.name: span for span in collector.spans if span.trace_id.hex() == trace}
    span = spans["POST /v1/rank"]
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    told = {each.key: each.value for each in span.attributes}
    assert told["http.response.status_code"].int_value == 200
    assert told["polyrank.candidates"].int_value == 1
    assert told["polyrank.model_ms"].double_value > 0
    assert b"a secret" not in b"".join(each.SerializeToString() for each in collector.spans)
    codes = {
        each.value.int_value
        for span in collector.spans
        for each in span.attributes
        if each.key == "http.response.status_code"
    }
    assert codes == {200, 400}
