"""What a disk may hold after a power loss, worked out from a recording of what was asked of it.

The model, meaner than any one file system: a file's data is safe after its own sync; until then
it is whole, empty, cut in half or zeros. A change of names (make, rename, swap, remove) is safe
after a sync of the directory it is in; until then each may have happened or not, in any
combination, whatever came before or after it.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from polyrank.storage.disk import RealDisk

Tree: TypeAlias = "dict[str, bytes | None]"
"""Relative path to content; None for a directory."""


@dataclass(frozen=True)
class Operation:
    """One call, with paths relative to the recorded root ("" is the root itself)."""

    kind: str
    path: str
    other: str = ""
    content: bytes = b""


class RecordingDisk(RealDisk):
    """Does everything for real under a root and writes down what it did."""

    def __init__(self, root: Path, *, exchanges: bool = True) -> None:
        self.root = root
        self.trace: list[Operation] = []
        self._exchanges = exchanges
        self._created: set[str] = set()

    def acknowledge(self) -> None:
        """The caller was told that everything so far is safe."""
        self.trace.append(Operation("acknowledge", ""))

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        self._record("mkdir", path)

    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self._record("create", path, content=content)
        self._record("sync", path)

    def sync(self, path: Path) -> None:
        if path.is_file() and self._relative(path) not in self._created:
            self._record("create", path, content=path.read_bytes())
        super().sync(path)
        self._record("sync", path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._record("rename", source, target)

    def exchange(self, first: Path, second: Path) -> bool:
        if not (self._exchanges and super().exchange(first, second)):
            return False
        self._record("exchange", first, second)
        return True

    def remove_tree(self, path: Path) -> None:
        for folder, folders, files in os.walk(path, topdown=False):
            for name in [*files, *folders]:
                self._record("remove", Path(folder) / name)
        if path.exists():
            self._record("remove", path)
        super().remove_tree(path)

    def _relative(self, path: Path) -> str:
        return "" if path == self.root else str(path.relative_to(self.root))

    def _record(
        self, kind: str, path: Path, other: Path | None = None, content: bytes = b""
    ) -> None:
        if kind == "create":
            self._created.add(self._relative(path))
        second = self._relative(other) if other else ""
        self.trace.append(Operation(kind, self._relative(path), second, content))


@dataclass
class _Change:
    """One step in one directory: names to what they stand for, None for nothing."""

    directory: int
    entries: dict[str, int | None]


@dataclass
class _Disk:
    """Directories are numbers with entries; files are numbers with content."""

    view: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    durable: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    pending: list[_Change] = field(default_factory=list)
    content: dict[int, bytes] = field(default_factory=dict)
    unsynced: set[int] = field(default_factory=set)
    acknowledged: int = 0

    def apply(self, operation: Operation) -> None:
        kind, path = operation.kind, operation.path
        if kind == "acknowledge":
            self.acknowledged += 1
        elif kind == "sync":
            self._sync(self._find(path))
        elif kind in {"rename", "exchange"}:
            first, second = self._find(path), self._find(operation.other)
            assert first is not None
            self._change(path, second if kind == "exchange" else None, operation.other, first)
        else:
            self._change(path, None if kind == "remove" else self._make(operation))

    def _make(self, operation: Operation) -> int:
        number = len(self.durable) + len(self.content)
        if operation.kind == "mkdir":
            self.view[number], self.durable[number] = {}, {}
        else:
            self.content[number] = operation.content
            self.unsynced |= {number} if operation.content else set()
        return number

    def _sync(self, number: int | None) -> None:
        assert number is not None
        self.unsynced.discard(number)
        for change in [change for change in self.pending if change.directory == number]:
            self.pending.remove(change)
            _enter(self.durable[number], change.entries)

    def _change(self, path: str, value: int | None, other: str = "", second: int = 0) -> None:
        folder, name = os.path.split(path)
        directory = self._find(folder)
        assert directory is not None
        entries: dict[str, int | None] = {name: value}
        if other:
            assert os.path.dirname(other) == folder  # noqa: PTH120
            entries[os.path.basename(other)] = second  # noqa: PTH119
        _enter(self.view[directory], entries)
        self.pending.append(_Change(directory, entries))

    def _find(self, path: str) -> int | None:
        number: int | None = 0
        for part in path.split("/") if path else []:
            number = self.view[number].get(part) if number is not None else None
        return number

    def tree(self, happened: tuple[bool, ...], damage: dict[int, bytes]) -> Tree:
        entries = {number: dict(names) for number, names in self.durable.items()}
        for change in itertools.compress(self.pending, happened):
            _enter(entries[change.directory], change.entries)
        found: Tree = {}
        queue = [("", 0)]
        while queue:
            folder, directory = queue.pop()
            for name, number in entries[directory].items():
                path = f"{folder}{name}"
                if number in entries:
                    found[path] = None
                    queue.append((path + "/", number))
                else:
                    found[path] = damage.get(number, self.content[number])
        return found


def _enter(names: dict[str, int], entries: dict[str, int | None]) -> None:
    for name, number in entries.items():
        if number is None:
            names.pop(name, None)
        else:
            names[name] = number


def crash_states(trace: list[Operation], *, each: int, seed: int = 0) -> Iterator[tuple[Tree, int]]:
    """What may be found after a crash at any moment, and how many acknowledgements came before.

    Args:
        trace: The recording.
        each: States after each operation; all of them if there are no more, else a sample.
        seed: Of the sample.

    Yields:
        Different pairs only.
    """
    draw = random.Random(seed)
    disk = _Disk()
    seen: set[tuple[frozenset[tuple[str, bytes | None]], int]] = set()
    for operation in trace:
        disk.apply(operation)
        for happened, damage in _choices(disk, each, draw):
            tree = disk.tree(happened, damage)
            key = frozenset(tree.items()), disk.acknowledged
            if key not in seen:
                seen.add(key)
                yield tree, disk.acknowledged


def _choices(
    disk: _Disk, each: int, draw: random.Random
) -> Iterator[tuple[tuple[bool, ...], dict[int, bytes]]]:
    files = sorted(disk.unsynced)
    damages = [_damages(disk.content[number]) for number in files]
    bits = [(True, False)] * len(disk.pending)
    if 2 ** len(bits) * 4 ** len(files) <= each:
        for happened in itertools.product(*bits):
            for torn in itertools.product(*damages):
                yield happened, dict(zip(files, torn, strict=True))
        return
    yield (True,) * len(bits), {}
    for _ in range(each - 1):
        torn = tuple(draw.choice(options) for options in damages)
        chance = draw.random()
        yield tuple(draw.random() < chance for _ in bits), dict(zip(files, torn, strict=True))


def _damages(content: bytes) -> tuple[bytes, ...]:
    return content, b"", content[: len(content) // 2], bytes(len(content))


def put(tree: Tree, directory: Path) -> None:
    """Makes a state real."""
    directory.mkdir()
    for path in sorted(tree):
        content = tree[path]
        if content is None:
            (directory / path).mkdir()
        else:
            (directory / path).write_bytes(content)


def without_syncs(trace: list[Operation], of: Callable[[str], bool]) -> list[Operation]:
    """The same recording on a disk where syncs of these paths do nothing."""
    return [step for step in trace if not (step.kind == "sync" and of(step.path))]
