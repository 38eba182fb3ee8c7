"""Results as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from polyrank.evaluation import Comparison, Evaluation


def console() -> Console:
    """Standard output; 100 columns where it is no terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=100)


def metric_table(evaluation: Evaluation, title: str, slice_: str | None = None) -> Table:
    """One row a task, one column a metric: the value and half the width of its interval."""
    rows = [row for row in evaluation.rows if row.slice == slice_]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("task")
    table.add_column("rows", justify="right")
    table.add_column("positive", justify="right")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for task in dict.fromkeys(row.task for row in rows):
        mine = {row.metric: row for row in rows if row.task == task}
        first = next(iter(mine.values()))
        cells = [_value(mine[metric]) if metric in mine else "" for metric in metrics]
        positives = "" if first.positives is None else f"{first.positives:,}"
        table.add_row(task, f"{first.rows:,}", positives, *cells)
    return table


def reasons(evaluation: Evaluation) -> list[str]:
    """Why values or intervals are missing, one sentence each, without repetition."""
    found = [
        f"{row.task} {row.metric}{f' at {row.slice}' if row.slice else ''}: {row.reason}"
        for row in evaluation.rows
        if row.reason is not None
    ]
    return list(dict.fromkeys(found))


def comparison_table(comparison: Comparison, title: str) -> Table:
    """Paired differences with their intervals; a star where the interval leaves out 0."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("task", "metric", "A", "B", "B - A", "95 % interval", ""):
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for row in comparison.rows:
        interval = "" if math.isnan(row.lower) else f"{row.lower:+.5f} to {row.upper:+.5f}"
        table.add_row(
            row.task,
            row.metric,
            number(row.a),
            number(row.b),
            "" if math.isnan(row.difference) else f"{row.difference:+.5f}",
            interval,
            "*" if row.significant else "",
        )
    return table


def candidate_table(table: pa.Table, columns: list[str], title: str, limit: int = 10) -> Table:
    """The first rows of a ranked list."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    shown.add_column("#", justify="right")
    for column in columns:
        shown.add_column(column.removeprefix("predicted_"), justify="right")
    for place, row in enumerate(table.select(columns).slice(0, limit).to_pylist(), 1):
        shown.add_row(str(place), *(_cell(value) for value in row.values()))
    return shown


def ledger_line(ledger: Mapping[str, Any]) -> str:
    """read = trained + masked + quarantined + filtered, as one line."""
    return (
        f"rows read {ledger['read']:,} = trained {ledger['trained']:,} + masked "
        f"{ledger['masked']:,} + quarantined {ledger['quarantined']:,} + filtered "
        f"{ledger['filtered']:,}"
    )


def number(value: float) -> str:
    """Four significant digits; a dash for an undefined value."""
    if math.isnan(value):
        return "-"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.3g}"


def _value(row: Any) -> str:
    text = number(row.value)
    if math.isnan(row.lower):
        return text
    half = (row.upper - row.lower) / 2
    return f"{text} ±{number(half)}"


def _cell(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
