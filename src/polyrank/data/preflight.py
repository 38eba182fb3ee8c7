"""What can be said of a log before a row of it is read: are all columns there, of fitting types?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from polyrank.data.arrays import is_list
from polyrank.data.faults import refuse
from polyrank.data.roles import Wanted
from polyrank.data.sources.base import Part, Source
from polyrank.data.types import canonical, refusal
from polyrank.errors import DataError, suggest


@dataclass(frozen=True)
class Column:
    """A column to be read, and the type in which it is handed on."""

    wanted: Wanted
    dtype: Any


class Findings:
    """Problems found in several files, each told once with the files that have it."""

    def __init__(self) -> None:
        self._origins: dict[tuple[str, str], list[str]] = {}

    def add(self, message: str, hint: str, origin: str) -> None:
        """One problem of one file."""
        self._origins.setdefault((message, hint), []).append(origin)

    def problems(self) -> list[DataError]:
        """One error a problem."""
        return [
            DataError(message, where=files_of(origins), hint=hint)
            for (message, hint), origins in self._origins.items()
        ]


def inspect_source(
    source: Source, wanted: Mapping[str, Wanted], known: Mapping[str, Any] | None = None
) -> tuple[Source, dict[str, Column], list[DataError]]:
    """The source with its columns typed, the columns that are in order, and what is wrong.

    Args:
        source: A log or a side table.
        wanted: The columns it has to have.
        known: Types handed on from elsewhere, whose ids lists may share.
    """
    findings = Findings()
    parts = source.parts()
    there = _present(parts, wanted, findings)
    if any(repeated_columns(part.schema) for part in parts):
        return source, {}, findings.problems()
    needs = {name: need for name in there if (need := wanted[name].need()) is not None}
    source = source.typed(needs)
    found = {name: wanted[name] for name in there}
    columns = _typed(source.parts(), found, known or {}, findings)
    return source, columns, findings.problems()


def repeated_columns(schema: Any) -> list[str]:
    """Names that more than one column has."""
    return [name for name, n in Counter(schema.names).items() if n > 1]


def refuse_all(problems: Sequence[DataError]) -> None:
    """Raise every problem at once, if there is one."""
    if problems:
        raise refuse(f"{len(problems)} problems with the log", problems)


def _present(parts: Sequence[Part], wanted: Mapping[str, Wanted], findings: Findings) -> list[str]:
    """The wanted columns that every part has."""
    there = set(wanted)
    for part in parts:
        names = part.schema.names
        for name in repeated_columns(part.schema):
            findings.add(
                f"has more than one column {name!r}", "Rename or drop the others.", part.origin
            )
        for name in wanted:
            if name not in names:
                there.discard(name)
                findings.add(
                    f"lacks column {name!r} ({wanted[name].owners})",
                    suggest(name, names),
                    part.origin,
                )
    return [name for name in wanted if name in there]


def _typed(
    parts: Sequence[Part],
    wanted: Mapping[str, Wanted],
    known: Mapping[str, Any],
    findings: Findings,
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    dtypes_known = dict(known)
    # Lists come last, so that the type of the ids they share is known by then.
    for name, use in sorted(wanted.items(), key=lambda item: item[1].shares is not None):
        dtypes = [part.schema.field(name).type for part in parts]
        if list(_refusals(use, parts, findings)):
            continue
        dtype = canonical(use, dtypes, dtypes_known.get(use.shares or ""))
        if dtype is None:
            kinds = " and ".join(sorted({str(dtype) for dtype in dtypes}))
            findings.add(
                f"column {name!r} ({use.owners}) is {kinds} in different files",
                "Give it one type in all of them.",
                parts[0].origin,
            )
            continue
        columns[name] = Column(use, dtype)
        dtypes_known[name] = dtype
    return {name: columns[name] for name in wanted if name in columns}


def _refusals(wanted: Wanted, parts: Sequence[Part], findings: Findings) -> Iterator[str]:
    for part in parts:
        dtype = part.schema.field(wanted.column).type
        for use in wanted.uses:
            reason = refusal(use, dtype)
            if reason is not None:
                why, cure = reason
                findings.add(f"column {wanted.column!r} ({use.owner}) {why}", cure, part.origin)
                yield why


def shared_type_problems(
    wanted: Mapping[str, Wanted], dtypes: Mapping[str, Any], origins: Sequence[str]
) -> Iterator[DataError]:
    """Lists of ids that share the vocabulary of a column with ids of another kind.

    Args:
        wanted: Every column used, with its uses.
        dtypes: The types handed on, joined columns included.
        origins: The files of the log.
    """
    for name, use in wanted.items():
        dtype = dtypes.get(name)
        shared = None if use.shares is None else dtypes.get(use.shares)
        if dtype is None or shared is None or not is_list(dtype):
            continue
        if dtype.value_type == shared or pa.null() in (dtype.value_type, shared):
            continue
        yield DataError(
            f"column {name!r} ({use.owners}) holds ids of {dtype.value_type}, and column "
            f"{use.shares!r}, whose vocabulary it shares, of {shared}",
            where=files_of(origins),
            hint="Give both the same type.",
        )


def files_of(origins: Sequence[str]) -> str:
    """The first file by name, the others by their number."""
    more = len(origins) - 1
    return origins[0] if not more else f"{origins[0]} and {more} more file{'s' * (more > 1)}"
