"""A span a request for OpenTelemetry (extra ``telemetry``); nothing that it said is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyrank.installed import require


@contextmanager
def traced(app: ASGIApp, endpoint: str | None) -> Iterator[ASGIApp]:
    """The app, each of whose requests is told to a collector.

    A caller's ``traceparent`` makes the span its child (W3C Trace Context). Spans wait in a bounded
    queue and are sent from a thread of its own; a collector that is down delays nothing.

    Args:
        app: What answers.
        endpoint: Of OTLP over HTTP, such as ``http://collector:4318/v1/traces``; null: nobody is
            told.

    Raises:
        ConfigError: The extra is not installed.
    """
    if endpoint is None:
        yield app
        return
    require(
        "telemetry",
        "opentelemetry.sdk",
        "opentelemetry.exporter.otlp.proto.http",
        where="otlp",
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "polyrank"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    try:
        yield _Traced(app, provider)
    finally:
        provider.shutdown()


class _Traced:
    def __init__(self, app: ASGIApp, provider: object) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        assert isinstance(provider, TracerProvider)
        self._app = app
        self._tracer = provider.get_tracer("polyrank")
        self._extract = TraceContextTextMapPropagator().extract

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind

        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        parent = self._extract(carrier=headers)
        state = scope.setdefault("state", {})
        with self._tracer.start_as_current_span(
            scope["method"], context=parent, kind=SpanKind.SERVER
        ) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, noted)
            route = state.get("route", "-")
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("polyrank.candidates", state.get("candidates", 0))
            for stage, seconds in state.get("stages", {}).items():
                span.set_attribute(f"polyrank.{stage}_ms", seconds * 1e3)
