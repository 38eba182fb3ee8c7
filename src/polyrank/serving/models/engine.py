"""Which function makes a bundle's engine, told so that another process can call it, too.

>>> reference_of(eager)
{'function': 'polyrank.serving.models.engine:eager', 'options': {}}
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from polyrank.bundle import Bundle
from polyrank.errors import ConfigError
from polyrank.scoring import Engine, TorchEngine
from polyrank.storage import jsonio

EngineOf: TypeAlias = Callable[[Bundle], Engine]
_HINT = "Give a function of a module, or functools.partial of one with values that JSON has."


def eager(bundle: Bundle) -> Engine:
    """Eager torch in fp32."""
    return TorchEngine(bundle.model)


def reference_of(engine_of: EngineOf) -> dict[str, Any]:
    """Where the function stands, and what it is called with beside the bundle.

    Args:
        engine_of: A function of a module, or a ``functools.partial`` of one with options that JSON
            has.

    Raises:
        ConfigError: Anything else, which another process could not find.
    """
    options: Mapping[str, Any] = {}
    function: Any = engine_of
    if isinstance(engine_of, functools.partial) and not engine_of.args:
        function, options = engine_of.func, engine_of.keywords
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    reference = {"function": f"{module}:{name}", "options": dict(options)}
    if module is None or not name.isidentifier():
        raise ConfigError(f"{engine_of!r} has no name to be found by", hint=_HINT)
    jsonio.dumps(reference)
    return reference


def found_by(reference: Mapping[str, Any]) -> EngineOf:
    """The function that a reference of this program names; it never comes from a bundle."""
    module, name = reference["function"].split(":")
    function: EngineOf = getattr(importlib.import_module(module), name)
    return functools.partial(function, **reference["options"])
