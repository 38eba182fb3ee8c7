"""A whole server whose process lacks something, or is told to go: with real bounds and signals."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polyrank.bundle import save_bundle
from tests import feeds
from tests.serving.faults.process import JSON, OPERATOR, Home, Process
from tests.serving.http.wire import Wire, ask, eventually, request

RANK = {"candidates": feeds.bare_log()["item_id"].slice(0, 5).to_pylist()}
BODY = json.dumps(RANK).encode()


def served(process: Process) -> Any:
    status, answer = process.ask("POST", "/v1/rank", RANK)
    assert status == 200
    return answer["candidates"]


def closed_or_busy(port: int) -> bool:
    """Whether a further client is turned away: told so, or hung up on, and never left waiting."""
    try:
        return ask(port, request("POST", "/v1/rank", BODY, **JSON)).status == 503
    except (EOFError, ConnectionError):
        return True


@pytest.mark.nightly
def test_without_files_clients_are_turned_away_and_it_recovers(home: Home, bundle: Path) -> None:
    """F13: ``ulimit -n 64``."""
    with home.serving({"feed": bundle}, {"NOFILE": 64}) as process:
        before = served(process)
        with contextlib.ExitStack() as held:
            wires = [held.enter_context(Wire(process.port)) for _ in range(100)]
            told = [closed_or_busy(process.port) for _ in range(3)]
            assert all(told)
            assert len(wires) == 100
        eventually(lambda: not closed_or_busy(process.port))
        assert served(process) == before
    assert home.exit == 0


def test_a_disk_without_room_costs_the_log_and_no_answer(
    home: Home, bundle: Path, tmp_path: Path
) -> None:
    """F12: no file may be larger than 4 KiB, so no part of the log can be written."""
    log = {
        "folder": str(tmp_path / "log"),
        "file_bytes": 1,
        "file_seconds": 0.05,
        "features": "all",
    }
    with home.serving({"feed": bundle}, {"FSIZE": 4096}, predictions=log) as process:
        before = served(process)
        for _ in range(5):
            assert served(process) == before
        eventually(lambda: lost(process) > 0)
    assert home.exit == 0
    assert list((tmp_path / "log").rglob("*.parquet")) == []


def lost(process: Process) -> float:
    text = ask(process.port, request("GET", "/metrics")).body.decode()
    mark = 'polyrank_prediction_log_total{event="lost"} '
    [line] = [line for line in text.splitlines() if line.startswith(mark)]
    return float(line.removeprefix(mark))


class Crowd:
    """Clients that rank one request after the other until they are sent away."""

    def __init__(self, port: int, turn: int, number: int) -> None:
        self.port = port
        self.answered: set[str] = set()
        self.unanswered: set[str] = set()
        self.wrong: list[Any] = []
        self._threads = [threading.Thread(target=self._ask, args=(turn, i)) for i in range(number)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self, turn: int, number: int) -> None:
        serial = 0
        with contextlib.suppress(ConnectionError):
            while True:
                with Wire(self.port) as wire:
                    kept = True
                    while kept:
                        serial += 1
                        kept = self._one(wire, f"{turn}-{number}-{serial}")

    def _one(self, wire: Wire, label: str) -> bool:
        try:
            wire.send(request("POST", "/v1/rank", BODY, **JSON, x_request_id=label))
            reply = wire.reply()
        except (ConnectionError, EOFError):
            self.unanswered.add(label)
            return False
        if reply.status != 200 or len(reply.json()["candidates"]) != len(RANK["candidates"]):
            self.wrong.append((reply.status, reply.body))
        self.answered.add(label)
        return reply.headers.get("connection") != "close"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.nightly)])
def test_sigterm_under_load_loses_no_ranking_and_no_row_of_the_log(
    home: Home, bundle: Path, tmp_path: Path, rounds: int
) -> None:
    """F9, T16, of the whole server; ``http/test_leaving.py`` has five rounds of its guard."""
    unanswered: set[str] = set()
    for turn in range(rounds):
        log = {"folder": str(tmp_path / str(turn))}
        with home.serving({"feed": bundle}, predictions=log) as process:
            crowd = Crowd(process.port, turn, number=4)
            eventually(lambda crowd=crowd: len(crowd.answered) > 8)  # type: ignore[misc]
            process.leave()
            asked = time.monotonic()
            crowd.join()
        assert home.exit == 0
        assert time.monotonic() - asked < 15.0
        assert crowd.wrong == []
        logged = set(pq.read_table(tmp_path / str(turn))["served_request"].to_pylist())
        assert logged >= crowd.answered
        unanswered |= crowd.unanswered
    lines = [line for line in home.said().splitlines() if line.startswith("{")]
    seen = {json.loads(line)["request_id"] for line in lines}
    assert unanswered & seen == set()


@pytest.mark.nightly
def test_reloads_one_over_the_other_and_while_it_leaves(home: Home, tmp_path: Path) -> None:
    """F4: it is done or told that another one is under way, and what was published last stays."""
    path = tmp_path / "feed"
    save_bundle(feeds.bundle(), path)
    with home.serving({"feed": path}) as process:
        told: list[int] = []

        def reload() -> None:
            told.append(process.ask("POST", "/v1/models/feed/reload", {}, **OPERATOR)[0])

        threads = [threading.Thread(target=reload) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 200 in told
        assert set(told) <= {200, 409}
        last = save_bundle(feeds.bundle(joined=True), path, replace=True)
        assert process.ask("POST", "/v1/models/feed/reload", {}, **OPERATOR)[1]["refused"] == {}
        _, models = process.ask("GET", "/v1/models")
        assert models["feed"]["serving"] == last[:12]
        save_bundle(feeds.bundle(), path, replace=True)
        leaving = threading.Thread(target=reload)
        leaving.start()
        status = "/v1/models/feed/status"
        eventually(lambda: process.ask("GET", status, **OPERATOR)[1]["reloading"])
        process.leave()
        asked = time.monotonic()
        leaving.join()
    assert time.monotonic() - asked < 15.0
    assert (told[-1], home.exit) in ((200, 0), (503, 1))


def test_a_pass_that_hangs_does_not_keep_the_process(home: Home, bundle: Path) -> None:
    """F9: its request is cut and told so, and the process ends."""
    limits = {"drain_seconds": 0.3}
    with (
        home.serving({"feed": bundle}, stuck=True, limits=limits) as process,
        Wire(process.port) as wire,
    ):
        wire.send(request("POST", "/v1/rank", BODY, **JSON))
        time.sleep(0.2)
        process.leave()
        asked = time.monotonic()
        assert wire.reply().status == 503
    assert home.exit == 1
    assert time.monotonic() - asked < 10.0


STUCK = """
import sys, time
from polyrank.cli import main
from polyrank.serving.service import Service
def rank(*_):
    print("at work", flush=True)
    time.sleep(3600)
