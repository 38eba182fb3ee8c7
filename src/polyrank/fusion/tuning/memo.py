"""Trials as they are made, on disk: a search that was stopped goes on from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from polyrank.errors import ArtefactError, ConfigError
from polyrank.storage.failures import storage_errors

FILE = "trials.jsonl"
_MOST_TOLD = 3


class Memo:
    """Lines of JSON that are only ever added to: a header that names what is searched, then a line
    a trial. A process that is killed loses at most the line it was writing."""

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        self._path = folder / FILE
        self._header = json.loads(json.dumps(header))
        self._file: IO[bytes] | None = None
        self.found: list[tuple[list[float], list[float]]] = []
        """By trial, its weights and its values."""

    def __enter__(self) -> Self:
        """Read what there is.

        Raises:
            ConfigError: It belongs to another search; what differs is told.
            ArtefactError: A line before the last is damaged.
        """
        with storage_errors("keep the trials", FILE):
            lines = self._whole_lines()
            if lines:
                self._check(lines[0])
                self.found = [self._trial(place, line) for place, line in enumerate(lines[1:])]
            self._file = self._path.open("ab")
            if not lines:
                self._write(self._header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()

    def recall(self, number: int, weights: list[float]) -> list[float] | None:
        """The values of a trial, if it was made.

        Raises:
            ArtefactError: It had other weights.
        """
        if number >= len(self.found):
            return None
        known, values = self.found[number]
        if known != weights:
            raise ArtefactError(
                f"trial {number} had other weights than the same search gives now",
                where=str(self._path),
                hint="Another version of polyrank, NumPy or Optuna made it: give another folder, "
                "or search anew with --restart.",
            )
        return values

    def add(self, weights: list[float], values: list[float]) -> None:
        """The next trial."""
        self._write({"trial": len(self.found), "weights": weights, "values": values})
        self.found.append((weights, values))

    def flush(self) -> None:
        """Hand what was added to the system, so that it outlives this process."""
        assert self._file is not None
        with storage_errors("keep the trials", FILE):
            self._file.flush()

    def _write(self, tree: Mapping[str, Any]) -> None:
        assert self._file is not None
        with storage_errors("keep the trials", FILE):
            self._file.write(json.dumps(tree, allow_nan=False).encode() + b"\n")

    def _whole_lines(self) -> list[bytes]:
        """A last line without its end was being written: it is cut off."""
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        return content[:whole].splitlines()

    def _check(self, line: bytes) -> None:
        changed = list(_changes(self._parsed(line, 1), self._header, ""))
        if not changed:
            return
        more = f", and {len(changed) - _MOST_TOLD} more" if len(changed) > _MOST_TOLD else ""
        raise ConfigError(
            f"holds another search: {'; '.join(changed[:_MOST_TOLD])}{more}",
            where=str(self._path.parent),
            hint="Give --work another folder, or forget the trials with --restart.",
        )

    def _trial(self, place: int, line: bytes) -> tuple[list[float], list[float]]:
        tree = self._parsed(line, place + 2)
        try:
            weights, values = tree["weights"], tree["values"]
            if tree["trial"] != place or not isinstance(weights + values, list):
                raise TypeError
        except (KeyError, TypeError) as error:
            raise self._damaged(place + 2) from error
        return weights, values

    def _parsed(self, line: bytes, number: int) -> Any:
        try:
            return json.loads(line)
        except ValueError as error:
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> ArtefactError:
        return ArtefactError(
            f"line {number} is no trial", where=str(self._path), hint="Search anew with --restart."
        )


def _changes(before: Any, now: Any, where: str) -> Iterator[str]:
    """Where two trees differ, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _changes(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif before != now:
        yield f"{where} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
