"""Whole servers under many bad requests, slow connections, bad bundles and reloads."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from polyrank.bundle import save_bundle
from tests import feeds
from tests.child import Child
from tests.serving.faults.process import JSON, OPERATOR, Home, Process
from tests.serving.http.wire import Wire, ask, eventually, request
from tests.serving.models import worlds
from tests.serving.models.test_bad_bundles import KINDS
from tests.serving.protocol import reference
from tests.serving.protocol.test_fuzz import damaged
from tests.serving.server import running

RANK = {"candidates": feeds.bare_log()["item_id"].slice(0, 5).to_pylist()}
BODY = json.dumps(RANK).encode()
GOOD = request("POST", "/v1/rank", BODY, **JSON)
MIB = 2**20
AT_ONCE = 16


def seeds() -> list[tuple[str, bytes, int | None]]:
    """Good requests: where to, the body, and how much of it is JSON where bytes follow."""
    item, text = (
        {"name": "item_id", "datatype": "INT64", "shape": [2], "data": [3, 4]},
        {"name": "item_category", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
    )
    found: list[tuple[str, bytes, int | None]] = [("/v1/rank", BODY, None)]
    full = {"user": {"id": 3, "features": {"user_country": "x"}}, "context": {"hour": 3}}
    more = {**RANK, **full, "top_k": 2, "explain": True}
    found.append(("/v1/rank", json.dumps(more).encode(), None))
    for binary in (set[str](), {"item_id"}, {"item_id", "item_category"}):
        body, length = reference.request([item, text], binary)
        found.append(("/v2/models/feed/infer", body, None if length is None else int(length)))
    return found


def bad(rng: random.Random, right: list[tuple[str, bytes, int | None]]) -> bytes:
    target, body, length = rng.choice(right)
    harmed = damaged(rng, body)
    headers = dict(JSON)
    if length is not None:
        length += rng.choice((0, len(harmed) - len(body), rng.randrange(-9, 9)))
        headers = {"inference_header_content_length": str(length)}
    return request("POST", target, harmed, **headers)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [320, pytest.param(90_000, marks=pytest.mark.nightly)])
def test_damaged_bodies_are_answered_and_take_no_memory(
    home: Home, bundle: Path, number: int
) -> None:
    """T17, E1 to E6: never a 5xx, never a second without an answer, never 16 MiB more."""
    rng, right = random.Random(number), seeds()
    counts: dict[int, int] = {}
    with home.serving({"feed": bundle}) as process, Wire(process.port) as wire:
        memory = psutil.Process(process.pid).memory_info
        before = 0
        for done in range(0, number, AT_ONCE):
            sent = [bad(rng, right) for _ in range(AT_ONCE)]
            wire.send(b"".join(sent))
            for each in sent:
                reply = wire.reply()
                assert reply.status < 500, (reply, each)
                assert reply.status == 200 or reply.error
                counts[reply.status] = counts.get(reply.status, 0) + 1
            if done < number // 4:
                before = memory().rss
        growth = (memory().rss - before) / MIB
        wire.send(GOOD)
        assert wire.reply().status == 200
    assert home.exit == 0
    assert counts[200] > number / 100
    assert counts[400] > number / 4
    assert growth <= 16, growth


def seconds(wire: Wire, sent: bytes = GOOD) -> float:
    """What a good request took."""
    began = time.monotonic()
    wire.send(sent)
    assert wire.reply().status == 200
    return time.monotonic() - began


def p99(took: list[float]) -> float:
    return float(np.quantile(took, 0.99))


CLOCKS = (
    "idle_seconds",
    "header_seconds",
    "body_seconds",
    "write_seconds",
    "default_deadline_seconds",
    "max_deadline_seconds",
)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_500_slow_connections_cost_nobody_else_anything(home: Home, bundle: Path) -> None:
    """T18: p99 beside them over p99 of a server without any, asked in turns: whatever else the
    machine does meets both alike."""
    beside, alone = list[float](), list[float]()
    patient = dict.fromkeys(CLOCKS, 900.0)
    with home.serving({"feed": bundle}, limits=patient) as free, Wire(free.port) as there:
        with (
            home.serving({"feed": bundle}, limits=patient) as held,
            Wire(held.port) as here,
            slow_ones(held, 500),
        ):
            for _ in range(2_200):
                beside.append(seconds(here))
                alone.append(seconds(there))
        assert home.exit == 0
    assert home.exit == 0
    ratio = p99(beside[200:]) / p99(alone[200:])
    assert ratio <= 1.5, (p99(beside[200:]), p99(alone[200:]))


@contextlib.contextmanager
def slow_ones(process: Process, number: int) -> Iterator[None]:
    """Connections of which the server keeps every one."""
    opened = psutil.Process(process.pid)
    with Child("tests.serving.faults.slow", str(process.port), str(number)) as clients:
        connected = clients.hear()["connected"]
        assert connected > number - 3
        eventually(lambda: all_is_answered(process.port), 120.0)
        yield
        assert opened.num_fds() > connected
        assert clients.ask({}) == {"cut": 0}
    eventually(lambda: opened.num_fds() < number / 2, 60.0)


def all_is_answered(port: int) -> bool:
    """Whether who reads nothing is owed nothing more: the loop has gone round between two looks,
    and answered no one."""
    before = num_answered(port)
    time.sleep(0.5)
    return 0 < before == num_answered(port)


def num_answered(port: int) -> float:
    told = ask(port, request("GET", "/metrics")).body.decode()
    return sum(
        float(each) for each in re.findall(r'route="/console/app.js",status="200"} (.*)', told)
    )


TEN = (
    "missing file",
    "truncated",
    "pipe",
    "link",
    "NaN weight",
    "swapped heads",
    "huge shape",
    "pickle",
    "value model of no task",
    "lost task",
)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_ten_kinds_of_bad_bundles_40_times_each_cost_no_request(tmp_path: Path) -> None:
    """T11, F3: refused with the reason, while every request is answered as before."""
    plain = worlds.save(worlds.bundle(), tmp_path / "plain")
    pointer, target, fresh = tmp_path / "live", tmp_path / "bad", tmp_path / "fresh"
    pointer.symlink_to(plain)
    over, wrong, answered = threading.Event(), list[Any](), [0]
    asked = {"candidates": [{"id": 1, "features": {"age": 3.0, "tag": "t1"}}]}

    def point(where: Path) -> None:
        fresh.symlink_to(where)
        fresh.rename(pointer)

    with running({"m": pointer}, watch_seconds=3600) as server:
        before = server.rank(asked)["candidates"]

        def ask() -> None:
            while not over.is_set():
                answer = server.client.post("/v1/rank", json=asked)
                answered[0] += 1
                if answer.status_code != 200 or answer.json()["candidates"] != before:
                    wrong.append(answer.text)

        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(40):
            for kind in TEN:
                make, reason = KINDS[kind]
                make(plain, target)
                point(target)
                [told] = server.change("POST", "/v1/models/m/reload")["refused"].values()
                assert reason in told
                point(plain)
                shutil.rmtree(target)
                (tmp_path / "aside").unlink(missing_ok=True)
        over.set()
        thread.join()
    assert wrong == []
    assert answered[0] > 400


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_reload_does_not_slow_requests_down(home: Home, tmp_path: Path) -> None:
    """T10: p99 in windows with a reload over p99 in the windows between them."""
    pointer, fresh = tmp_path / "feed", tmp_path / "fresh"
    versions = [tmp_path / "first", tmp_path / "second"]
    for joined, path in enumerate(versions):
        save_bundle(feeds.bundle(joined=bool(joined)), path)
    pointer.symlink_to(versions[0])
    asked = {"candidates": [{"id": place, "features": {}} for place in range(20)]}
    sent = request("POST", "/v1/rank", json.dumps(asked).encode(), **JSON)
    windows: dict[bool, list[float]] = {False: [], True: []}
    told = list[Any]()
    with home.serving({"feed": pointer}) as process, Wire(process.port) as wire:

        def reload() -> None:
            told.append(process.ask("POST", "/v1/models/feed/reload", {}, **OPERATOR))

        reload()  # which starts the process that tries bundles
        for turn in range(1, 21):
            for reloads in (False, True):
                thread = threading.Thread(target=reload)
                if reloads:
                    fresh.symlink_to(versions[turn % 2])
                    fresh.rename(pointer)
                    thread.start()
                for _ in range(100):
                    windows[reloads].append(seconds(wire, sent))
                    time.sleep(0.01)
                if reloads:
                    thread.join()
    assert [(status, len(answer["admitted"])) for status, answer in told[1:]] == [(200, 1)] * 20
    ratio = p99(windows[True]) / p99(windows[False])
    assert ratio <= 1.5, (p99(windows[True]), p99(windows[False]))
