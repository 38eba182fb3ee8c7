"""What a version can bring about, whatever is wrong with it, for all who go on after it."""

from __future__ import annotations

from polyrank.serving.errors import RequestError

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RequestError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""An ``EngineError`` is a ``RuntimeError``, a ``PolyrankError`` a ``ValueError``."""


def kind_of(error: BaseException) -> str:
    """How a failure is counted: what a runtime threw counts as that.

    >>> kind_of(KeyError("a"))
    'KeyError'
    """
    return type(error.__cause__ or error).__name__
