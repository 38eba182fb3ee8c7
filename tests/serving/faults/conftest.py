"""One process that forks servers, and a bundle, for all tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyrank.bundle import save_bundle
from polyrank.serving.models import GateProcess
from tests import feeds
from tests.serving.faults.process import Home, idle


@pytest.fixture(scope="module", autouse=True)
def without_a_gate_that_nobody_asks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GateProcess, "start", idle)
        yield


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    with Home() as found:
        yield found


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "feed"
    save_bundle(feeds.bundle(joined=True), path)
    return path
