"""Traces for coverage only what may still tell something: tracing doubles the time of a test.

Traced are the imports while tests are collected, and then each test with its fixtures, but

- none in the ``UNTRACED`` folders, whose tests run again what others cover;
- no further case of a test once ``ENOUGH`` in a row have reached nothing new;
- no more than the first ``EXAMPLES`` of hypothesis.

Without ``--cov`` nothing is done.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import coverage
import pytest

UNTRACED = {"contract", "crash", "e2e", "extension"}
ENOUGH = 2
EXAMPLES = 10


class Tracing:
    """Starts and stops the coverage of one process."""

    def __init__(self, cov: coverage.Coverage) -> None:
        self._cov = cov
        self._in_vain: Counter[str] = Counter()
        cov.stop()

    @contextmanager
    def over(self, item: pytest.Item) -> Iterator[None]:
        """Trace what happens within, if it may be new."""
        if self._is_known(item):
            yield
            return
        self._cov.start()
        try:
            yield
        finally:
            self._cov.stop()

    @contextmanager
    def over_call(self, item: pytest.Item) -> Iterator[None]:
        """As ``over``, and note whether anything was new."""
        before = self._reached()
        with self.over(item), self._first_examples(item):
            yield
        name = _name(item)
        self._in_vain[name] = self._in_vain[name] + 1 if self._reached() == before else 0

    @contextmanager
    def _first_examples(self, item: pytest.Item) -> Iterator[None]:
        handle = getattr(getattr(item, "obj", None), "hypothesis", None)
        if handle is None:
            yield
            return
        test = handle.inner_test
        handle.inner_test = self._first(EXAMPLES, test)
        try:
            yield
        finally:
            handle.inner_test = test

    def _first(self, count: int, test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count -= 1
            if count < 0:
                self._cov.stop()
            return test(*args, **kwargs)

        return run

    def _is_known(self, item: pytest.Item) -> bool:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return folder in UNTRACED or self._in_vain[_name(item)] >= ENOUGH

    def _reached(self) -> int:
        """How many branches until now."""
        collector = self._cov._collector
        assert collector is not None
        return sum(map(len, collector.data.values()))


def _name(item: pytest.Item) -> str:
    """Of the test whose case it is."""
    return item.nodeid.partition("[")[0]


_tracing: Tracing | None = None


def pytest_collection_finish() -> None:
    global _tracing
    cov = coverage.Coverage.current()
    _tracing = None if cov is None else Tracing(cov)


def _over(item: pytest.Item) -> AbstractContextManager[None]:
    return nullcontext() if _tracing is None else _tracing.over(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with nullcontext() if _tracing is None else _tracing.over_call(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)
