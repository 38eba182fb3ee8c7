from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def mutate(folder: Path, first: int, last: int, checksums: str) -> Counter[str]:
    """Outcomes of the mutations, tried by a process that has to survive them all."""
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.data.mutations",
            str(folder),
            str(first),
            str(last),
            checksums,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, f"the process died: {child.stderr[-2000:]}"
    outcomes = [json.loads(line) for line in child.stdout.splitlines()]
    assert [number for number, _, _ in outcomes] == list(range(first, last))
    expected = {"refused", "same", "silent", "unchanged"}
    assert [outcome for outcome in outcomes if outcome[2] not in expected] == []
    return Counter(outcome for _, _, outcome in outcomes)


def test_of_a_thousand_mutated_files_none_is_accepted_silently(tmp_path: Path) -> None:
    outcomes = mutate(tmp_path, 0, 1000, "checksums")
    assert outcomes["silent"] <= 0.001 * 1000
    assert outcomes["refused"] > 800


def test_without_page_checksums_many_are(tmp_path: Path) -> None:
    """The positive control: these mutations do harm, and it is the checksum that shows it."""
    outcomes = mutate(tmp_path, 0, 200, "none")
    assert outcomes["silent"] > 10


@pytest.mark.nightly
def test_of_twenty_thousand_mutated_files_none_is_accepted_silently(tmp_path: Path) -> None:
    outcomes = mutate(tmp_path, 1000, 21_000, "checksums")
    assert outcomes["silent"] <= 0.001 * 20_000
