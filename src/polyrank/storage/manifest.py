"""``MANIFEST.json``: what an artefact is and the size and SHA-256 of every file in it.

The last member, ``"seal"``, is the SHA-256 of all the bytes before it, so that a flipped bit in
the manifest itself shows. It guards against damage; whoever can rewrite files can also seal them.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from polyrank._version import __version__
from polyrank.errors import ArtefactError
from polyrank.storage import jsonio
from polyrank.storage.jsonio import JsonValue
from polyrank.storage.names import MANIFEST, check_names

MAX_MANIFEST_BYTES = 4 << 20
TAIL_BYTES = 512
"""Of a manifest: kind, release and seal stand there, since keys are sorted."""

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = frozenset({"kind", "format_version", "created_at", "polyrank_version", "files", "extra"})
_SEAL_LENGTH = len(b',\n  "seal": "') + 64 + len(b'"\n}\n')
_HINT = "the artefact was altered or is damaged: restore it from where it was made"


class UnsupportedFormat(ArtefactError):
    """An intact artefact that is of another kind or format version than asked for."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """The size in bytes and the SHA-256 (64 lower-case hex digits) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``MANIFEST.json`` says.

    Attributes:
        kind: What the artefact is, such as ``bundle`` or ``checkpoint``.
        format_version: The version of its layout, from 1.
        created_at: UTC, ISO 8601; for people, nothing is ordered by it.
        polyrank_version: The release that wrote it.
        files: Name to size and SHA-256 of every file but the manifest.
        extra: Any JSON object of the writer.
        seal: SHA-256 over the manifest, time of writing included.
    """

    kind: str
    format_version: int
    created_at: str
    polyrank_version: str
    files: Mapping[str, FileEntry]
    extra: Mapping[str, JsonValue]
    seal: str

    @property
    def content(self) -> str:
        """SHA-256 of kind, format version, files and ``extra``: equal content, equal name."""
        files = {name: [entry.size, entry.sha256] for name, entry in self.files.items()}
        fields = [self.kind, self.format_version, files, self.extra]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def render(
    *, kind: str, format_version: int, files: Mapping[str, FileEntry], extra: Mapping[str, object]
) -> bytes:
    """The bytes of a sealed manifest, stamped with this release and the current time."""
    assert _KIND.fullmatch(kind), kind
    assert format_version >= 1, format_version
    fields = {
        "kind": kind,
        "format_version": format_version,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "polyrank_version": __version__,
        "files": {
            name: {"size": entry.size, "sha256": entry.sha256} for name, entry in files.items()
        },
        "extra": dict(extra),
    }
    sealed = seal(jsonio.dumps(fields))
    if len(sealed) > MAX_MANIFEST_BYTES:
        raise _refused(
            f"{len(sealed)} bytes, at most {MAX_MANIFEST_BYTES} are allowed: "
            "put what is in `extra` into a file of its own"
        )
    return sealed


def kind_line(kind: str) -> bytes:
    """The line by which a manifest tells the kind, within its last ``TAIL_BYTES``."""
    return f'\n  "kind": "{kind}",\n'.encode()


def told_kind(end: bytes) -> str | None:
    """The kind that the end of a manifest tells, sealed or not; None: it tells none."""
    found = re.search(rb'\n  "kind": "([a-z][a-z0-9_-]*)",\n', end)
    return None if found is None else found[1].decode()


def seal(body: bytes) -> bytes:
    """Adds the member ``seal`` to the bytes of an indented JSON object."""
    assert body.endswith(b"\n}\n"), body[-8:]
    digest = hashlib.sha256(body).hexdigest()
    return body[: -len(b"\n}\n")] + b',\n  "seal": "' + digest.encode() + b'"\n}\n'


def parse(data: bytes, *, kind: str, supported_versions: Collection[int]) -> Manifest:
    """Checks the seal, then the kind and version, then every field.

    Raises:
        UnsupportedFormat: Intact, but of another kind, or a newer or older format.
        ArtefactError: Altered or malformed.
    """
    body = data[:-_SEAL_LENGTH] + b"\n}\n"
    if seal(body) != data:
        raise _refused("its seal does not fit its content")
    fields = jsonio.loads(body, where=MANIFEST)
    assert isinstance(fields, dict), "what ends in a brace is an object"
    _check_format(fields, kind, supported_versions)
    if fields.keys() != _KEYS:
        odd = ", ".join(sorted(ascii(key[:64]) for key in fields.keys() ^ _KEYS)[:5])
        raise _refused(f"must have exactly the keys {', '.join(sorted(_KEYS))}; differs in {odd}")
    extra = fields["extra"]
    if not isinstance(extra, dict):
        raise _refused("`extra` must be an object")
    return Manifest(
        kind=kind,
        format_version=_integer(fields["format_version"], "format_version", 1),
        created_at=_text(fields["created_at"], "created_at"),
        polyrank_version=_text(fields["polyrank_version"], "polyrank_version"),
        files=_files(fields["files"]),
        extra=extra,
        seal=data[-len(b'"\n}\n') - 64 : -len(b'"\n}\n')].decode(),
    )


def _check_format(fields: dict[str, JsonValue], kind: str, supported: Collection[int]) -> None:
    found = _text(fields.get("kind"), "kind")
    if found != kind:
        raise UnsupportedFormat(
            f"this is a {found[:64]!a}, a {kind!r} is needed",
            where=MANIFEST,
            hint=f"give the path of a {kind}",
        )
    version = _integer(fields.get("format_version"), "format_version", 1)
    if version in supported:
        return
    writer = ascii(_text(fields.get("polyrank_version"), "polyrank_version")[:64])
    reads = ", ".join(map(str, sorted(supported)))
    newer = version > max(supported)
    raise UnsupportedFormat(
        f"{kind} format {version} is {'newer' if newer else 'older'} than this polyrank reads "
        f"({reads}); it was written by polyrank {writer}",
        where=MANIFEST,
        hint=f"upgrade polyrank to the release {writer} or later"
        if newer
        else f"load it with polyrank {writer} and a release in between that reads both formats, "
        f"or make the {kind} again",
    )


def _files(value: JsonValue) -> dict[str, FileEntry]:
    if not isinstance(value, dict):
        raise _refused("`files` must be an object")
    names = check_names(value, where=MANIFEST)
    return {name: _entry(value[name], name) for name in names}


def _entry(value: JsonValue, name: str) -> FileEntry:
    if not isinstance(value, dict) or value.keys() != {"size", "sha256"}:
        raise _refused(f"the entry of {name!r} must have exactly `size` and `sha256`")
    digest = _text(value["sha256"], f"sha256 of {name!r}")
    if not _SHA256.fullmatch(digest):
        raise _refused(f"the sha256 of {name!r} must be 64 lower-case hex digits")
    return FileEntry(size=_integer(value["size"], f"size of {name!r}", 0), sha256=digest)


def _integer(value: JsonValue, what: str, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value < 2**63:
        raise _refused(f"`{what}` must be an integer from {lowest}, got {ascii(value)[:80]}")
    return value


def _text(value: JsonValue, what: str) -> str:
    if not isinstance(value, str):
        raise _refused(f"`{what}` must be text, got {ascii(value)[:80]}")
    return value


def _refused(reason: str) -> ArtefactError:
    return ArtefactError(reason, where=MANIFEST, hint=_HINT)
