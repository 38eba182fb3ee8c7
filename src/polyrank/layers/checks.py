"""Checks of what a layer is built with; all raise ``ConfigError``."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.errors import ConfigError


def positive(name: str, value: int) -> int:
    """``value``, which must be at least 1."""
    if value < 1:
        raise ConfigError(f"`{name}` must be at least 1, got {value}")
    return value


def all_positive(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """``values``, each of which must be at least 1."""
    for place, value in enumerate(values):
        positive(f"{name}[{place}]", value)
    return tuple(values)


def share(name: str, value: float) -> float:
    """``value``, a share below one: in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"`{name}` must lie in [0, 1), got {value}")
    return value
