"""Fixtures of the storage tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory where there is one: thousands of states are made and removed there."""
    home = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="polyrank-test-", dir=home) as name:
        yield Path(name)
