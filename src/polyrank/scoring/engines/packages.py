"""Which packages are there."""

from collections.abc import Sequence
from importlib.util import find_spec


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    return [name for name in names if find_spec(name) is None]
