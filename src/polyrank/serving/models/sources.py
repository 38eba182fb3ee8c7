"""Where versions of a model come from: a bundle, a pointer to one, or a folder of versions."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from polyrank.bundle import FORMAT_VERSION
from polyrank.bundle.bundle import KIND
from polyrank.errors import ArtefactError, ConfigError
from polyrank.serving.models.rows import label_of
from polyrank.storage import manifest
from polyrank.storage.files import open_regular, read_bytes
from polyrank.storage.names import MANIFEST, MAX_FILES
from polyrank.storage.publish import located

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
"""Of a model or a version."""
UNREADABLE = "unreadable: "
SourceKind = Literal["bundle", "versions"]
_NUMBER = re.compile(r"[0-9]{1,18}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Found:
    """A version as it lies on the disk, not yet opened."""

    name: str
    """The folder's among versions; empty: named by its content, once that is known."""
    path: Path
    """Where no pointer moves it any more."""
    content: str
    """As its manifest says: of equal content is the same version, whenever it was written. Of what
    has no sound manifest, something else."""
    files: str
    """SHA-256 of names, sizes, inodes and times of what lies there: after a refusal, another one is
    worth another try."""

    @property
    def label(self) -> str:
        """How the version is called."""
        if self.name:
            return self.name
        return "unreadable" if self.content.startswith(UNREADABLE) else label_of(self.content)


@dataclass(frozen=True)
class Source:
    """A path that is served; whether it holds one bundle or versions is looked at once."""

    path: Path
    kind: SourceKind

    @classmethod
    def of(cls, path: Path) -> Source:
        """What lies there.

        Raises:
            ConfigError: It is no folder.
        """
        path = path.absolute()
        if os.path.lexists(located(path) / MANIFEST):
            return cls(path, "bundle")
        if not path.is_dir():
            raise ConfigError(
                "is no folder", where=str(path), hint="Give a bundle, or a folder of bundles."
            )
        return cls(path, "versions")

    def beside(self, what: str) -> Path:
        """A folder that belongs to it and is no part of it."""
        return self.path.with_name(f"{self.path.name}.{what}")

    def look(self) -> tuple[Found, ...]:
        """The versions there are, the newest first: the highest number, then the last name."""
        if self.kind == "bundle":
            path = located(self.path)
            return (_found("", path),) if os.path.lexists(path) else ()
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if NAME.fullmatch(entry.name)]
        except OSError:
            return ()
        return tuple(
            _found(name, self.path / name) for name in sorted(names, key=age, reverse=True)
        )


def age(name: str) -> tuple[int, int, str]:
    """Sorts versions, the newest last: numbers after names, by value."""
    if _NUMBER.fullmatch(name):
        return 1, int(name), name
    return 0, 0, name


def _found(name: str, path: Path) -> Found:
    real = Path(os.path.realpath(path))
    return Found(name=name, path=real, content=_content(real), files=_files(real))


def _content(path: Path) -> str:
    try:
        root = os.open(path, _FOLDER)
    except OSError as error:
        return f"{UNREADABLE}{type(error).__name__}"
    try:
        data = _manifest(root)
        return manifest.parse(data, kind=KIND, supported_versions={FORMAT_VERSION}).content
    except (ArtefactError, OSError) as error:
        return f"{UNREADABLE}{error}"
    finally:
        os.close(root)


def _manifest(root: int) -> bytes:
    descriptor = open_regular(MANIFEST, directory=root)
    try:
        return read_bytes(descriptor, manifest.MAX_MANIFEST_BYTES)
    finally:
        os.close(descriptor)


def _files(path: Path) -> str:
    digest = hashlib.sha256()
    for name, status in sorted(islice(_entries(path), MAX_FILES + 2)):
        told = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
        digest.update(f"{name!a} {told}\n".encode())
    return digest.hexdigest()


def _entries(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            entry = Path(folder, name)
            try:
                yield str(entry.relative_to(path)), entry.lstat()
            except OSError:  # gone meanwhile: the next look sees that
                continue
