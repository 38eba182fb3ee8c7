"""Names of the files in an artefact: relative, plain, and the same on every file system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from polyrank.errors import ArtefactError

MANIFEST = "MANIFEST.json"
MAX_FILES = 256
MAX_DEPTH = 8

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_HINT = (
    "use 1 to 64 of A-Z a-z 0-9 _ . - for each part, not starting with a dot, joined by '/', "
    f"at most {MAX_DEPTH} parts; no two names that differ only in case"
)


def check_names(names: Iterable[str], *, where: str) -> list[str]:
    """The names in order, if an artefact may hold exactly these files.

    Raises:
        ArtefactError: A name breaks the rule or is ``MANIFEST.json``, two names clash on a file
            system without case, a name is both a file and a folder, or there are more than 256.
    """
    ordered = sorted(names)
    if len(ordered) > MAX_FILES:
        raise _refused(f"{len(ordered)} files, at most {MAX_FILES} are allowed", where)
    for name in ordered:
        _check_name(name, where)
    _check_clashes(ordered, where)
    return ordered


def folders_of(names: Iterable[str]) -> list[str]:
    """Every folder that the nested names need, each after the one that holds it."""
    found: set[str] = set()
    for name in names:
        parts = name.split("/")[:-1]
        found.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return sorted(found)


def _check_name(name: str, where: str) -> None:
    parts = name.split("/")
    if len(parts) > MAX_DEPTH or not all(_PART.fullmatch(part) for part in parts):
        raise _refused(f"file name {name[:200]!a} is not allowed", where)
    if parts[0].casefold() == MANIFEST.casefold():
        raise _refused(f"file name {name!r} is kept for the manifest", where)


def _check_clashes(names: list[str], where: str) -> None:
    seen: dict[str, str] = {}
    for name in [*folders_of(names), *names]:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise _refused(f"names {other!r} and {name!r} differ only in case", where)
    both = set(folders_of(names)) & set(names)
    if both:
        raise _refused(f"{min(both)!r} is both a file and a folder", where)


def _refused(reason: str, where: str) -> ArtefactError:
    return ArtefactError(reason, where=where, hint=_HINT)