Service.rank = rank
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.nightly
def test_nor_does_it_keep_the_command(bundle: Path, tmp_path: Path) -> None:
    settings = tmp_path / "serve.yaml"
    settings.write_text("limits: {grace_seconds: 0, drain_seconds: 0.3}\n")
    words = ["serve", f"feed={bundle}", "--port", "0", "--settings", str(settings)]
    command = [sys.executable, "-c", STUCK, *words]
    with (
        (tmp_path / "errors").open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with Wire(port) as wire:
            wire.send(request("POST", "/v1/rank", BODY, **JSON))
            assert process.stdout.readline() == "at work\n"
            process.send_signal(signal.SIGTERM)
            assert wire.reply().status == 503
        assert process.wait(timeout=15) == 1


@pytest.mark.nightly
def test_a_collector_that_is_down_delays_no_answer_and_no_end(home: Home, bundle: Path) -> None:
    """F12."""
    with home.serving({"feed": bundle}, otlp="http://127.0.0.1:9/v1/traces") as process:
        before = served(process)
        began = time.monotonic()
        assert all(served(process) == before for _ in range(20))
        assert time.monotonic() - began < 10.0
        process.leave()
        asked = time.monotonic()
    assert home.exit == 0
    assert time.monotonic() - asked < 15.0
