"""Rules of the house that a tool can check: in every source file, not by opinion."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "print", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "joblib", "cloudpickle", "marshal", "shelve"}
FORBIDDEN_ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("os", "system")}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _faults(tree: ast.AST) -> list[str]:
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in FORBIDDEN_CALLS:
                faults.append(f"line {node.lineno}: calls {node.func.id}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in FORBIDDEN_ATTRIBUTES:
                faults.append(f"line {node.lineno}: uses {node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = {*names} if isinstance(node, ast.Import) else {node.module or ""}
            faults += [
                f"line {node.lineno}: imports {module}"
                for module in modules
                if module.split(".")[0] in FORBIDDEN_MODULES
            ]
        elif isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            if broad and not any(_goes_on(part) for part in ast.walk(node)):
                faults.append(f"line {node.lineno}: swallows any exception")
    return faults


def _goes_on(node: ast.AST) -> bool:
    """Whether an exception is raised again, or logged with where it came from."""
    logged = isinstance(node, ast.Attribute) and node.attr == "exception"
    return logged or isinstance(node, ast.Raise)


def test_no_pickle_no_eval_no_print_no_swallowed_exception() -> None:
    found = {_name(path): _faults(ast.parse(path.read_text())) for path in SOURCES}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "print(1)",
        "import torch\ntorch.load('x')",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
    ],
)
def test_the_rules_can_fail(code: str) -> None:
    assert _faults(ast.parse(code))


def _too_long(text: str) -> Iterator[str]:
    if text.count("\n") > 400:
        yield "the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body and (length := (body[-1].end_lineno or 0) - body[0].lineno + 1) > 40:
                yield f"{node.name}: {length} lines"


def test_files_and_functions_fit_on_a_screen() -> None:
    assert len(SOURCES) > 400
    found = {_name(path): list(_too_long(path.read_text())) for path in SOURCES}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_what_is_too_long_is_found() -> None:
    assert list(_too_long("def f():\n" + "    g()\n" * 41)) == ["f: 41 lines"]
    assert list(_too_long("\n" * 401)) == ["the file"]
    assert list(_too_long('def f():\n    """Text."""\n' + "    g()\n" * 40)) == []
