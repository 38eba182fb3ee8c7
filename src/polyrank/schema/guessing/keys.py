"""Keys: the columns that identify a row, by their names and what their values allow."""

from __future__ import annotations

from collections.abc import Mapping

from polyrank.schema.guessing import vocabulary
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.view import View

MIN_BARE = 10
"""Different values from which a column called just ``item`` or ``product`` is an id."""


def guess_entities(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """User, item and request: role to column."""
    found: dict[str, str] = {}
    roles = {
        "user": vocabulary.USER,
        "item": vocabulary.ITEM,
        "request": vocabulary.REQUEST,
    }
    for role, nouns in roles.items():
        ranked = {
            name: rank
            for name, profile in profiles.items()
            if (rank := tell.key_rank(name, nouns)) is not None and _can_identify(profile, rank)
        }
        if role == "request":
            # An id of the row itself gathers nothing.
            ranked = {name: rank for name, rank in ranked.items() if _repeats(profiles[name])}
        if ranked:
            found[role] = min(ranked, key=lambda name: ranked[name])
    return found


def _can_identify(profile: Profile, rank: int) -> bool:
    is_bare = not tell.is_id(profile.name) and rank >= 0
    return profile.kind in ("integer", "text") and (not is_bare or profile.distinct >= MIN_BARE)


def _repeats(profile: Profile) -> bool:
    return profile.distinct < profile.rows - profile.nulls


def guess_row_keys(view: View) -> dict[str, str]:
    """Position, propensity and weight: role to column."""
    tests = {"position": _is_position, "propensity": _is_propensity, "weight": _is_weight}
    found: dict[str, str] = {}
    for role, test in tests.items():
        free = (name for name in view.profiles if name not in found.values())
        column = next((name for name in free if test(view, view.profiles[name])), None)
        if column is not None:
            found[role] = column
    return found


def starts_at_zero(profile: Profile) -> bool:
    """Whether ``profile`` would be a position, did it not count from 0."""
    return (
        tell.is_position(profile.name)
        and profile.kind == "integer"
        and bool(profile.distinct)
        and int(profile.numbers.min()) == 0
    )


def _is_position(view: View, profile: Profile) -> bool:
    return (
        tell.is_position(profile.name)
        and profile.kind == "integer"
        and profile.distinct > 1
        and bool((profile.numbers >= 1).all())
        and view.belongs_to(profile.name) is None
    )


def _is_propensity(view: View, profile: Profile) -> bool:
    return (
        tell.is_propensity(profile.name)
        and profile.kind in ("integer", "number")
        and profile.nulls == 0
        and bool(((profile.numbers > 0) & (profile.numbers <= 1)).all())
    )


def _is_weight(view: View, profile: Profile) -> bool:
    return (
        tell.is_weight(profile.name)
        and profile.kind in ("integer", "number")
        and profile.nulls == 0
        and bool((profile.numbers >= 0).all() and (profile.numbers > 0).any())
        and view.belongs_to(profile.name) != "item"
    )
