"""Traces servers that outlive a test for each further one, as their first test was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator

import pytest

from tests.serving.http.app import RUNNING


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    for world in RUNNING:
        assert world.loop is not None
        world.loop.call_soon_threadsafe(sys.settrace, threading.gettrace())
    return (yield)
