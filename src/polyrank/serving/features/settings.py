"""Where features by id come from: a store for each side table.

>>> store = store_settings({"kind": "redis", "url": "redis://:secret@cache", "timeout_ms": 5})
>>> store.kind, store.timeout_ms, store.url
('redis', 5.0, SecretStr('**********'))
>>> store_settings("items.sqlite").kind
'sqlite'
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr

from polyrank.errors import ConfigError
from polyrank.schema import parse
from polyrank.schema.model import Declared, Name
from polyrank.serving.features.resp import SCHEMES, Address

_ENVIRONMENT = "env:"
_SUFFIXES = {
    ".sqlite": "sqlite",
    ".db": "sqlite",
    ".lmdb": "lmdb",
    ".parquet": "memory",
}


def _unseen(given: object) -> object:
    """Refuse what is no text without repeating it."""
    if not isinstance(given, str | SecretStr):
        raise ValueError("must be text")
    return given


class MemoryStoreSettings(Declared):
    """The bundle's own side table, or a file instead, in memory."""

    kind: Literal["memory"] = "memory"
    path: Path | None = None
    """Parquet, CSV or Arrow, as ``--table``; null: the bundle's table."""


class _Guarded(Declared):
    """A store that may be slow or down."""

    timeout_ms: PositiveFloat = 20.0
    """Milliseconds a call may take; then its rows are null and the answer is marked."""
    failures: PositiveInt = 5
    """Failed calls in a row after which the store is left alone."""
    cooldown_s: PositiveFloat = 1.0
    """Seconds it is left alone; then one call tries it again."""


class SqliteStoreSettings(_Guarded):
    """A SQLite file, filled by ``polyrank features load``."""

    kind: Literal["sqlite"]
    path: Path


class LmdbStoreSettings(_Guarded):
    """An LMDB file, filled by ``polyrank features load``."""

    kind: Literal["lmdb"]
    path: Path


class RedisStoreSettings(_Guarded):
    """A Redis server, filled by ``polyrank features load``; with ``maxmemory-policy noeviction``,
    or rows that it drops are unknown ids."""

    kind: Literal["redis"]
    url: Annotated[SecretStr, BeforeValidator(_unseen)]
    """``redis[s]://[user:password@]host[:port][/database]``, ``unix:///path``, or ``env:NAME``: the
    environment variable that holds it."""
    prefix: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")] = (
        "polyrank"
    )
    """Before every key."""
    connect_ms: PositiveFloat = 1000.0
    """Milliseconds in which a connection is made, beside the requests."""
    connections: PositiveInt = 16
    """At once, at most."""

    def address(self) -> Address:
        """Where the server is.

        Raises:
            ConfigError: ``url`` is no address, or names a variable that is not set.
        """
        url = self.url.get_secret_value()
        if not url.startswith(_ENVIRONMENT):
            return Address.parse(url)
        name = url.removeprefix(_ENVIRONMENT)
        value = os.environ.get(name)
        if not value:
            raise ConfigError(f"the environment variable {name!r} is not set", hint="Set it.")
        return Address.parse(value)


def _spelled_out(given: object) -> object:
    """The settings that a word stands for; what it is is not told, for it may hold a password."""
    if not isinstance(given, str):
        return given
    if given == "memory":
        return {"kind": "memory"}
    if given.partition("://")[0] in SCHEMES or given.startswith(_ENVIRONMENT):
        return {"kind": "redis", "url": given}
    kind = _SUFFIXES.get(Path(given).suffix)
    if kind is None:
        raise ValueError(
            "must be `memory`, a file that ends in .sqlite, .lmdb or .parquet, redis://host, or "
            "env:NAME"
        )
    return {"kind": kind, "path": given}


StoreSettings = Annotated[
    Annotated[
        MemoryStoreSettings | SqliteStoreSettings | LmdbStoreSettings | RedisStoreSettings,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_spelled_out),
]
"""A mapping with a ``kind``, or a word: ``memory``, a file by its ending, or an address."""


Stores = dict[Name, StoreSettings]
"""By side table; those not named are in memory, as the bundle has them."""


class _Wanted(Declared):
    store: StoreSettings


def store_settings(given: object, *, where: str = "") -> StoreSettings:
    """The settings that a mapping or a word stands for.

    Args:
        given: As ``StoreSettings``.
        where: What it was given as, for messages.

    Raises:
        ConfigError: It stands for none.
    """
    return parse(_Wanted, {"store": given}, where=where).store
