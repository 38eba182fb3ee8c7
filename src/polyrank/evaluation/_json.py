"""Strict JSON of tables: NaN is written as null; unknown, doubled or missing keys are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar, get_args, get_type_hints

from polyrank.errors import ArtefactError, DataError

FORMAT = 1

Entry = TypeVar("Entry")


def write(kind: str, table: Any) -> str:
    """A dataclass with ``rows`` as one JSON object."""
    content = {"kind": kind, "format": FORMAT, **asdict(table)}
    content["rows"] = [_without_nan(row) for row in content["rows"]]
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def read(kind: str, table: type[Entry], row: type[Any], text: str) -> Entry:
    """The dataclass ``table`` whose ``rows`` are of type ``row``.

    Raises:
        ArtefactError: Not JSON, not written by ``write`` for this kind, or of another format.
    """
    try:
        content = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeats
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise ArtefactError(f"not JSON: {error}", where=kind) from error
    if not isinstance(content, dict) or content.pop("kind", None) != kind:
        raise ArtefactError(f"not the JSON of {kind}", where=kind)
    version = content.pop("format", None)
    if version != FORMAT:
        message = f"format {version}, this version reads {FORMAT}"
        raise ArtefactError(message, where=kind, hint="read it with the version that wrote it")
    rows = content.pop("rows", None)
    if not isinstance(rows, list):
        raise ArtefactError("'rows' must be a list", where=kind)
    built = [_build(row, entry, f"{kind} rows[{index}]") for index, entry in enumerate(rows)]
    return _build(table, content, kind, rows=tuple(built))


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }


def _build(target: type[Entry], content: Any, where: str, **built: Any) -> Entry:
    hints = {name: hint for name, hint in get_type_hints(target).items() if name not in built}
    if not isinstance(content, dict) or set(content) != set(hints):
        got = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ArtefactError(f"expected the keys {sorted(hints)}, got {got}", where=where)
    values = {
        name: _convert(hint, content[name], f"{where}.{name}") for name, hint in hints.items()
    }
    try:
        return target(**values, **built)
    except DataError as error:
        raise ArtefactError(error.message, where=where) from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is float:
        if value is None:
            return math.nan
        if type(value) in (int, float):
            return float(value)
    elif type(value) in (get_args(hint) or (hint,)):
        return value
    raise ArtefactError(f"expected {hint}, got {value!r}", where=where)


def _refuse_constant(token: str) -> Any:
    raise ArtefactError(f"{token} is not JSON", hint="undefined is null")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ArtefactError(f"a key stands twice among {[key for key, _ in pairs]}")
    return content
