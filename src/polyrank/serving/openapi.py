"""The interface as an OpenAPI 3.1 document, by which clients are made and the server is fuzzed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyrank._version import __version__
from polyrank.serving.infer import PARAMETERS
from polyrank.serving.protocol import WIRE
from polyrank.serving.protocol.infer import PARAMETERS as PROTOCOL_PARAMETERS

_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"}
_ID = {"type": ["string", "integer", "null"]}
_VALUE = {"type": ["string", "number", "boolean", "array", "null"]}
_FEATURES = {"type": ["object", "null"], "additionalProperties": _VALUE}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "maxLength": 512}},
}
_REFUSALS = ("400", "404", "408", "411", "413", "415", "429", "431", "503", "504")
_JSON_TYPES = {bool: "boolean", int: "integer", str: "string"}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}


def document(models: Sequence[str]) -> dict[str, Any]:
    """The document.

    Args:
        models: Names of those that are served, for examples.
    """
    model = {"name": "model", "in": "path", "required": True, "schema": _NAME}
    version = {"name": "version", "in": "path", "required": True, "schema": _NAME}
    if models:
        model["example"] = models[0]
    paths: dict[str, Any] = {
        "/v1/rank": {"post": _operation("Rank a user's candidates.", _rank(), _ranked())},
        "/v1/models": {"get": _operation("What is served.")},
        "/v2": {"get": _operation("What this server is.")},
        "/v2/health/live": {"get": _operation("Whether the process runs.")},
        "/v2/health/ready": {"get": _operation("Whether every model can answer.")},
        "/metrics": {"get": _plain("For Prometheus.")},
    }
    for path, named in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        told = {"parameters": named}
        paths[path] = {**told, "get": _operation("What a model takes and gives.")}
        paths[f"{path}/ready"] = {**told, "get": _operation("Whether a model can answer.")}
        paths[f"{path}/infer"] = {
            **told,
            "post": _operation("Predict rows (Open Inference Protocol v2).", _infer()),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "polyrank", "version": __version__},
        "paths": paths,
    }


def _operation(
    summary: str, body: dict[str, Any] | None = None, answer: dict[str, Any] | None = None
) -> dict[str, Any]:
    told = {"description": "Refused.", "content": _json(_ERROR)}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": _json(answer or {"type": "object"})},
            **dict.fromkeys(_REFUSALS, told),
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _plain(summary: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "Done.", "content": content}}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _rank() -> dict[str, Any]:
    entry = {"anyOf": [_ID, _object({"id": _ID, "features": _FEATURES})]}
    return _object(
        {
            "model": {"anyOf": [_NAME, {"type": "null"}]},
            "version": {"anyOf": [_NAME, {"type": "null"}]},
            "user": {"anyOf": [_object({"id": _ID, "features": _FEATURES}), {"type": "null"}]},
            "candidates": {"type": "array", "items": entry},
            "context": _FEATURES,
            "profile": {"anyOf": [_NAME, {"type": "null"}]},
            "value_model": {"type": ["object", "null"]},
            "top_k": {"type": ["integer", "null"], "minimum": 1},
            "explain": {"type": ["boolean", "null"]},
        },
        ["candidates"],
    )


def _ranked() -> dict[str, Any]:
    candidate = {
        "type": "object",
        "required": ["id", "index", "score", "predictions"],
        "properties": {
            "id": _ID,
            "index": {"type": "integer"},
            "score": {"type": "number"},
            "predictions": _NUMBERS,
            "terms": _NUMBERS,
        },
    }
    return {
        "type": "object",
        "required": ["request_id", "model", "version", "value_model", "candidates"],
        "properties": {"candidates": {"type": "array", "items": candidate}},
    }


def _infer() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": list(WIRE)},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 128},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            "parameters": {"type": "object", "properties": _parameters()},
        },
    }


def _parameters() -> dict[str, Any]:
    told = {
        "binary_data_output": "Whether outputs come as bytes where they do not say themselves.",
        "timeout": "Microseconds that the answer may take.",
        "priority": "Accepted, since the protocol has it, and without any effect: no request goes "
        "before another.",
        "profile": "Whose value model scores the rows; `default` unless given.",
    }
    known = {**PROTOCOL_PARAMETERS, **PARAMETERS}
    return {
        name: {"type": _JSON_TYPES[kind], "description": told[name]} for name, kind in known.items()
    }
