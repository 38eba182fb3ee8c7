"""Whether the libraries of an extra are installed, and what to do where they are not.

>>> missing("json", "no_such_module")
['no_such_module']
>>> require("report", "json", "no_such_module", where="page")
Traceback (most recent call last):
polyrank.errors.ConfigError: page: needs no_such_module, which is not installed. Install the extra:\
 pip install 'polyrank[report]'.
"""

from __future__ import annotations

from importlib.util import find_spec

from polyrank.errors import ConfigError

LIBRARIES = {
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
    "vl_convert": "vl-convert-python",
}
"""What pip calls a module that has another name."""


def require(extra: str, *modules: str, where: str, otherwise: str = "") -> None:
    """Refuse to go on without modules of an extra; call it before work is lost.

    Args:
        extra: As pip is told.
        modules: Full names.
        where: The key, command or artefact that needs them.
        otherwise: What else would help.

    Raises:
        ConfigError: One of them is not installed.
    """
    lacking = missing(*modules)
    if lacking:
        libraries = " and ".join(LIBRARIES.get(module, module) for module in lacking)
        cure = f"install the extra: pip install 'polyrank[{extra}]'"
        raise ConfigError(
            f"needs {libraries}, which {'is' if len(lacking) == 1 else 'are'} not installed",
            where=where,
            hint=f"{cure}; {otherwise}" if otherwise else cure,
        )


def missing(*modules: str) -> list[str]:
    """Those that are not installed; none is imported but the packages that they are in."""
    return [module for module in modules if not _is_there(module)]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False
