"""One of several processes of a command."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli.workbench import succeed


def succeed_into(folder: str, words: list[str]) -> None:
    """Run a command that does what it should, and write what it prints to ``out-RANK.txt``."""
    out = succeed(*words)
    Path(folder, f"out-{os.environ['RANK']}.txt").write_text(out)
