"""Writes an artefact so that a reader finds all of it or nothing, whatever happens meanwhile.

Every file is written and synced in a hidden directory beside the target, the manifest with their
sizes and hashes last; then the directory gets its name, and only when that is durable does the
call return. A sync that fails is fatal and never retried: the kernel may have dropped the data.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from polyrank.errors import ConfigError
from polyrank.storage import manifest, publish, targets
from polyrank.storage.content import HEAD_BYTES, refuse_loadable
from polyrank.storage.disk import REAL_DISK, Disk
from polyrank.storage.failures import storage_errors
from polyrank.storage.files import measure, open_regular, same_file
from polyrank.storage.manifest import FileEntry, Manifest
from polyrank.storage.names import MANIFEST, check_names, folders_of
from polyrank.storage.temporary import claim_temporary, clear_stale

FileSource: TypeAlias = "bytes | Callable[[Path], None]"


def commit_directory(
    path: Path,
    files: Mapping[str, FileSource],
    *,
    kind: str,
    format_version: int,
    extra: Mapping[str, object] | None = None,
    replace: bool = False,
    disk: Disk = REAL_DISK,
) -> Manifest:
    """Writes the files as one artefact; when this returns they survive a crash.

    Args:
        path: The directory to make; missing parents are made too.
        files: Relative name to content, or to a function that writes the file at the path it is
            given (and raises ``OSError`` when it cannot). Parts of a name: ``[A-Za-z0-9_.-]``,
            1 to 64, not starting with a dot.
        kind: What it is, such as ``bundle``; readers ask for it.
        format_version: The version of the layout, from 1.
        extra: Any JSON object for the manifest.
        replace: Replace an artefact of this kind that is there; a reader finds the old or the new
            one.
        disk: The operations used; tests record them.

    Returns:
        The manifest as written.

    Raises:
        ConfigError: The target exists and is not to be replaced, or is no artefact of this kind.
        ArtefactError: A name, ``extra`` or a content that no reader would accept.
        StorageError: The disk refused; nothing is left behind and what was there is untouched.
    """
    path = _target(path)
    names = check_names(files, where=path.name)
    manifest.render(kind=kind, format_version=format_version, files={}, extra=extra or {})
    with storage_errors(f"write the {kind}", path.name):
        publish.make_directories(path.parent, disk)
        clear_stale(path.parent, re.escape(path.name), disk)
        publish.recover(path, disk)
        targets.check_target(path, kind=kind, replace=replace)
        with _draft(path, disk) as draft:
            entries = draft.fill({name: files[name] for name in names})
            sealed = manifest.render(
                kind=kind, format_version=format_version, files=entries, extra=extra or {}
            )
            draft.finish(sealed, folders_of(names))
            draft.publish(replace=replace)
    return manifest.parse(sealed, kind=kind, supported_versions={format_version})


def _target(path: Path) -> Path:
    path = path.absolute()
    if path.name in {"", ".."}:
        raise ConfigError(
            f"{str(path)!r} does not end in a name", hint="give the path of a new directory"
        )
    return path


@contextmanager
def _draft(path: Path, disk: Disk) -> Iterator[_Draft]:
    """A locked temporary directory; removed unless it was published."""
    temporary, lock = claim_temporary(path, disk)
    try:
        yield _Draft(path, temporary, lock, disk)
    finally:
        if same_file(lock, temporary):
            disk.remove_tree(temporary)
        os.close(lock)


@dataclass(frozen=True)
class _Draft:
    path: Path
    temporary: Path
    lock: int
    disk: Disk

    def fill(self, files: Mapping[str, FileSource]) -> dict[str, FileEntry]:
        for folder in folders_of(files):
            self.disk.make_directory(self.temporary / folder)
        return {name: self._write(name, source) for name, source in files.items()}

    def finish(self, sealed: bytes, folders: list[str]) -> None:
        self.disk.write(self.temporary / MANIFEST, sealed)
        for folder in reversed(folders):
            self.disk.sync(self.temporary / folder)
        self.disk.sync(self.temporary)

    def publish(self, *, replace: bool) -> None:
        try:
            publish.publish(self.temporary, self.path, replace=replace, disk=self.disk)
        except FileExistsError as error:
            raise targets.already_exists(self.path) from error

    def _write(self, name: str, source: FileSource) -> FileEntry:
        with storage_errors(f"write {name!r}", self.path.name):
            if isinstance(source, bytes):
                return self._write_bytes(name, source)
            source(self.temporary / name)
            return self._sync_and_measure(name)

    def _write_bytes(self, name: str, content: bytes) -> FileEntry:
        refuse_loadable(content[:HEAD_BYTES], where=name)
        self.disk.write(self.temporary / name, content)
        return FileEntry(size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _sync_and_measure(self, name: str) -> FileEntry:
        descriptor = open_regular(name, directory=self.lock)
        try:
            self.disk.sync(self.temporary / name)
            return measure(descriptor, where=name)
        finally:
            os.close(descriptor)
