"""What a ranking request asks for, read from its JSON.

Shapes: N candidates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyrank.errors import suggest
from polyrank.serving.errors import RequestError
from polyrank.serving.protocol import loads

MAX_CANDIDATES = 10_000
"""Of one request, unless the server is told otherwise."""
MAX_VALUE_MODEL = 256
"""Values at any depth of a value model that a request brings: each may cost time and memory for
every candidate."""
MAX_VALUE_TEXT = 4_000
"""Characters of all its words."""
MAX_CELLS = 2_000_000
"""Candidates times columns of their features: a column that one candidate brings has a value, if a
null, for each."""
MAX_REPEATED = 8_000_000
"""Characters and values that a request says once, times the candidates that they hold for."""
_NAME = re.compile(r"[A-Za-z0-9_.\- ]{1,64}")
_FIELDS = (
    *("model", "version", "user", "candidates", "context"),
    *("profile", "value_model", "top_k", "explain"),
)
Id = str | int | None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One user, N candidates and how they are to be ranked."""

    model: str | None = None
    """Null: the only one there is."""
    version: str | None = None
    """Null: the one in service."""
    user: Id = None
    user_features: Mapping[str, Any] = field(default_factory=dict)
    """By column."""
    items: Sequence[Id] = ()
    """(N,)"""
    item_features: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """By column (N,); null where a candidate does not bring it."""
    given: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    """By column (N,): which candidates bring it, null or not; columns that all bring are left
    out."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """By column, the same for all candidates."""
    profile: str = "default"
    value_model: Mapping[str, Any] | None = None
    """Ranks this request instead of the profile: to try one."""
    top_k: int | None = None
    """How many of the best are answered; null: all."""
    explain: bool = False
    """With the terms of each score."""

    def __len__(self) -> int:
        return len(self.items)


def room_of(value: Any) -> int:
    """Characters and values, names among them, of a value of JSON.

    >>> room_of(["ab", 3, None]), room_of({"a": "b"})
    (5, 3)
    """
    if isinstance(value, str):
        return max(1, len(value))
    if isinstance(value, dict):
        return 1 + sum(room_of(each) for pair in value.items() for each in pair)
    return 1 + sum(map(room_of, value)) if isinstance(value, list) else 1


def parse(body: bytes, *, max_candidates: int = MAX_CANDIDATES) -> Ask:
    """Read the body of ``POST /v1/rank``.

    Raises:
        RequestError: 400, a part is not what it must be: which, and the rule; 413, too many
            candidates.
    """
    tree = loads(body)
    if not isinstance(tree, dict):
        raise RequestError(400, "the body must be a JSON object")
    _known(tree, _FIELDS, "the body")
    user = _object(tree.get("user"), "user")
    _known(user, ("id", "features"), "`user`")
    items, features, given = _candidates(tree.get("candidates"), max_candidates)
    return Ask(
        model=_name(tree.get("model"), "model"),
        version=_name(tree.get("version"), "version"),
        user=_id(user.get("id"), "user.id"),
        user_features=_object(user.get("features"), "user.features"),
        items=items,
        item_features=features,
        given=given,
        context=_object(tree.get("context"), "context"),
        profile=_name(tree.get("profile"), "profile") or "default",
        value_model=_value_model(tree.get("value_model")),
        top_k=_count(tree.get("top_k"), "top_k"),
        explain=_flag(tree.get("explain"), "explain"),
    )


def _candidates(
    tree: Any, most: int
) -> tuple[list[Id], dict[str, list[Any]], dict[str, list[bool]]]:
    if not isinstance(tree, list):
        raise RequestError(
            400, "`candidates` must be a list of ids, or of objects with `id` and `features`"
        )
    if len(tree) > most:
        raise RequestError(413, f"{len(tree):,} candidates, and {most:,} are the most")
    if _plain_ids(tree):
        return list(tree), {}, {}
    items: list[Id] = []
    brought: list[Mapping[str, Any]] = []
    for place, entry in enumerate(tree):
        if isinstance(entry, dict):
            _known(entry, ("id", "features"), f"`candidates[{place}]`")
            items.append(_id(entry.get("id"), f"candidates[{place}].id"))
            brought.append(_object(entry.get("features"), f"candidates[{place}].features"))
        else:
            items.append(_id(entry, f"candidates[{place}]"))
            brought.append({})
    names = dict.fromkeys(name for features in brought for name in features)
    if len(tree) * len(names) > MAX_CELLS:
        told = f"{len(tree):,} candidates with {len(names):,} columns of features"
        raise RequestError(413, f"{told}, and {MAX_CELLS:,} values are the most")
    columns = {name: [features.get(name) for features in brought] for name in names}
    given = {name: [name in features for features in brought] for name in names}
    return items, columns, {name: flags for name, flags in given.items() if not all(flags)}


def _plain_ids(tree: list[Any]) -> bool:
    """Whether all are ids of one kind, as ``_id`` has them."""
    kinds = set(map(type, tree))
    return kinds == {str} or (kinds == {int} and min(tree) >= -(2**63) and max(tree) < 2**63)


def _known(tree: Mapping[str, Any], fields: Sequence[str], where: str) -> None:
    for name in tree:
        if name not in fields:
            raise RequestError(400, f"{where} has no field {name[:64]!a}. {suggest(name, fields)}")


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(400, f"`{where}` must be an object")
    return value


def _value_model(tree: Any) -> Mapping[str, Any] | None:
    if tree is None:
        return None
    model = _object(tree, "value_model")
    values = list(_values(model))
    letters = sum(len(value) for value in values if isinstance(value, str))
    if len(values) > MAX_VALUE_MODEL or letters > MAX_VALUE_TEXT:
        raise RequestError(
            400,
            f"`value_model` must have at most {MAX_VALUE_MODEL} values, and its texts at most "
            f"{MAX_VALUE_TEXT:,} characters, got {len(values):,} and {letters:,}",
        )
    return model


def _values(tree: Any) -> Iterator[Any]:
    """Every value at any depth, objects and lists too."""
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield value
            yield from _values(value)


def _id(value: Any, where: str) -> Id:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise RequestError(400, f"`{where}` must be text, or a whole number of 64 bits")


def _name(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise RequestError(400, f"`{where}` must be a name of up to 64 letters, digits, _ . -")
    return value


def _count(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RequestError(400, f"`{where}` must be a whole number of at least 1")
    return value


def _flag(value: Any, where: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError(400, f"`{where}` must be true or false")
    return value
