"""What pydantic found wrong, as errors a person can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from polyrank.errors import ConfigError, suggest
from polyrank.schema.place import Place, keys_of, place_of

NAME_PATTERN = r"^[^\s./\\]+$"
"""What ``polyrank.schema.model.Name`` has to match."""

_RULES = {
    "missing": "is missing",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
}
"""pydantic's words are Python's; these are the user's."""


class Faults(ValueError):
    """Several faults that one validator found: pairs of a key path below it and what is wrong.

    Each is reported on its own.
    """

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(message for _, message in self.faults))


def config_error(
    model: type[BaseModel], error: ValidationError, tree: object, where: str
) -> ConfigError:
    """One problem for each fault in ``tree``, with its key path and the value received.

    Args:
        model: The class that ``tree`` was to become.
        error: What pydantic says.
        tree: What was given.
        where: What the tree is; every message starts with it.
    """
    entries = [(place_of(model, entry["loc"]), entry) for entry in error.errors()]
    problems = tuple(
        problem
        for place, group in _by_place(_root_causes(entries, tree))
        for problem in _problems(place, group, where)
    )
    if len(problems) == 1:
        return problems[0]
    return ConfigError(f"{len(problems)} problems", where=where or None, problems=problems)


Entries = list[tuple[Place, ErrorDetails]]


def _root_causes(entries: Entries, tree: object) -> Entries:
    """The faults, without those that only follow from another one.

    A list is called too short because its items are faulty; a default that repeats another key
    is called faulty because that key is.
    """
    paths = [place.path for place, _ in entries]
    return [
        (place, entry)
        for place, entry in entries
        if not (
            (entry["type"] == "too_short" and _any_below(place.path, paths))
            or (_is_default(place, entry, tree) and _any_below(place.path[:-1], paths, place.path))
        )
    ]


def _any_below(
    path: tuple[int | str, ...],
    paths: list[tuple[int | str, ...]],
    but: tuple[int | str, ...] = (),
) -> bool:
    return any(len(p) > len(path) and p[: len(path)] == path and p != but for p in paths)


def _is_default(place: Place, entry: ErrorDetails, tree: object) -> bool:
    """Whether the faulty value is one that the tree does not hold."""
    if entry["type"] == "missing" or not place.path:
        return False
    here: Any = tree
    part: Any
    for part in place.path:
        if isinstance(here, Mapping) and part not in here:
            return True
        here = here[part] if isinstance(here, Mapping | list | tuple) else None
    return False


def _by_place(entries: Entries) -> list[tuple[Place, list[ErrorDetails]]]:
    """Faults of one value together: a union complains once for each of its members."""
    grouped: dict[tuple[tuple[int | str, ...], bool], tuple[Place, list[ErrorDetails]]] = {}
    for place, entry in entries:
        key = (place.path, entry["type"] == "extra_forbidden")
        grouped.setdefault(key, (place, []))[1].append(entry)
    return list(grouped.values())


def _problems(place: Place, entries: list[ErrorDetails], where: str) -> list[ConfigError]:
    entry = entries[0]
    fault = entry.get("ctx", {}).get("error")
    if isinstance(fault, Faults):
        inner = (path for path, _ in fault.faults)
        spots = [".".join(part for part in (place.dotted, path) if part) for path in inner]
        messages = [message for _, message in fault.faults]
        return [
            ConfigError(message, where=_where(where, spot))
            for spot, message in zip(spots, messages, strict=True)
        ]
    if entry["type"] == "extra_forbidden":
        return [_unknown_key(place, where)]
    if entry["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return [_unknown_kind(place, entry, where)]
    first, *others = dict.fromkeys(_rule(each) for each in entries)
    rules = " or ".join([first, *(other.removeprefix("must be ") for other in others)])
    return [ConfigError(rules + _received(entry), where=_where(where, place.dotted))]


def _unknown_key(place: Place, where: str) -> ConfigError:
    key = str(place.path[-1])
    hint = suggest(key, keys_of(place.owner)) if place.owner else "Remove it."
    return ConfigError(f"unknown key {key!r}", where=_where(where, place.dotted), hint=hint)


def _unknown_kind(place: Place, entry: ErrorDetails, where: str) -> ConfigError:
    """The key that says which class a mapping stands for is missing or holds no known word."""
    context = entry["ctx"]
    key = context["discriminator"].strip("'")
    spot = _where(where, ".".join(part for part in (place.dotted, key) if part))
    known = sorted(place.kinds)
    if "tag" not in context:
        return ConfigError(f"`{key}` is missing", where=spot, hint=f"Known: {', '.join(known)}.")
    tag = context["tag"]
    return ConfigError(f"unknown {key} {tag!r}", where=spot, hint=suggest(tag, known))


def _rule(entry: ErrorDetails) -> str:
    context = entry.get("ctx", {})
    if context.get("pattern") == NAME_PATTERN:
        return "a name must hold no white space, dot or slash"
    if context.get("min_length") == 1:
        return "must not be empty"
    return _RULES.get(entry["type"], str(entry["msg"]).removeprefix("Value error, "))


def _received(entry: ErrorDetails) -> str:
    if entry["type"] in ("missing", "value_error"):
        return ""
    value = repr(entry["input"])
    return f", got {value if len(value) <= 80 else value[:77] + '...'}"


def _where(where: str, dotted: str) -> str | None:
    return ": ".join(part for part in (where, dotted) if part) or None
