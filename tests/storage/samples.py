"""Small artefacts for the tests, and ways to build damaged or hostile ones by hand."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polyrank.errors import ArtefactError
from polyrank.storage import Committed, commit_directory, open_committed
from polyrank.storage.commit import FileSource

MANIFEST = "MANIFEST.json"
FILES: Mapping[str, bytes] = {
    "card.json": b'{"auc": 0.75}\n',
    "weights.safetensors": bytes(range(1, 201)),
    "state/cursor.json": b"[1, 2, 3]\n",
    "state/deep/empty": b"",
}


def writer_of(content: bytes) -> FileSource:
    """The other way to hand over a file: a function that writes it."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def files_of(step: int) -> dict[str, bytes]:
    """What a checkpoint of this step holds: two files at the top, one in a folder."""
    return {
        "cursor.json": json.dumps({"step": step}).encode(),
        "weights.bin": hashlib.sha256(str(step).encode()).digest() * (1 + step % 3),
        "state/moments.bin": bytes([step % 251]) * 40,
    }


def sources_of(step: int) -> dict[str, FileSource]:
    """``files_of`` with one of them handed over as a function."""
    files: dict[str, FileSource] = dict(files_of(step))
    files["weights.bin"] = writer_of(files_of(step)["weights.bin"])
    return files


def commit(path: Path, files: Mapping[str, FileSource] = FILES, **options: Any) -> Path:
    """Commits a note of format 1."""
    commit_directory(path, files, **{"kind": "note", "format_version": 1, **options})
    return path


def reopen(path: Path) -> Committed:
    """Opens a note of format 1."""
    return open_committed(path, kind="note", supported_versions={1})


def contents(found: Committed) -> dict[str, bytes]:
    """All that it holds."""
    return {name: found.read(name) for name in found.names}


def listing(directory: Path) -> set[str]:
    """Names in a directory, hidden ones too."""
    return {entry.name for entry in directory.iterdir()}


def manifest_fields(files: Mapping[str, bytes]) -> dict[str, Any]:
    """A right manifest for these files, to be made wrong; built without the code under test."""
    return {
        "kind": "note",
        "format_version": 1,
        "created_at": "2024-01-01T00:00:00Z",
        "polyrank_version": "0.0.1",
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        "extra": {},
    }


def sealed(body: str) -> bytes:
    """A JSON object as text, sealed as a writer with bad intent would: the seal fits."""
    data = body.encode("utf-8", "surrogatepass")
    assert data.endswith(b"\n}\n")
    digest = hashlib.sha256(data).hexdigest()
    return data[:-3] + f',\n  "seal": "{digest}"\n}}\n'.encode()


def forge(path: Path, fields: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """A directory with these files and a sealed manifest that says what it is told to."""
    path.mkdir()
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "MANIFEST.json").write_bytes(sealed(json.dumps(fields, indent=2) + "\n"))
    return path


def flip(path: Path, position: int, bit: int) -> None:
    """Flips one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def refusal(path: Path) -> ArtefactError:
    """How a note is refused: at once, with a hint, and leaving no file open."""
    before, start = open_descriptors(path.parent), time.monotonic()
    with pytest.raises(ArtefactError) as caught:
        reopen(path)
    assert time.monotonic() - start < 1
    assert open_descriptors(path.parent) == before
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert len(str(caught.value)) < 3000
    return caught.value


def open_descriptors(folder: Path) -> list[str]:
    """The files beneath a folder that this process has open; others come and go with threads."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]  # noqa: PTH208
    targets = [os.readlink(link) for link in links if os.path.lexists(link)]  # noqa: PTH115
    return sorted(one for one in targets if one.startswith(f"{folder}"))
