"""A store that is slow, down, wrong, cut short or flapping: in time, marked, and over again.

What is asked of the breaker is asked of its own tests; here it is off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from polyrank.serving.deadline import Deadline
from polyrank.serving.features import FeatureStore, fill
from tests.serving.features import world
from tests.serving.features.redis_process import RedisProcess
from tests.serving.features.stores import filled, opened, redis_settings
from tests.serving.features.toxic import Toxic, ToxicProxy, proxied

TIMEOUT_S = 0.15
LATE_S = 1.0
"""By so much a call may be late: the machine is shared."""
LIMITS = {"timeout_ms": 1000 * TIMEOUT_S, "connect_ms": 200, "failures": 10**9}


@dataclass
class Behind:
    proxy: ToxicProxy
    store: FeatureStore


@pytest.fixture
def behind(redis_server: RedisProcess) -> Iterator[Behind]:
    """A store behind a proxy, its rows put in directly."""
    with proxied(redis_server.port) as proxy:
        settings = redis_settings(redis_server.url)
        filled(settings)
        url = redis_server.url.replace(str(redis_server.port), str(proxy.port))
        prefix = settings.model_dump()["prefix"]
        toxic = redis_settings(url, prefix=prefix, **LIMITS)
        store = opened(toxic, "items")
        yield Behind(proxy, store)
        store.close()


def _answers(store: FeatureStore) -> tuple[str | None, float]:
    """Why it was degraded, and the seconds that took."""
    start = time.monotonic()
    found = store.fetch(world.ITEM_IDS, Deadline.within(60))
    seconds = time.monotonic() - start
    if found.degraded is None:
        assert world.same(found.table, world.expected("items", world.ITEM_IDS))
        assert found.known_N.all()
    else:
        assert found.table.equals(world.codec("items").nothing(len(world.ITEM_IDS)))
        assert not found.known_N.any()
    return found.degraded, seconds


@pytest.mark.parametrize(
    ("toxic", "reasons"),
    [
        ("latency", {"timeout"}),
        ("blackhole", {"timeout"}),
        ("trickle", {"timeout"}),
        ("reset", {"down"}),
        ("half", {"down"}),
        ("garbage", {"wrong", "down"}),
        ("refuse", {"down"}),
    ],
)
def test_in_time_marked_and_over_again(behind: Behind, toxic: Toxic, reasons: set[str]) -> None:
    _recovers(behind.store)
    behind.proxy.toxic = toxic
    if toxic == "refuse":
        behind.proxy.hang_up()
    found = [_answers(behind.store) for _ in range(3)]
    assert {reason for reason, _ in found} <= reasons
    assert max(seconds for _, seconds in found) < TIMEOUT_S + LATE_S
    behind.proxy.toxic = "none"
    _recovers(behind.store)


def _recovers(store: FeatureStore) -> None:
    start = time.monotonic()
    while _answers(store)[0] is not None:
        assert time.monotonic() - start < 10


def test_flapping_under_many_threads(behind: Behind) -> None:
    """No answer of one call is ever taken for that of another."""
    faults: list[str] = []
    done = threading.Event()

    def read(place: int) -> None:
        ids = world.ITEM_IDS[place:] + world.ITEM_IDS[:place]
        wanted = world.expected("items", ids)
        while not done.is_set():
            start = time.monotonic()
            found = behind.store.fetch(ids, Deadline.within(60))
            if found.degraded is None and not world.same(found.table, wanted):
                faults.append("not its rows")
            if time.monotonic() - start > TIMEOUT_S + LATE_S:
                faults.append("late")

    threads = [threading.Thread(target=read, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for toxic in ("reset", "none", "latency", "none", "half", "garbage", "blackhole", "trickle"):
        behind.proxy.toxic = toxic
        time.sleep(0.06)
    behind.proxy.toxic = "none"
    done.set()
    for thread in threads:
        thread.join()
    _recovers(behind.store)
    assert faults == []
    assert behind.store.counts.timeouts > 0
    assert behind.store.counts.failures > 0


def test_the_breaker_spares_a_request_the_wait(redis_server: RedisProcess) -> None:
    with proxied(redis_server.port) as proxy:
        url = redis_server.url.replace(str(redis_server.port), str(proxy.port))
        settings = redis_settings(url, timeout_ms=150, failures=2, cooldown_s=0.6)
        fill(settings, {"items": (world.codec("items"), world.tables()["items"])})
        store = opened(settings, "items")
        _recovers(store)
        proxy.toxic = "blackhole"
        assert [_answers(store)[0] for _ in range(2)] == ["timeout", "timeout"]
        assert _answers(store)[0] == "open"
        time.sleep(0.6)
        assert _answers(store)[0] == "timeout"
        assert _answers(store)[0] == "open"
        proxy.toxic = "none"
        _recovers(store)
        assert store.describe()["breaker"] == "closed"
        assert store.counts.skipped >= 2
        store.close()


def test_a_request_short_of_time_blames_no_store(redis_server: RedisProcess) -> None:
    with proxied(redis_server.port) as proxy:
        url = redis_server.url.replace(str(redis_server.port), str(proxy.port))
        store = opened(filled(redis_settings(url, timeout_ms=300, failures=1)), "items")
        assert _answers(store)[0] is None
        proxy.toxic = "latency"
        for _ in range(2):
            assert store.fetch([7], Deadline.within(0.03)).degraded in ("timeout", "deadline")
            assert store.describe()["breaker"] == "closed"
        assert store.fetch([7], Deadline.within(60)).degraded == "timeout"
        assert store.describe()["breaker"] == "open"
        store.close()
