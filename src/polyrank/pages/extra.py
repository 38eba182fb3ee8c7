"""The libraries that pages with figures need: the extra ``report``."""

from __future__ import annotations

from polyrank.installed import require


def require_report() -> None:
    """Refuses to go on without the libraries of the extra; call it before work goes into a page.

    Raises:
        ConfigError: One of them is not installed.
    """
    require("report", "altair", "vl_convert", where="page")
