"""The table of what is shown names tests that exist, for every row that it should have."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "reliability.md"
ROWS = [
    *(f"D{number}" for number in range(1, 10)),
    *(f"E{number}" for number in range(1, 15)),
    *(f"F{number}" for number in (*range(1, 14), 16)),
    *(f"G{number}" for number in (1, 2, 5, 6, 7)),
    *(f"T{number}" for number in (*range(9, 13), *range(16, 22), 27, 28, 32, 33)),
]


@cache
def named_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    found = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in found if name.startswith("test_"))


def faults(text: str) -> list[str]:
    """What is wrong with a table."""
    rows = {
        line.split("|")[1].strip(): line
        for line in text.splitlines()
        if re.match(r"\| [A-Z]\d+ \|", line)
    }
    found = [] if list(rows) == ROWS else [f"rows are {list(rows)}"]
    for row, line in rows.items():
        for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", line):
            if not (ROOT / "tests" / path).is_file() or name not in named_in(path):
                found.append(f"{row}: no {path}::{name}")
        scripts = re.findall(r"`(benchmarks/[\w/]+\.py)`", line)
        found += [f"{row}: no {script}" for script in scripts if not (ROOT / script).is_file()]
        others = re.findall(r"as ([DEFGT]\d+)", line)
        if not ("::" in line or scripts or "not shown" in line or any(o in rows for o in others)):
            found.append(f"{row}: shown by nothing")
    return found


def test_every_row_is_shown_by_tests_that_exist() -> None:
    assert faults(TABLE.read_text()) == []


def test_a_table_that_rots_is_found() -> None:
    text = TABLE.read_text()
    for part, instead in (
        ("::test_a_bad_bundle_is_refused`", "::test_gone`"),
        ("`benchmarks/serving_soak.py`", "`benchmarks/gone.py`"),
        ("`serving/test_server.py::test_priority_is_accepted_and_has_no_effect`", "by nothing"),
        ("| E9 |", "| E99 |"),
    ):
        assert part in text
        assert faults(text.replace(part, instead)) != []
