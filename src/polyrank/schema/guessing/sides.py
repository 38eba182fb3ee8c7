"""Whose feature a column is: the user's, the item's, or the setting's."""

from __future__ import annotations

from polyrank.schema.features import Side
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.view import View


def guess_side(view: View, column: str) -> tuple[Side, str]:
    """The side of a column of the log, and why.

    Its first word decides, then whether the sample shows one value a user or an item, then its
    other words, unless the sample speaks against them.
    """
    named = tell.owner(column)
    if named is not None:
        return named, f"named after the {named}"
    belongs = view.belongs_to(column)
    if belongs is not None:
        return belongs, f"one value for each {belongs} in the sample"
    if view.profiles[column].kind in ("list", "vector") and tell.is_sequence(column):
        return "user", "a past is the user's"
    trait = tell.trait(column)
    if trait in ("user", "item") and trait in view.keys and _may_be(view, column, trait):
        return trait, f"its name tells of the {trait}"
    return "context", "nothing shows it to be the user's or the item's"


def _may_be(view: View, column: str, role: str) -> bool:
    return view.constancy(column, "user" if role == "user" else "item") != "varies"
