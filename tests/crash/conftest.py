"""A fork server for the tests that kill trainers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.forkserver import ForkServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """One for all tests; the runs are in folders of their own."""
    with ForkServer(tmp_path_factory.mktemp("crash")) as running:
        yield running
