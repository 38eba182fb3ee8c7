"""A manifest that is wrong is refused even where its seal fits; kinds and versions by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from polyrank.storage import UnsupportedFormat, open_committed
from tests.storage.samples import (
    commit,
    contents,
    forge,
    manifest_fields,
    refusal,
    reopen,
    sealed,
)

_GOOD = manifest_fields({"a": b"1"})
_SHA = _GOOD["files"]["a"]["sha256"]


def _with(**changes: Any) -> dict[str, Any]:
    return {**_GOOD, **changes}


def _files(**entries: Any) -> dict[str, Any]:
    return _with(files={name: entry for name, entry in entries.items()})  # noqa: C416


MANIFESTS: dict[str, tuple[str, Any]] = {
    "kind and version alone": ("must have exactly the keys", {"kind": "note", "format_version": 1}),
    "missing key": ("'created_at'", {k: v for k, v in _GOOD.items() if k != "created_at"}),
    "unknown key": ("'more'", _with(more=1)),
    "kind missing": ("`kind` must be text", {k: v for k, v in _GOOD.items() if k != "kind"}),
    "kind is a number": ("`kind` must be text", _with(kind=1)),
    "version is text": ("`format_version` must be an integer", _with(format_version="1")),
    "version is a float": ("`format_version` must be an integer", _with(format_version=1.0)),
    "version is a bool": ("`format_version` must be an integer", _with(format_version=True)),
    "version 0": ("integer from 1", _with(format_version=0)),
    "version -1": ("integer from 1", _with(format_version=-1)),
    "version 2^63": ("integer from 1", _with(format_version=2**63)),
    "created_at is a number": ("`created_at` must be text", _with(created_at=0)),
    "polyrank_version is null": ("`polyrank_version` must be", _with(polyrank_version=None)),
    "files is a list": ("`files` must be an object", _with(files=[])),
    "extra is a list": ("`extra` must be an object", _with(extra=[])),
    "entry is a number": ("entry of 'a'", _files(a=1)),
    "entry without size": ("entry of 'a'", _files(a={"sha256": _SHA})),
    "entry with more": ("entry of 'a'", _files(a={"size": 1, "sha256": _SHA, "url": "x"})),
    "size is text": ("`size of 'a'`", _files(a={"size": "1", "sha256": _SHA})),
    "size is a float": ("`size of 'a'`", _files(a={"size": 1.0, "sha256": _SHA})),
    "size is a bool": ("`size of 'a'`", _files(a={"size": True, "sha256": _SHA})),
    "size -1": ("`size of 'a'`", _files(a={"size": -1, "sha256": _SHA})),
    "size 2^63": ("`size of 'a'`", _files(a={"size": 2**63, "sha256": _SHA})),
    "size 10^18": ("the manifest says 10{18}", _files(a={"size": 10**18, "sha256": _SHA})),
    "another size": ("1 bytes, the manifest says 2", _files(a={"size": 2, "sha256": _SHA})),
    "another hash": ("SHA-256 is not that", _files(a={"size": 1, "sha256": "0" * 64})),
    "upper-case hash": ("lower-case hex", _files(a={"size": 1, "sha256": _SHA.upper()})),
    "short hash": ("lower-case hex", _files(a={"size": 1, "sha256": _SHA[:-1]})),
    "hash is a number": ("sha256 of 'a'", _files(a={"size": 1, "sha256": 1})),
    "hash with a newline": ("lower-case hex", _files(a={"size": 1, "sha256": _SHA + "\n"})),
    "clash of case": ("only in case", _files(a=_GOOD["files"]["a"], A=_GOOD["files"]["a"])),
    "nothing listed": ("1 are there that it does not list", _with(files={})),
    "257 files": ("257 files", _files(**{f"f{n}": _GOOD["files"]["a"] for n in range(257)})),
}

PATHS = [
    "..", "../a", "/etc/passwd", "state/../../a", "./a", "a/", "a//b", ".a", "%2e%2e%2fa", "..%2fa",
    "%252e%252e%252fa", "..\\a", "C:\\a", "file:///etc/passwd", "http://x/a", "a\0", "a\nb", "~/a",
    "\uff0e\uff0e/a", "..;/a", "....//a", "MANIFEST.json", "Manifest.json", "", " ", "a" * 65,
    "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_is_wrong_but_sealed_is_refused(tmp_path: Path, case: str) -> None:
    reason, fields = MANIFESTS[case]
    path = forge(tmp_path / "note", fields, {"a": b"1"})
    assert re.search(reason, str(refusal(path)))


@pytest.mark.parametrize("name", PATHS)
def test_a_path_in_the_manifest_goes_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(b"1")
    path = forge(tmp_path / "note", _files(**{name: _GOOD["files"]["a"]}), {"a": b"1"})
    error = refusal(path)
    assert error.where in {"MANIFEST.json"}
    assert "file name" in error.message or "surrogates" in error.message


RAW = {
    "list": "[\n]\n}\n",
    "not JSON": "{\n  nope\n}\n",
    "duplicate key": json.dumps(_GOOD, indent=2)[:-2] + ',\n  "kind": "note"\n}\n',
    "duplicate file": json.dumps(_GOOD, indent=2).replace(
        '"files": {', f'"files": {{"a": {json.dumps(_GOOD["files"]["a"])},'
    ) + "\n",
    "NaN": json.dumps(_with(extra={"x": float("nan")}), indent=2) + "\n",
    "1e999": json.dumps(_with(extra={"x": 7}), indent=2).replace("7", "1e999") + "\n",
    "byte order mark": "\ufeff" + json.dumps(_GOOD, indent=2) + "\n",
    "nesting": '{\n"a": ' + "[" * 100_000 + "\n}\n",
    "a second seal": json.dumps(_with(seal="0" * 64), indent=2) + "\n",
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_a_manifest_that_is_not_strict_json_is_refused(tmp_path: Path, case: str) -> None:
    path = forge(tmp_path / "note", _GOOD, {"a": b"1"})
    assert contents(reopen(path)) == {"a": b"1"}
    (path / "MANIFEST.json").write_bytes(sealed(RAW[case]))
    assert refusal(path).where == "MANIFEST.json"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\n}\n", b"\0" * 500, b"{}\n" * 9, json.dumps(_GOOD).encode()]
)
def test_a_manifest_without_a_seal_is_refused(tmp_path: Path, data: bytes) -> None:
    path = forge(tmp_path / "note", _GOOD, {"a": b"1"})
    (path / "MANIFEST.json").write_bytes(data)
    assert "seal does not fit" in str(refusal(path))


def test_a_manifest_beyond_4_mib_is_refused_unread(tmp_path: Path) -> None:
    path = forge(tmp_path / "note", _GOOD, {"a": b"1"})
    with (path / "MANIFEST.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "at most 4194304 are allowed" in str(refusal(path))


# Kind and version


def test_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = commit(tmp_path / "note")
    with pytest.raises(UnsupportedFormat, match="this is a 'note', a 'bundle' is needed"):
        open_committed(path, kind="bundle", supported_versions={1})


@pytest.mark.parametrize(
    ("written", "supported", "words"),
    [
        (7, {1, 2}, ["newer than this polyrank reads (1, 2)", "Upgrade polyrank to the release"]),
        (1, {2, 3}, ["older than this polyrank reads (2, 3)", "Load it with polyrank"]),
    ],
)
def test_another_version_is_refused_with_what_to_do(
    tmp_path: Path, written: int, supported: set[int], words: list[str]
) -> None:
    path = commit(tmp_path / "note", format_version=written)
    with pytest.raises(UnsupportedFormat) as caught:
        open_committed(path, kind="note", supported_versions=supported)
    assert all(word in str(caught.value) for word in [f"note format {written} is", *words])
    assert caught.value.exit_code == 4


def test_a_newer_format_is_named_even_if_its_manifest_has_other_keys(tmp_path: Path) -> None:
    fields = {"kind": "note", "format_version": 9, "polyrank_version": "9.1", "shards": [1]}
    path = forge(tmp_path / "note", fields, {})
    with pytest.raises(UnsupportedFormat, match=r"written by polyrank '9\.1'"):
        reopen(path)
