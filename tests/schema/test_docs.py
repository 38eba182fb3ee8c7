"""The examples in the docstrings of the room."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import polyrank.errors
import polyrank.schema

MODULES = [
    "polyrank.errors",
    "polyrank.schema",
    *(
        module.name
        for module in pkgutil.walk_packages(polyrank.schema.__path__, "polyrank.schema.")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_say_what_happens(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    with_examples = ["errors", "schema", "schema.guess", "schema.guessing", "schema.render"]
    for name in with_examples:
        module = importlib.import_module(f"polyrank.{name}")
        assert doctest.testmod(module).attempted > 0


def test_a_schema_needs_no_arrow() -> None:
    code = "import polyrank.schema, sys; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_guessing_is_loaded_when_it_is_asked_for() -> None:
    assert callable(polyrank.schema.guess_schema)
    assert set(polyrank.schema.__all__) <= {*dir(polyrank.schema), "Guess", "guess_schema"}
    with pytest.raises(AttributeError, match="no attribute 'gess'"):
        _ = polyrank.schema.gess
