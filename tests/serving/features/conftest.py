"""One redis-server for the tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.features.redis_process import RedisProcess, running


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """For tests that leave it running; each has its own prefix."""
    home: Path = tmp_path_factory.mktemp("redis")
    with running(home) as found:
        yield found
