"""What a finished run shows."""

from __future__ import annotations

from pathlib import Path

from polyrank.bundle import Bundle
from polyrank.cli.tables import console, ledger_line, show_evaluation
from polyrank.run import BUNDLE, evaluations


def show_run(bundle: Bundle, folder: Path) -> None:
    """The row ledger, the metrics of each part, and where the bundle is."""
    out = console()
    out.print(ledger_line(bundle.card.ledger))
    for part, evaluation in evaluations(bundle).items():
        out.print()
        show_evaluation(out, evaluation, part)
    steps = f"best step {bundle.card.provenance['best_step']} of {bundle.card.provenance['steps']}"
    out.print(f"\nbundle {folder / BUNDLE}, version {bundle.version[:12]}, {steps}", soft_wrap=True)
