"""Recognises by its first bytes what may run code or unpack without bound when loaded."""

from __future__ import annotations

import re

from polyrank.errors import ArtefactError

HEAD_BYTES = 512
MAX_ARRAYS_HEADER_BYTES = 1 << 20

_MAGIC = (
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), "a zip archive (torch.save, .npz)"),
    (re.compile(rb"\x80[\x00-\x05][\x28-\xff]"), "a pickle (joblib, torch.save)"),
    (
        re.compile(
            rb"\((?:[dl]p\d+\n|[dl]q|I-?\d+\n|K[\x00-\x1f]|[SV]['\"]|c[\w.]+\n[\w.]+\n)"
            rb"|[\]})]q[\x00-\xff]|[\]}]\."
            rb"|c[\w.]+\n[\w.]+\n[pq()R\]}]"
        ),
        "a pickle of an old protocol",
    ),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"BZh[1-9]"), "a bzip2 file"),
    (re.compile(rb"\xfd7zXZ\x00|\x5d\x00\x00"), "an xz file"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "a zstandard file"),
    (re.compile(rb"\x04\x22\x4d\x18"), "an lz4 file"),
    (re.compile(rb"\x78[\x01\x5e\x9c\xda]"), "a zlib stream (compressed joblib)"),
    (re.compile(rb"[\x00-\xff]{257}ustar"), "a tar archive"),
    (re.compile(rb"\x93NUMPY"), "a NumPy .npy file"),
)


def refuse_loadable(head: bytes, *, where: str) -> None:
    """Refuses a file whose first ``HEAD_BYTES`` show a pickle, an archive or a compressed file.

    The name does not matter, only the content. A safetensors header whose length happens to look
    like such a mark is let through.

    Raises:
        ArtefactError: With what the file is.
    """
    length = int.from_bytes(head[:8], "little")
    if length <= MAX_ARRAYS_HEADER_BYTES and head[8:9] == b"{":
        return
    for mark, what in _MAGIC:
        if mark.match(head):
            raise ArtefactError(
                f"this is {what} by its content; polyrank never loads one",
                where=where,
                hint="an artefact is a directory of JSON, safetensors and Parquet files "
                "that polyrank saved: give the path of that directory",
            )
