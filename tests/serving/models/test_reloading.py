"""Reloads while requests are answered: none fails, none is mixed, none is stale after its ack."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyrank.bundle import save_bundle
from polyrank.serving.models import Catalog, GateProcess
from tests.serving.models import worlds

CANDIDATES = worlds.rows(6)
THIRDS = len(worlds.LEVELS.task_names)


class Readers:
    """Threads that take and answer all the while; version k must answer 3 k k to everything."""

    def __init__(self, catalog: Catalog, known: dict[str, int], count: int = 2) -> None:
        self.catalog, self.known = catalog, known
        self.acked = 0
        self.answers, self.faults = 0, list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        while not self._stop.wait(0.1):
            acked = self.acked
            served = self.catalog.take("m")
            scored = served.scorer.rank(CANDIDATES)["score"].to_numpy()
            k = self.known.get(served.content)
            self.answers += 1
            if k is None or not np.array_equal(scored, np.full(len(scored), float(THIRDS * k * k))):
                self.faults.append(f"{served.content[:8]}: {scored}, not of {k}")
            elif k < acked:
                self.faults.append(f"{k} answered after {acked} was acknowledged")


def reload_often(path: Path, place: Callable[[int], str], process: GateProcess, count: int) -> int:
    """Publish and acknowledge ``count`` versions under load; how many answers there were."""
    known = {place(1): 1}
    catalog = Catalog({"m": path}, settings=worlds.AT_ONCE, process=process)
    with catalog, Readers(catalog, known) as readers:
        for k in range(2, count + 2):
            content = place(k)
            known[content] = k
            reloaded = catalog.reload("m")
            assert reloaded.refused == {}
            readers.acked = k
            assert catalog.take("m").content == content
    assert readers.faults == []
    return readers.answers


def in_place(path: Path) -> Callable[[int], str]:
    """A bundle that is replaced by a rename."""

    def place(k: int) -> str:
        return save_bundle(worlds.level(k), path, replace=True)

    return place


def test_no_request_fails_or_mixes_or_is_stale(tmp_path: Path, process: GateProcess) -> None:
    path = tmp_path / "bundle"
    assert reload_often(path, in_place(path), process, 20) > 20


@pytest.mark.nightly
def test_nor_in_many_reloads(tmp_path: Path, process: GateProcess) -> None:
    path = tmp_path / "bundle"
    assert reload_often(path, in_place(path), process, 200) > 200
