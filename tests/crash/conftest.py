"""A fork server: torch is imported once, each child trains, is killed, and is compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.server import ForkServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Children share its encoded log; none of its own threads or torch operations ran before."""
    with ForkServer(tmp_path_factory.mktemp("crash")) as running:
        yield running
