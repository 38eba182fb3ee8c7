"""The cure for a wrong name: the nearest known one, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 20


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that names what was probably meant, else everything there is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    listed = ", ".join(names[:MAX_LISTED]) or "none"
    return f"known: {listed}" + (
        f" and {more} more" if (more := len(names) - MAX_LISTED) > 0 else ""
    )
