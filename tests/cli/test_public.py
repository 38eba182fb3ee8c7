"""The names of the package, and what importing it costs."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import polyrank

HEAVY = ("torch", "pyarrow", "pandas", "polars", "numpy")


def imported_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after ``code``."""
    program = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(HEAVY) & set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import polyrank",
        "from polyrank.cli import main; main(['--help'])",
        "from polyrank.cli import main; main(['train', '--help'])",
        "from polyrank.cli import main; main(['--version'])",
    ],
)
def test_a_first_look_imports_nothing_heavy(code: str) -> None:
    assert imported_by(code) == set()


def test_the_check_sees_what_is_imported() -> None:
    assert {"pyarrow", "numpy"} <= imported_by("import polyrank; polyrank.guess_schema")


def test_every_public_name_is_that_of_its_room() -> None:
    from polyrank.ranker import Ranker
    from polyrank.sharing import MMoE

    for name in polyrank.__all__:
        assert getattr(polyrank, name) is not None
    assert polyrank.Ranker is Ranker
    assert polyrank.MMoE is MMoE
    assert dir(polyrank) == sorted(polyrank.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Rankr'"):
        polyrank.Rankr  # type: ignore[attr-defined]  # noqa: B018


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    tree = ast.parse(Path(polyrank.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {(f"polyrank.{room}", name) for name, room in polyrank._HOMES.items()}
    assert typed == lazy
    assert set(polyrank.__all__) == {name for _, name in lazy} | {"__version__"}


def test_the_example_of_the_package_runs() -> None:
    result = doctest.testmod(polyrank)
    assert result.attempted > 0
    assert result.failed == 0
