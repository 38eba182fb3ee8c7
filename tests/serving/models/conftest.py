"""One process that tries bundles, for all tests of the room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyrank.serving.models import GateProcess
from tests.serving.models import worlds


@pytest.fixture(scope="session")
def process() -> Iterator[GateProcess]:
    """Warm once."""
    found = GateProcess()
    found.start()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a power cut is tested where it is written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle of binary and duration tasks; copy it to change it."""
    return worlds.save(worlds.bundle(), tmp_path_factory.mktemp("plain") / "bundle")
