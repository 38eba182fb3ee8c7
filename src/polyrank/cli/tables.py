"""Results as tables for a terminal, or for 100 columns of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyrank.cli.numbers import number, signed

if TYPE_CHECKING:
    from polyrank.evaluation import Comparison, Evaluation, EvaluationRow

WIDTH = 100
"""Columns where standard output is no terminal."""
HEADINGS = {
    "auc": "AUC",
    "gauc": "GAUC",
    "pr_auc": "PR-AUC",
    "log_loss": "log loss",
    "ne": "NE",
    "ece": "ECE",
    "ratio": "ratio",
    "ndcg@10": "NDCG@10",
    "mae": "MAE",
    "rmse": "RMSE",
    "xauc": "XAUC",
}
MAIN = {
    "binary": ("auc", "gauc", "log_loss", "ne", "ece", "ratio"),
    "number": ("mae", "rmse", "xauc", "ratio"),
}
"""What is shown of a kind of task unless more is asked for."""
MOST_VALUES = 20
"""Values of a sliced column in a table; those with the most rows come first."""
_METRIC_WIDTH = 10


def console() -> Console:
    """Standard output; 100 columns where it is no terminal."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(width=WIDTH, highlight=False)


def show_evaluation(
    out: Console, evaluation: Evaluation, title: str, metrics: Sequence[str] = ()
) -> None:
    """Tables of all rows and of each slice, what ± means, and why values are missing.

    Args:
        out: Where to.
        evaluation: What to show.
        title: Of the first table.
        metrics: Names to show; empty: the main ones of each kind of task.
    """
    wanted = set(metrics) or {name for names in MAIN.values() for name in names}
    rows = [row for row in evaluation.rows if row.metric in wanted]
    show_title(out, title)
    for table in _tables([row for row in rows if row.slice is None], out.width):
        _show(out, table)
    for column, part in _by_column(rows).items():
        show_title(out, f"by {column}")
        for table in _tables(part, out.width, sliced=True):
            _show(out, table)
    out.print(_caption(evaluation), style="dim", soft_wrap=True)
    for reason in _reasons(rows):
        out.print(f"undefined: {reason}", markup=False, soft_wrap=True)


def show_title(out: Console, title: str) -> None:
    """A line of its own: over a table, rich would break it to the table's width."""
    out.print(title, style="bold", markup=False, soft_wrap=True)


def show_comparison(out: Console, comparison: Comparison, title: str) -> None:
    """Paired differences with their intervals; a star where the interval leaves out 0."""
    show_title(out, title)
    share = f"{comparison.confidence:.0%} interval"
    table = _table(("task", "metric", "A", "B", "B - A", share, ""), 2)
    for row in comparison.rows:
        interval = "" if math.isnan(row.lower) else f"{signed(row.lower)} to {signed(row.upper)}"
        cells = (
            row.task,
            HEADINGS.get(row.metric, row.metric),
            number(row.a),
            number(row.b),
            signed(row.difference),
            interval,
            "*" if row.significant else "",
        )
        table.add_row(*map(Text, cells))
    _show(out, table)
    draws = f"{comparison.resamples} draws of {comparison.unit}s" if comparison.unit else "no draws"
    out.print(f"* the interval leaves out 0; {draws}, paired. Seeds differ, too.", style="dim")
    for reason in _reasons(comparison.rows):
        out.print(f"undefined: {reason}", markup=False, soft_wrap=True)


def show_cells(
    out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 0
) -> None:
    """A table of cells as they are, but the first ``num_left`` columns to the right."""
    table = _table(columns, num_left)
    for row in rows:
        table.add_row(*map(Text, row))
    _show(out, table)


def ledger_line(ledger: Mapping[str, Any]) -> str:
    """read = trained + masked + quarantined + filtered, as one line."""
    return (
        f"rows read {ledger['read']:,} = trained {ledger['trained']:,} + masked "
        f"{ledger['masked']:,} + quarantined {ledger['quarantined']:,} + filtered "
        f"{ledger['filtered']:,}"
    )


def _show(out: Console, table: Table) -> None:
    out.print(table)
    out.print()


