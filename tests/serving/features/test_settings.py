"""Settings: mappings and words, what is refused, and passwords that nobody sees."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polyrank.errors import ConfigError
from polyrank.schema import parse
from polyrank.schema.model import Declared
from polyrank.serving.features import RedisStoreSettings, Stores, fill, store_settings
from tests.serving.features import world
from tests.serving.features.stores import file_settings


class Server(Declared):
    """As a server has them among its own."""

    features: Stores = {}


def test_words_and_mappings_stand_for_stores() -> None:
    found = parse(
        Server,
        {
            "features": {
                "a": "memory",
                "b": "b.db",
                "c": "sub/c.lmdb",
                "d": "redis://host/1",
                "e": "e.parquet",
                "f": {"kind": "redis", "url": "env:FEATURES", "timeout_ms": 5},
                "g": {"kind": "memory"},
            }
        },
    ).features
    kinds = {name: store.kind for name, store in found.items()}
    assert kinds == {
        "a": "memory",
        "b": "sqlite",
        "c": "lmdb",
        "d": "redis",
        "e": "memory",
        "f": "redis",
        "g": "memory",
    }
    assert [getattr(found[name], "path", None) for name in "bce"] == [
        Path("b.db"),
        Path("sub/c.lmdb"),
        Path("e.parquet"),
    ]
    assert parse(Server, found_tree(found)).features == found


def found_tree(found: Stores) -> dict[str, object]:
    """What may be written down again; secrets stay as they are in memory."""
    return {"features": {name: store.model_dump() for name, store in found.items()}}


@pytest.mark.parametrize(
    "given",
    [
        "redi://:hush@host",
        "hush",
        {"kind": "redis", "url": ["redis://:hush@host"]},
        {"kind": "redis", "url": "redis://:hush@host", "timeout_ms": 0},
        {"kind": "redis", "url": "redis://:hush@host", "prefix": "a b"},
        {"kind": "redis", "ulr": "redis://:hush@host"},
        {"url": "redis://:hush@host"},
        {"kind": "memcached", "url": "redis://:hush@host"},
    ],
)
def test_what_is_refused_is_not_repeated(given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Server, {"features": {"users": given}}, where="serve.yaml")
    told = f"{caught.value} {caught.value!r} {caught.value.to_json()}"
    assert "features.users" in told
    assert "hush" not in told


def test_a_password_is_seen_nowhere() -> None:
    found = store_settings("redis://me:hush@host")
    assert isinstance(found, RedisStoreSettings)
    assert found.address().password == "hush"
    told = f"{found!r} {found} {found.model_dump_json()} {found.address()!r} {found.address()}"
    assert "hush" not in told


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATURES", raising=False)
    found = store_settings("env:FEATURES")
    assert isinstance(found, RedisStoreSettings)
    with pytest.raises(ConfigError, match="'FEATURES' is not set"):
        found.address()


def test_lmdb_needs_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    where = file_settings("lmdb", tmp_path / "a.lmdb")
    with pytest.raises(ConfigError, match=r"pip install 'polyrank\[lmdb\]'"):
        fill(where, {"items": (world.codec("items"), world.tables()["items"])})
