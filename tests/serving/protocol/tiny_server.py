"""As little of a server as clients need to meet the codec: no limits, one model that echoes."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn

from polyrank.serving.errors import RequestError
from polyrank.serving.protocol import (
    HEADER_LENGTH,
    WIRE,
    Answer,
    InferRequest,
    ModelSpec,
    TensorSpec,
    error_answer,
    infer_answer,
    live_answer,
    model_answer,
    model_ready_answer,
    parse_request,
    ready_answer,
    server_answer,
)

MODEL, VERSION, CAP = "echo", "3", 1_000
ECHO = ModelSpec(
    name=MODEL,
    platform="test",
    inputs=(
        TensorSpec("weight", "FP32", ("rows",)),
        *(TensorSpec(f"in_{name}", name, ("rows", 2), optional=True) for name in WIRE),
    ),
    outputs=(
        TensorSpec("double", "FP32", ("rows",)),
        *(TensorSpec(f"out_{name}", name, ("rows", 2)) for name in WIRE),
    ),
    properties={"kind": "echo"},
)
"""Gives twice the weight, and each other input as it came: zeros where it was left out."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def echo(request: InferRequest) -> dict[str, Any]:
    rows = request.sizes["rows"]
    outputs: dict[str, Any] = {"double": request.inputs["weight"] * np.float32(2)}
    for name, dtype in WIRE.items():
        nothing = np.full((rows, 2), "", dtype=object)
        empty = nothing if name == "BYTES" else np.zeros((rows, 2), dtype=dtype)
        outputs[f"out_{name}"] = request.inputs.get(f"in_{name}", empty)
    return outputs


def route(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    model = f"/v2/models/{MODEL}"
    gets: dict[str, Callable[[], Answer]] = {
        "/v2": lambda: server_answer("tiny", "0.1"),
        "/v2/health/live": live_answer,
        "/v2/health/ready": lambda: ready_answer(True),
    }
    for at in (model, f"{model}/versions/{VERSION}"):
        gets[at] = lambda: model_answer(ECHO, [VERSION])
        gets[f"{at}/ready"] = lambda: model_ready_answer(MODEL, True)
        if path == f"{at}/infer" and method == "POST":
            request = parse_request(
                body, headers.get(HEADER_LENGTH.lower()), ECHO, caps={"rows": CAP}
            )
            return infer_answer(ECHO, request, echo(request), version=VERSION)
    if path not in gets:
        raise RequestError(404, "no such model or route")
    if method != "GET":
        raise RequestError(405, "GET is wanted")
    return gets[path]()


def unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def packed(answer: Answer, accepted: str) -> Answer:
    packers: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    for encoding, pack in packers.items():
        if encoding in accepted:
            return Answer(pack(answer.body), {**answer.headers, "Content-Encoding": encoding})
    return answer


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    body = b""
    while (message := await receive()) and message.get("more_body"):
        body += message["body"]
    body += message.get("body", b"")
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    try:
        body = unpacked(body, headers.get("content-encoding", ""))
        status, answer = 200, route(scope["method"], scope["path"], headers, body)
        answer = packed(answer, headers.get("accept-encoding", ""))
    except RequestError as error:
        status, answer = error.status, error_answer(error.message)
    fields = {**answer.headers, "Content-Length": str(len(answer.body))}
    encoded = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})


@contextmanager
def running() -> Iterator[str]:
    """The server at work in a thread; its URL."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="error", access_log=False)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()