def _tables(rows: Sequence[EvaluationRow], width: int, *, sliced: bool = False) -> Iterator[Table]:
    """One for the binary tasks and one for the others, cut where they would be too wide."""
    for kind, binary in (("binary", True), ("number", False)):
        mine = [row for row in rows if (row.positives is not None) == binary]
        names = _ordered({row.metric for row in mine}, MAIN[kind])
        lead = _lead_columns(binary=binary, sliced=sliced)
        room = width - sum(_lead_width(mine, name) for name in lead)
        size = max(1, room // _METRIC_WIDTH)
        for start in range(0, len(names), size):
            yield _metric_table(mine, names[start : start + size], lead)


def _metric_table(
    rows: Sequence[EvaluationRow], metrics: Sequence[str], lead: Sequence[str]
) -> Table:
    headings = [*lead, *(HEADINGS.get(name, name) for name in metrics)]
    table = _table(headings, lead.index("task") + 1)
    cells: dict[tuple[str | None, str], dict[str, EvaluationRow]] = {}
    for row in rows:
        cells.setdefault((row.slice, row.task), {})[row.metric] = row
    shown = _largest({key: next(iter(found.values())).rows for key, found in cells.items()})
    for key in shown:
        found = cells[key]
        first = next(iter(found.values()))
        told = [Text(_lead_cell(first, name)) for name in lead]
        table.add_row(*told, *(_value(found[m]) if m in found else None for m in metrics))
    if len(shown) < len(cells):
        table.add_row(f"{len(cells) - len(shown)} more: --json")
    return table


def _largest(
    rows_of: Mapping[tuple[str | None, str], int],
) -> list[tuple[str | None, str]]:
    """The keys of the slices with the most rows, in that order, the tasks of each together."""
    sizes: dict[str | None, int] = {}
    for (slice_, _), rows in rows_of.items():
        sizes[slice_] = max(sizes.get(slice_, 0), rows)
    kept = sorted(sizes, key=lambda slice_: -sizes[slice_])[:MOST_VALUES]
    return [key for slice_ in kept for key in rows_of if key[0] == slice_]


def _lead_columns(*, binary: bool, sliced: bool) -> list[str]:
    return [*(["value"] if sliced else []), "task", "rows", *(["positive"] if binary else [])]


def _lead_cell(row: EvaluationRow, name: str) -> str:
    if name == "value":
        return (row.slice or "").partition("=")[2]
    if name == "task":
        return row.task
    return f"{row.rows if name == 'rows' else row.positives:,}"


def _lead_width(rows: Sequence[EvaluationRow], name: str) -> int:
    return 2 + max([len(name), *(len(_lead_cell(row, name)) for row in rows)])


def _table(columns: Sequence[str], num_left: int) -> Table:
    """Columns that are never cut, the first ones to the left."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        side: Literal["left", "right"] = "left" if place < num_left else "right"
        table.add_column(Text(column), justify=side, no_wrap=True, vertical="top")
    return table


def _by_column(rows: Sequence[EvaluationRow]) -> dict[str, list[EvaluationRow]]:
    columns: dict[str, list[EvaluationRow]] = {}
    for row in rows:
        if row.slice is not None:
            columns.setdefault(row.slice.partition("=")[0], []).append(row)
    return columns


def _ordered(names: set[str], first: Sequence[str]) -> list[str]:
    order = [*first, *HEADINGS]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _value(row: EvaluationRow) -> Text:
    """The value, and under it half the width of its interval."""
    text = Text(number(row.value))
    if not math.isnan(row.lower):
        half = number((row.upper - row.lower) / 2, like=row.value)
        text.append(f"\n±{half}", style="dim")
    return text


def _caption(evaluation: Evaluation) -> str:
    how = "from all rows" if evaluation.mode == "exact" else "streamed, from sums and histograms"
    if evaluation.unit is None:
        return f"{how}; no intervals"
    share = f"{evaluation.confidence:.0%}"
    return (
        f"{how}; ± is half the {share} interval over {evaluation.resamples} draws of "
        f"{evaluation.unit}s"
    )


def _reasons(rows: Iterable[Any]) -> list[str]:
    """Why values are missing, one sentence each, without repetition."""
    found = []
    for row in rows:
        place = getattr(row, "slice", None)
        if row.reason is not None:
            found.append(f"{row.task} {row.metric}{f' at {place}' if place else ''}: {row.reason}")
    return list(dict.fromkeys(found))
