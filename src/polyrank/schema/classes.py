"""What tasks of levels and of classes share: names, worths, and what they may not be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field

MOST_CLASSES = 256
"""Levels or classes of a task: each is a logit of its own."""
Value = Annotated[float, Field(ge=-1e9, le=1e9)]
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}")


class Worths(Mapping[str, float]):
    """What each class is worth: a mapping that nobody changes, so that it has a hash."""

    def __init__(self, worths: Mapping[str, float]) -> None:
        self._worths = dict(worths)

    def __getitem__(self, name: str) -> float:
        return self._worths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._worths)

    def __len__(self) -> int:
        return len(self._worths)

    def __hash__(self) -> int:
        return hash(frozenset(self._worths.items()))

    def __repr__(self) -> str:
        return repr(self._worths)


def named_as_text(classes: Mapping[object, object]) -> dict[str, object]:
    """The same, whole numbers among the names as text.

    Raises:
        ValueError: A name is neither text nor a whole number, or is there as both.
    """
    for name in classes:
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise ValueError(
                f"`classes` names {name!r}; a class is text or a whole number: write it so, "
                "text in quotes"
            )
    named = {str(name): worth for name, worth in classes.items()}
    if len(named) < len(classes):
        raise ValueError("`classes` names a number both as such and as text; name it once")
    return named


def whole_number(name: str) -> int | None:
    """The whole number that a class is; None if it is text."""
    return int(name) if _WHOLE.fullmatch(name) else None


def class_name(value: int | float | str) -> str:
    """A value as the text of a class: 3 and 3.0 are "3"."""
    whole = not isinstance(value, str) and float(value).is_integer() and abs(value) < 1e15
    return str(int(value)) if whole else str(value)


def require_several(count: int, where: str) -> None:
    """Refuse a task of fewer than two levels or classes, or of too many.

    Raises:
        ValueError: How many there are, and the cure.
    """
    if not 2 <= count <= MOST_CLASSES:
        cure = "name every one that a label may be" if count < 2 else "put some together"
        raise ValueError(f"{where} must be 2 to {MOST_CLASSES}, got {count}; {cure}")


def refuse_as_missing(
    missing: Iterable[int | float | str], known: Iterable[str], where: str
) -> None:
    """Refuse a level or class that stands for not observed, too.

    Raises:
        ValueError: Which one, and the cure.
    """
    told = set(known)
    for value in missing:
        if class_name(value) in told:
            raise ValueError(
                f"`missing_values` names {value!r}, which {where} names, too; leave it out of one"
            )
