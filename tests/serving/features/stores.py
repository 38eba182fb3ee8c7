"""Every kind of store, filled with the tables of ``world``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from polyrank.serving.features import FeatureStore, StoreSettings, fill, open_store, store_settings
from tests.serving.features import world
from tests.serving.features.redis_process import RedisProcess

Make = Callable[[pytest.FixtureRequest, Path], StoreSettings]


def _memory(request: pytest.FixtureRequest, home: Path) -> StoreSettings:
    return store_settings("memory")


def _sqlite(request: pytest.FixtureRequest, home: Path) -> StoreSettings:
    return filled(file_settings("sqlite", home / "features of all.sqlite"))


def _lmdb(request: pytest.FixtureRequest, home: Path) -> StoreSettings:
    return filled(file_settings("lmdb", home / "features.lmdb"))


def _redis(request: pytest.FixtureRequest, home: Path) -> StoreSettings:
    server: RedisProcess = request.getfixturevalue("redis_server")
    return filled(redis_settings(server.url))


MAKERS: dict[str, Make] = {"memory": _memory, "sqlite": _sqlite, "lmdb": _lmdb, "redis": _redis}
"""By kind."""


def file_settings(kind: str, path: Path, **given: object) -> StoreSettings:
    """With time enough for a busy machine."""
    return store_settings({"kind": kind, "path": path, "timeout_ms": 5000, **given})


def redis_settings(url: str, **given: object) -> StoreSettings:
    """With a prefix that nobody else has, and time enough for a busy machine."""
    defaults = {"kind": "redis", "prefix": f"test*{secrets.token_hex(4)}", "timeout_ms": 5000}
    return store_settings({**defaults, "url": url, **given})


def filled(settings: StoreSettings) -> StoreSettings:
    """The same, once all tables are in it."""
    fill(settings, {name: (world.codec(name), table) for name, table in world.tables().items()})
    return settings


def opened(settings: StoreSettings, name: str) -> FeatureStore:
    """The store of one of the tables."""
    schema = world.schema()
    side = next(side for side in schema.tables if side.name == name)
    return open_store(settings, side, schema, world.tables()[name])
