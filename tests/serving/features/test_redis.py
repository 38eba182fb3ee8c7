"""Redis: a real server, stopped and started, emptied and filled anew while in use."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis

from polyrank.errors import ArtefactError, ConfigError, StorageError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features import FeatureStore, Fetched, RedisStoreSettings, fill
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.resp import Address
from tests.serving.features import world
from tests.serving.features.redis_process import PASSWORD, RedisProcess, running
from tests.serving.features.stores import filled, opened, redis_settings


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisProcess]:
    """A server to be stopped."""
    with running(tmp_path) as found:
        yield found


def _settings(server: RedisProcess, **given: object) -> RedisStoreSettings:
    found = redis_settings(server.url, **given)
    assert isinstance(found, RedisStoreSettings)
    return found


def _client(server: RedisProcess) -> Any:
    """The usual client, as a second opinion."""
    return redis.Redis(port=server.port, password=PASSWORD, db=3)


def _ask(store: FeatureStore, ids: Any = (7, 1)) -> Fetched:
    return store.fetch(ids, Deadline.within(30))


def _until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < 20
        time.sleep(0.01)


def _items(by: float) -> dict[str, tuple[RowCodec, pa.Table]]:
    table = world.tables()["items"]
    place = table.column_names.index("item_quality")
    values = pa.array(np.full(table.num_rows, by))
    return {"items": (world.codec("items"), table.set_column(place, "item_quality", values))}


def test_stopped_and_started_again_while_in_use(
    own: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("polyrank.serving")
    monkeypatch.setattr(logger, "handlers", [handler])
    before = logger.level
    logger.setLevel(logging.INFO)
    settings = _settings(own, failures=2, cooldown_s=0.05, timeout_ms=1000)
    filled(settings)
    store = opened(settings, "items")
    faults: list[str] = []
    reasons: set[str | None] = set()
    done = threading.Event()
    wanted = world.expected("items", [7, 1])

    def read() -> None:
        while not done.is_set():
            start = time.monotonic()
            found = _ask(store)
            reasons.add(found.degraded)
            if found.degraded is None and not world.same(found.table, wanted):
                faults.append("not its rows")
            if found.degraded is not None and found.known_N.any():
                faults.append("known, and degraded")
            if time.monotonic() - start > 5.0:
                faults.append("late")
            time.sleep(0.005)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: _ask(store).degraded is None)
        own.stop()
        _until(lambda: store.describe()["breaker"] != "closed")
        own.start()  # without a row: that is no answer either
        _until(lambda: _ask(store).degraded == "wrong")
        filled(settings)
        _until(lambda: _ask(store).degraded is None)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        store.close()
        logger.setLevel(before)
    assert faults == []
    assert reasons >= {None, "open"}
    assert store.counts.degraded == store.counts.failures + store.counts.skipped
    lines = said.getvalue().splitlines()
    assert lines, "told once when it is left alone, once when it answers again, in turn"
    assert all("is left alone after failures" in line for line in lines[::2])
    assert set(lines[1::2]) == {"side table 'items': redis answers again"}
    assert len(lines) % 2 == 0


def test_a_restart_between_two_calls_is_not_noticed(own: RedisProcess) -> None:
    """What was idle is broken, which says nothing of the server that is there now."""
    settings = filled(_settings(own))
    store = opened(settings, "items")
    assert _ask(store).degraded is None
    own.stop()
    own.start()
    filled(settings)
    assert _ask(store).degraded is None
    assert store.counts.failures == 0
    store.close()


def test_a_server_that_is_not_there_yet(own: RedisProcess) -> None:
    own.stop()
    settings = _settings(own, failures=1, cooldown_s=0.05)
    store = opened(settings, "items")
    assert _ask(store).degraded == "down"
    with pytest.raises(StorageError, match="cannot fill side table 'users': no connection"):
        filled(settings)
    own.start()
    filled(settings)
    _until(lambda: _ask(store).degraded is None)
    store.close()
    assert _ask(store).degraded == "down"


def test_rows_that_are_gone_are_not_unknown_ids(redis_server: RedisProcess) -> None:
    settings = _settings(redis_server)
    filled(settings)
    store = opened(settings, "items")
    client = _client(redis_server)
    client.delete(*client.keys(settings.prefix.replace("*", "\\*") + "*"))
    assert _ask(store).degraded == "wrong"
    with pytest.raises(ArtefactError, match="holds no rows of side table 'items'"):
        opened(settings, "items")
    filled(settings)
    assert _ask(store).degraded is None
    store.close()


def test_filled_anew_while_in_use_nothing_is_mixed_and_nothing_old_stays(
    redis_server: RedisProcess,
) -> None:
    settings = _settings(redis_server)
    fill(settings, _items(0.0))
    store = opened(settings, "items")
    faults: list[str | None] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = _ask(store, world.ITEM_IDS)
            faults.extend([found.degraded] if found.degraded else [])
            faults.extend(
                ["mixed"] if len(set(found.table["item_quality"].to_pylist())) > 1 else []
            )

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for by in range(1, 8):
        fill(settings, _items(float(by)))
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    codec, table = _items(20.0)["items"]
    fill(settings, {"items": (codec, table.slice(0, 2))})
    found = _ask(store, world.ITEM_IDS)
    assert found.table["item_quality"].to_pylist() == [
        20.0,
        20.0,
        *[None] * (len(world.ITEM_IDS) - 2),
    ]
    names = _client(redis_server).keys(settings.prefix.replace("*", "\\*") + ":items*")
    assert len(names) == 2 + 2
    store.close()


def test_bundles_with_other_columns_have_rows_of_their_own(redis_server: RedisProcess) -> None:
    settings = _settings(redis_server)
    filled(settings)
    store = opened(settings, "items")
    other = pa.table({"item_id": [7], "new": [1.5]})
    fill(settings, {"items": (RowCodec("items", "item_id", other.schema), other)})
    assert world.same(_ask(store, [7]).table, world.expected("items", [7]))
    store.close()
    fresh = _settings(redis_server)
    fill(fresh, {"items": (RowCodec("items", "item_id", other.schema), other)})
    with pytest.raises(ArtefactError, match=r"127\.0\.0\.1:\d+/3: .* with other columns: lacks "):
        opened(fresh, "items")


@pytest.mark.parametrize("raw", [b"[]", b"no json", b"{}", b'{"generation":7}'])
def test_a_header_that_is_none(redis_server: RedisProcess, raw: bytes) -> None:
    settings = _settings(redis_server)
    filled(settings)
    store = opened(settings, "items")
    name = f"{settings.prefix}:items:{world.codec('items').fingerprint}"
    _client(redis_server).set(name, raw)
    assert _ask(store).degraded == "wrong"
    assert opened(settings, "items").fetch([7], Deadline.within(30)).degraded == "wrong"
    store.close()


def test_a_value_of_another_kind_is_wrong_or_unknown_never_a_row(
    redis_server: RedisProcess,
) -> None:
    settings = _settings(redis_server)
    filled(settings)
    store = opened(settings, "items")
    client = _client(redis_server)
    (seven,) = [name for name in client.scan_iter() if name.endswith(b":7") and _of(settings, name)]
    (ten,) = [name for name in client.scan_iter() if name.endswith(b":10") and _of(settings, name)]
    for value in (b"", b"x", client.get(ten)):
        client.set(seven, value)
        found = _ask(store, [10, 7])
        assert (found.degraded, found.table["item_quality"].null_count) == ("wrong", 2)
    store.close()


def _of(settings: RedisStoreSettings, name: bytes) -> bool:
    return name.startswith(settings.prefix.encode() + b":items:")


def test_a_small_pool_serves_many_threads(redis_server: RedisProcess) -> None:
    settings = filled(_settings(redis_server, connections=2))
    store = opened(settings, "items")
    before = len(_client(redis_server).client_list())
    reasons: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: reasons.extend(_ask(store).degraded for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(reasons) == {None}
    assert len(_client(redis_server).client_list()) <= before + 2
    store.close()
    _until(lambda: len(_client(redis_server).client_list()) < before + 1)


def test_a_socket_on_this_machine_and_an_address_from_the_environment(
    redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURES", f"unix://:open%20sesame%2F%40%3A@{redis_server.path}")
    found = redis_settings("env:FEATURES")
    store = opened(filled(found), "users")
    assert _ask(store, ["a"]).degraded is None
    store.close()
    monkeypatch.setenv("FEATURES", "unix:///no/such/socket")
    assert _ask(opened(found, "users"), ["a"]).degraded == "down"


def test_who_is_not_let_in_is_told_so_without_the_password(redis_server: RedisProcess) -> None:
    settings = redis_settings(f"redis://default:wr0ng@127.0.0.1:{redis_server.port}")
    store = opened(settings, "items")
    assert _ask(store).degraded == "down"
    with pytest.raises(StorageError, match="Redis: WRONGPASS") as caught:
        filled(settings)
    assert "wr0ng" not in f"{caught.value!r} {caught.value} {settings!r} {settings}"
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://:hush@host",
        "redis://:hush@host:port",
        "redis://:hush@host/three",
        "redis://:hush@host:99999999",
        "redis://:hush@ho..st",
        "redis://:hush@[::1",
        "redis://:hush@host?db=3",
        "redis://:hush@host/0#1",
        "unix://:hush@",
    ],
)
def test_an_address_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Address.parse(url)
    assert "hush" not in f"{caught.value!r} {caught.value.to_json()}"
    assert caught.value.__cause__ is None


def test_an_address_is_read_as_usual() -> None:
    found = Address.parse("rediss://me:p%40ss@cache.example:7000/2")
    assert found == Address(("cache.example", 7000), True, "me", "p@ss", 2)
    assert str(found) == "cache.example:7000/2"
    assert repr(found) == "Address(place=('cache.example', 7000), tls=True, database=2)"
    assert Address.parse("redis://") == Address(("localhost", 6379))
    assert str(Address.parse("unix:///run/a.socket")) == "unix:a.socket"
