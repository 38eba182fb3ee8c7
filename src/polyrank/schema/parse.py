"""From a plain tree (YAML, JSON) to a declared object, with errors a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from polyrank.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


def suggest(word: str, known: Iterable[str]) -> str:
    """A closing sentence for an unknown word: the nearest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(names) or 'none'}."


def parse(model: type[ModelT], tree: Mapping[str, Any], *, where: str = "") -> ModelT:
    """Build ``model`` from ``tree``.

    Args:
        model: The declared class.
        tree: Plain mappings, lists and scalars.
        where: What the tree is (a file name); every message starts with it.

    Raises:
        ConfigError: One problem for each fault in the tree, all at once, each with its key path,
            the value received and, for an unknown key, the nearest known one.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        problems = tuple(_problem(model, entry, where) for entry in _root_causes(error))
    if len(problems) == 1:
        raise problems[0]
    raise ConfigError(f"{len(problems)} problems", where=where or None, problems=problems)


def _root_causes(error: ValidationError) -> list[ErrorDetails]:
    """The faults, without a list called too short only because its items are faulty."""
    entries = error.errors()
    return [
        entry
        for entry in entries
        if entry["type"] != "too_short"
        or not any(
            other["loc"][: len(entry["loc"])] == entry["loc"]
            for other in entries
            if len(other["loc"]) > len(entry["loc"])
        )
    ]


def _path(loc: tuple[int | str, ...]) -> str:
    """A dotted key path; the tag that pydantic puts behind a list index is left out."""
    parts = [
        str(part)
        for before, part in zip((None, *loc), loc, strict=False)
        if not (isinstance(before, int) and isinstance(part, str))
    ]
    return ".".join(parts)


def _problem(model: type[BaseModel], entry: ErrorDetails, where: str) -> ConfigError:
    place = ": ".join(part for part in (where, _path(entry["loc"])) if part) or None
    if entry["type"] == "extra_forbidden":
        key = str(entry["loc"][-1])
        owner = _owner(model, entry["loc"][:-1])
        hint = suggest(key, owner.model_fields) if owner else "Remove it."
        return ConfigError(f"unknown key {key!r}", where=place, hint=hint)
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] not in ("missing", "value_error"):
        message = f"{message}, got {entry['input']!r}"
    return ConfigError(message, where=place)


def _owner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The declared class that stands at ``loc`` below ``model``."""
    candidates: list[type[BaseModel]] = [model]
    for part in loc:
        inner = [found for cls in candidates for found in _step(cls, part)]
        candidates = inner or candidates
    return candidates[0] if candidates else None


def _step(cls: type[BaseModel], part: int | str) -> list[type[BaseModel]]:
    if isinstance(part, int):
        return []
    field = cls.model_fields.get(part)
    if field is not None:
        return _models_in(field.annotation)
    kind = cls.model_fields.get("kind")
    return [cls] if kind is not None and kind.default == part else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
