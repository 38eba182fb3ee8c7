"""One error for whatever the runtimes of engines throw: each has kinds of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyrank.errors import PolyrankError


class EngineError(RuntimeError):
    """What computes failed; its cause is what the runtime threw."""


@contextmanager
def engine_errors() -> Iterator[None]:
    """Whatever is thrown within is an ``EngineError``, also by runtimes whose panics derive from
    ``BaseException`` alone; too little memory, our own refusals and Ctrl-C stay what they are.

    >>> with engine_errors():
    ...     [][0]
    Traceback (most recent call last):
    polyrank.scoring.engines.failures.EngineError: IndexError: list index out of range
    """
    try:
        yield
    except (MemoryError, EngineError, PolyrankError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise EngineError(f"{type(error).__name__}: {error}") from error
