"""What is written down is what the code says."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["schema.md", "configuration.md"])
def test_the_reference_pages_are_current(name: str) -> None:
    reference = _reference()
    title, classes = reference.PAGES[name]
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == reference.page(title, classes), "run: make docs"


def test_every_registered_method_is_in_the_reference() -> None:
    from polyrank.balancing import GRADIENT_BALANCERS, SCALARIZERS
    from polyrank.calibration import CALIBRATORS
    from polyrank.fusion import VALUE_MODELS
    from polyrank.fusion.tuning import OBJECTIVES, SEARCHES
    from polyrank.sharing import SHARINGS

    pages = {
        "configuration.md": (SHARINGS, SCALARIZERS, GRADIENT_BALANCERS, CALIBRATORS),
        "value_models.md": (VALUE_MODELS, OBJECTIVES, SEARCHES),
    }
    for name, registries in pages.items():
        text = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        for cls in (cls for registry in registries for cls in registry.values()):
            assert f"## {cls.__name__}\n" in text


WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "src").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
"""The modules in which an example stands."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0
