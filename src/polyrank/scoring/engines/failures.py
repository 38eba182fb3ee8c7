"""One error for whatever the runtimes of engines throw: each has kinds of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EngineError(RuntimeError):
    """What computes failed; its cause is what the runtime threw."""


@contextmanager
def engine_errors() -> Iterator[None]:
    """What is thrown within is an ``EngineError``; a ``MemoryError`` stays what it is.

    >>> with engine_errors():
    ...     [][0]
    Traceback (most recent call last):
    polyrank.scoring.engines.failures.EngineError: IndexError: list index out of range
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise EngineError(f"{type(error).__name__}: {error}") from error
