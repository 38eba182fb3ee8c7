"""Opens an artefact only after everything in it was checked against its manifest.

The files stay open, so a reader keeps what it verified while the directory is retired and removed.
What is read is hashed again in memory and compared, so it is the bytes that were verified, even if
somebody rewrites the file in between.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from polyrank.errors import ArtefactError
from polyrank.storage import jsonio, manifest
from polyrank.storage.content import HEAD_BYTES, refuse_loadable
from polyrank.storage.failures import storage_errors
from polyrank.storage.files import measure, names_in, open_regular, read_bytes, read_into
from polyrank.storage.jsonio import JsonValue
from polyrank.storage.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest
from polyrank.storage.names import MANIFEST, folders_of
from polyrank.storage.publish import located

if TYPE_CHECKING:
    import pyarrow as pa

    from polyrank.storage.arrays import Array

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
_SHOWN = 5
_Content = TypeVar("_Content", bytes, bytearray)
_HINT = "the artefact was altered or is damaged: restore it from where it was made"


class Committed:
    """A verified artefact with its files open; close it, or use it in a ``with``.

    Attributes:
        path: Where it was opened.
        manifest: What it is; ``manifest.extra`` is the writer's own.
    """

    def __init__(
        self, path: Path, manifest: Manifest, descriptors: Mapping[str, int], closing: ExitStack
    ) -> None:
        self.path = path
        self.manifest = manifest
        self._descriptors = descriptors
        self._close = weakref.finalize(self, closing.close)

    @property
    def names(self) -> tuple[str, ...]:
        """The files in it, sorted, without the manifest."""
        return tuple(self.manifest.files)

    def read(self, name: str) -> bytes:
        """The content of a file, the very bytes that were verified.

        Raises:
            ArtefactError: No such file, or its content changed since it was verified.
            StorageError: The disk refused.
        """
        entry, descriptor = self._entry(name)
        with storage_errors(f"read {name!r}", self.path.name):
            content = read_bytes(descriptor, entry.size)
        return _unchanged(content, name, entry)

    def json(self, name: str) -> JsonValue:
        """The value in a JSON file, read strictly."""
        return jsonio.loads(self.read(name), where=name)

    def arrays(self, name: str, *, finite: bool = False) -> dict[str, Array]:
        """The arrays in a safetensors file, writable, over one copy of it in memory.

        Args:
            name: The file.
            finite: Refuse NaN and infinity.
        """
        from polyrank.storage.arrays import load_arrays

        entry, descriptor = self._entry(name)
        content = bytearray(entry.size)
        with storage_errors(f"read {name!r}", self.path.name):
            del content[read_into(descriptor, memoryview(content)) :]
        return load_arrays(_unchanged(content, name, entry), where=name, finite=finite)

    def table(self, name: str) -> pa.Table:
        """The table in a Parquet file."""
        from polyrank.storage.tables import table_of

        return table_of(self.read(name))

    def close(self) -> None:
        """Closes the files; nothing can be read after that."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entry(self, name: str) -> tuple[FileEntry, int]:
        assert self._close.alive, "read after close"
        if name not in self._descriptors:
            raise ArtefactError(
                f"there is no file {name!a}",
                where=self.path.name,
                hint=f"it holds {', '.join(self.names)}",
            )
        return self.manifest.files[name], self._descriptors[name]


def open_committed(path: Path, *, kind: str, supported_versions: Collection[int]) -> Committed:
    """Opens an artefact after verifying all of it; uses none of its content before.

    A symbolic link as the path itself is followed once; inside, only regular files with one link
    and plain folders are accepted, exactly those that the manifest lists.

    Args:
        path: The directory that ``commit_directory`` made.
        kind: What it must be.
        supported_versions: The format versions that the caller reads.

    Raises:
        UnsupportedFormat: Intact, but of another kind or format version.
        ArtefactError: Missing, altered, incomplete, or a pickle or archive.
        StorageError: The disk refused to read.
    """
    path = path.absolute()
    with storage_errors(f"read the {kind}", path.name), ExitStack() as stack:
        path = located(path)
        root = _open_root(path, kind)
        stack.callback(os.close, root)
        found = _read_manifest(root, kind, supported_versions)
        _check_names(root, found)
        descriptors: dict[str, int] = {}
        for name in found.files:
            descriptors[name] = open_regular(name, directory=root)
            stack.callback(os.close, descriptors[name])
        for name, entry in found.files.items():
            _check_file(descriptors[name], name, entry)
        return Committed(path, found, descriptors, stack.pop_all())


def _open_root(path: Path, kind: str) -> int:
    try:
        return os.open(path, _DIRECTORY)
    except FileNotFoundError as error:
        raise ArtefactError(
            "does not exist", where=path.name, hint=f"give the path of a {kind}"
        ) from error
    except NotADirectoryError as error:
        _refuse_by_content(path)
        raise ArtefactError(
            f"is a file; a {kind} is a directory with {MANIFEST}",
            where=path.name,
            hint=f"give the path of a {kind} that polyrank saved",
        ) from error


def _refuse_by_content(path: Path) -> None:
    directory = os.open(path.parent, _DIRECTORY)
    try:
        descriptor = open_regular(path.name, directory=directory)
    finally:
        os.close(directory)
    try:
        refuse_loadable(os.pread(descriptor, HEAD_BYTES, 0), where=path.name)
    finally:
        os.close(descriptor)


def _read_manifest(root: int, kind: str, supported_versions: Collection[int]) -> Manifest:
    descriptor = open_regular(MANIFEST, directory=root)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_MANIFEST_BYTES:
            raise ArtefactError(
                f"{size} bytes, at most {MAX_MANIFEST_BYTES} are allowed",
                where=MANIFEST,
                hint=_HINT,
            )
        data = bytearray(size)
        data = data[: read_into(descriptor, memoryview(data))]
    finally:
        os.close(descriptor)
    return manifest.parse(bytes(data), kind=kind, supported_versions=supported_versions)


def _check_names(root: int, found: Manifest) -> None:
    folders = folders_of(found.files)
    listed = {*found.files, MANIFEST}
    present = {name for folder in ["", *folders] for name in names_in(root, folder)}
    extra, missing = present - listed - set(folders), listed - present
    if extra or missing:
        raise ArtefactError(
            f"{len(missing)} files of the manifest are missing{_some(missing)}, "
            f"{len(extra)} are there that it does not list{_some(extra)}",
            where=MANIFEST,
            hint=_HINT,
        )


def _some(names: set[str]) -> str:
    shown = [ascii(name[:200]) for name in sorted(names)[:_SHOWN]]
    return f" ({', '.join(shown)}{', ...' if len(names) > _SHOWN else ''})" if names else ""


def _check_file(descriptor: int, name: str, entry: FileEntry) -> None:
    size = os.fstat(descriptor).st_size
    if size != entry.size:
        raise ArtefactError(f"{size} bytes, the manifest says {entry.size}", where=name, hint=_HINT)
    if measure(descriptor, where=name) != entry:
        raise ArtefactError("its SHA-256 is not that of the manifest", where=name, hint=_HINT)


def _unchanged(content: _Content, name: str, entry: FileEntry) -> _Content:
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ArtefactError("changed after it was verified", where=name, hint=_HINT)
    return content
