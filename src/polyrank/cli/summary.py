"""What a finished run shows."""

from __future__ import annotations

from pathlib import Path

from polyrank.bundle import Bundle
from polyrank.cli.tables import console, ledger_lines, show_evaluation
from polyrank.run import BUNDLE, evaluations


def show_run(bundle: Bundle, folder: Path) -> None:
    """The row ledger, the metrics of each part evaluated, and where the bundle is."""
    out = console()
    out.print(ledger_lines(bundle.card.ledger))
    shown = evaluations(bundle)
    asked = bundle.card.run["evaluation"]["metrics"]
    for part, evaluation in shown.items():
        out.print()
        show_evaluation(out, evaluation, part, asked)
    test = bundle.card.data.get("test")
    if test is not None and "test" not in shown:
        out.print(
            f"\ntest: {test.rows:,} rows, not looked at; `train --resume --test` does, "
            "once every choice is made"
        )
    steps = f"best step {bundle.card.provenance['best_step']} of {bundle.card.provenance['steps']}"
    out.print(f"\nbundle {folder / BUNDLE}, version {bundle.version[:12]}, {steps}", soft_wrap=True)
