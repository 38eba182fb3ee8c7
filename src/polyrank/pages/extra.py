"""The libraries that pages with figures need: the extra ``report``."""

from __future__ import annotations

from importlib.util import find_spec

from polyrank.errors import ConfigError

_LIBRARIES = {"altair": "altair", "vl_convert": "vl-convert-python"}


def require_report() -> None:
    """Refuses to go on without the libraries of the extra; call it before work goes into a page.

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for module, name in _LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"needs {' and '.join(missing)}, which is not installed",
            where="page",
            hint="install the extra: pip install 'polyrank[report]'",
        )
