"""What a finished run shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from polyrank.bundle import Bundle
from polyrank.bundle.card import told_gains
from polyrank.cli.tables import console, ledger_lines, show_comparison, show_evaluation, show_title
from polyrank.run import BUNDLE, evaluations
from polyrank.scoring import Gains


def show_gains(
    out: Console, part: str, gains: Mapping[str, Any], version: str, metrics: Sequence[str]
) -> None:
    """What the parent's tasks gained or lost on a part."""
    title = f"the parent's tasks on {part}: A the parent {version[:12]}, B this model"
    found = Gains.from_json(gains)
    if found.comparison is None:
        show_title(out, f"{title}: more rows than evaluation.exact_rows, so no metrics")
    elif any(found.largest.values()):
        show_comparison(out, found.comparison, title, metrics)
    out.print(told_gains(part, gains), highlight=False, soft_wrap=True)


def show_run(bundle: Bundle, folder: Path) -> None:
    """The row ledger, the metrics of each part evaluated, and where the bundle is."""
    out = console()
    out.print(ledger_lines(bundle.card.ledger))
    shown = evaluations(bundle)
    asked = bundle.card.run["evaluation"]["metrics"]
    for part, evaluation in shown.items():
        out.print()
        show_evaluation(out, evaluation, part, asked)
    for part, gains in bundle.card.parent.get("gains", {}).items():
        out.print()
        show_gains(out, part, gains, bundle.card.parent["version"], asked)
    test = bundle.card.data.get("test")
    if test is not None and "test" not in shown:
        out.print(
            f"\ntest: {test.rows:,} rows, not looked at; `train --resume --test` does, "
            "once every choice is made"
        )
    steps = f"best step {bundle.card.provenance['best_step']} of {bundle.card.provenance['steps']}"
    out.print(f"\nbundle {folder / BUNDLE}, version {bundle.version[:12]}, {steps}", soft_wrap=True)
