"""Values that stand for missing."""

from __future__ import annotations

from polyrank.schema.guessing.profile import Profile

_NUMBERS = frozenset({-1, -9, -99, -124, -128, -999, -9999, -32768, -99999, -(2**31)})
_TEXTS = frozenset(
    {"", "?", "-", "na", "n/a", "nan", "null", "none", "unknown", "missing", "\\n", "-1", "-124"}
)


def missing_values(profile: Profile) -> tuple[int | float | str, ...]:
    """The values of ``profile`` that stand for missing.

    A known negative number does where the others are at least 0; a known word always does, as
    long as another value is left.
    """
    if profile.kind == "text":
        known = [value for value in profile.uniques if value.strip().lower() in _TEXTS]
    elif profile.kind in ("integer", "number"):
        known = sorted(value for value in profile.uniques if value < 0)
        if not _NUMBERS.issuperset(known):
            return ()
    else:
        return ()
    return tuple(known) if len(known) < profile.distinct else ()
