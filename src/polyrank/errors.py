"""Errors for users: what is wrong, where, which rule, and what to do about it.

Every error a user can cause is a ``PolyrankError`` and carries the exit code of the command line.

>>> error = DataError("column 'like' holds 2.0", where="log.parquet rows 0-99", hint="use 0 or 1")
>>> error.exit_code
3
>>> str(error)
"log.parquet rows 0-99: column 'like' holds 2.0. Use 0 or 1."
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import ClassVar

MAX_LISTED = 20
"""Known names that ``suggest`` lists."""


class PolyrankError(ValueError):
    """A mistake in what polyrank was given, or a state it refuses to go on from.

    Args:
        message: What is wrong and which rule it breaks, with the value received.
        where: The file, column, row range or configuration key, if there is one.
        hint: What to do about it; a capital letter and a full stop are added where they lack.
        problems: Further errors found in the same pass; all are printed.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        problems: tuple[PolyrankError, ...] = (),
    ) -> None:
        self.message = message
        self.where = where
        self.hint = _sentence(hint) if hint else hint
        self.problems = problems
        super().__init__(message)

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        text = f"{head.rstrip('.')}. {self.hint}" if self.hint else head
        return "\n".join([text, *(f"- {problem}" for problem in self.problems)])

    def to_json(self) -> str:
        """One line for machines: code, message, where, hint and the problems of the same pass."""
        return json.dumps(self._as_dict(), ensure_ascii=False)

    def _as_dict(self) -> dict[str, object]:
        entry: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
        }
        if self.problems:
            entry["problems"] = [problem._as_dict() for problem in self.problems]
        return entry


class ConfigError(PolyrankError):
    """The configuration, the schema or the command is wrong. Exit code 2."""

    exit_code = 2
    code = "config"


class DataError(PolyrankError):
    """The log or a table is refused. Exit code 3."""

    exit_code = 3
    code = "data"


class ArtefactError(PolyrankError):
    """A bundle or checkpoint is refused: altered, incomplete or of another format. Exit code 4."""

    exit_code = 4
    code = "artefact"


class DivergedError(PolyrankError):
    """Training left the finite numbers. Exit code 5."""

    exit_code = 5
    code = "diverged"


class StorageError(PolyrankError):
    """The disk is full, read-only or failing. Exit code 6."""

    exit_code = 6
    code = "storage"


class DistributedError(PolyrankError):
    """A process of a multi-process run failed. Exit code 7."""

    exit_code = 7
    code = "distributed"


class InterruptedRun(PolyrankError):
    """Stopped by a signal at a step boundary; the run can be resumed. Exit code 75."""

    exit_code = 75
    code = "interrupted"


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural but for one.

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def suggest(word: str, known: Iterable[str]) -> str:
    """A closing sentence for an unknown word: the known one that was probably meant, else all.

    Case does not count. At most ``MAX_LISTED`` are listed.

    >>> suggest("Clik", ["click", "like"])
    "Did you mean 'click'?"
    >>> suggest("zzz", ["click", "like"])
    'Known: click, like.'
    """
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    if close:
        return f"Did you mean {folded[close[0]]!r}?"
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"Known: {', '.join(names[:MAX_LISTED]) or 'none'}{more}."
