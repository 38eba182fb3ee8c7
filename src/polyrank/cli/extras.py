"""Verbs that need an extra say so before anything else."""

from importlib.util import find_spec

from polyrank.errors import ConfigError


def require(extra: str, *modules: str) -> None:
    """Refuse where an extra is not installed.

    Raises:
        ConfigError: A module of it is missing.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not installed", hint=f"pip install 'polyrank[{extra}]'")
