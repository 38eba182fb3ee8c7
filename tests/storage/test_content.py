"""A pickle, an archive or a compressed file is refused by content and never loaded (D3)."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st

from polyrank.errors import ArtefactError
from polyrank.storage.content import refuse_loadable
from tests.storage.samples import forge, manifest_fields, reopen

pickling: Any = importlib.import_module("pickle")


class _Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def _tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def _zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _offered(canary: Path) -> dict[str, bytes]:
    objects = {
        "canary": _Canary(canary),
        "dict": {"state_dict": {"weight": [1.0, 2.0]}, "epoch": 3},
        "list": [1, 2.5, "x", None],
        "array": np.arange(10.0),
        "tuple": (1, 2),
    }
    found = {
        f"pickle {name} {protocol}": pickling.dumps(value, protocol=protocol)
        for name, value in objects.items()
        for protocol in range(pickling.HIGHEST_PROTOCOL + 1)
    }
    evil = pickling.dumps(_Canary(canary))
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, x=np.zeros(3))
    np.save(npy, np.array([_Canary(canary)], dtype=object), allow_pickle=True)
    return found | {
        "torch zip": _zip("archive/data.pkl", evil),
        "old torch": pickling.dumps(0x1950A86A20F9469CFC6C, protocol=2) + evil,
        "pickle that has a brace where safetensors has one": pickling.dumps("a{bc", protocol=2),
        "empty zip": _zip("x", b"")[-22:],
        "zip slip": _zip("../../evil", b"x"),
        "npz": npz.getvalue(),
        "npy of objects": npy.getvalue(),
        "gzip": gzip.compress(evil),
        "bzip2": bz2.compress(evil),
        "xz": lzma.compress(evil),
        "lzma": lzma.compress(evil, format=lzma.FORMAT_ALONE),
        "zlib": zlib.compress(evil),
        "tar": _tar("data"),
        "tar slip": _tar("../../evil"),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(20),
        "lz4": b"\x04\x22\x4d\x18" + bytes(20),
    }


CASES = sorted(_offered(Path("/nowhere")))


@pytest.mark.parametrize("case", CASES)
def test_refused_at_the_path_and_inside(tmp_path: Path, case: str) -> None:
    canary = tmp_path / "canary"
    content = _offered(canary)[case]
    for name in ("model.safetensors", "bundle"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtefactError, match="by its content; polyrank never loads one"):
            reopen(tmp_path / name)
    files = {"weights.safetensors": content}
    path = forge(tmp_path / "note", manifest_fields(files), files)
    with pytest.raises(ArtefactError, match=r"weights\.safetensors: this is a"):
        reopen(path)
    assert not canary.exists()


def test_the_canary_sings_when_it_is_loaded(tmp_path: Path) -> None:
    pickling.loads(_offered(tmp_path / "canary")["pickle canary 4"])
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b"# Card\n\nA model.\n",
        b"card\nmodel\nname\n",
        b"config: 1\ncat: 2\n",
        b"(see the card)\n",
        b"PAR1\x15\x04\x15",
        b"ARROW1\0\0",
        b"\x08\x07\x12\x07pytorch",
        b"x" * 600,
        "é".encode(),
    ],
)
def test_what_an_artefact_does_hold_is_let_through(content: bytes) -> None:
    refuse_loadable(content[:512], where="x")


@given(st.integers(2, 1 << 20))
@example(0x9C78)
@example(0x088B1F)
def test_no_header_length_of_safetensors_is_mistaken(length: int) -> None:
    refuse_loadable(length.to_bytes(8, "little") + b'{"a":', where="x")


@given(st.integers(1, 3000), st.text("abc", min_size=1, max_size=3))
def test_no_real_safetensors_file_is_mistaken(name_length: int, name: str) -> None:
    data = safetensors.numpy.save({name * name_length: np.zeros(2)})
    refuse_loadable(data[:512], where="x")
