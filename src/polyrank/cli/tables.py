"""Results as tables for a terminal, or for 100 columns of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyrank.bundle.card import noted
from polyrank.cli.numbers import number, signed

if TYPE_CHECKING:
    from polyrank.bundle import ValueHistory
    from polyrank.evaluation import Comparison, ComparisonRow, Evaluation, EvaluationRow

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
    "ndcg": "NDCG",
    "mae": "MAE",
    "rmse": "RMSE",
    "xauc": "XAUC",
    "gxauc": "GXAUC",
}
MAIN = ("auc", "gauc", "log_loss", "ne", "ece", "mae", "rmse", "xauc", "gxauc", "ratio")
"""What is shown unless more is asked for."""
MAIN_OF_SLICES = ("auc", "gauc", "log_loss", "mae", "xauc", "ratio")
MOST_VALUES = 20
"""Values of a sliced column in a table; those with the most rows come first."""
_MOST_PLACES = 3
_WIDEST_VALUE = 24
_METRIC_WIDTH = 10
_GAP = 2
"""Columns of text between two of a table."""
_ORDER = (*MAIN, *HEADINGS)


def heading(metric: str) -> str:
    """How a metric is written: ``NDCG@5`` of ``ndcg@5``."""
    family, at, number = metric.partition("@")
    return HEADINGS.get(family, family) + at + number


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
        metrics: Names to show; empty: the main ones.
    """
    whole = _chosen((row for row in evaluation.rows if row.slice is None), metrics or MAIN)
    sliced = (row for row in evaluation.rows if row.slice is not None)
    parts = _by_column(_chosen(sliced, metrics or MAIN_OF_SLICES))
    show_title(out, title)
    _show(out, _tables(whole, out.width))
    for column, rows in parts.items():
        show_title(out, f"\nby {column}")
        _show(out, _tables(rows, out.width, sliced=True))
    _note(out, _caption(evaluation))
    for bound in _bounds(whole):
        _note(out, bound)
    told = [*whole, *(row for rows in parts.values() for row in rows)]
    if evaluation.mode == "streamed":
        told = list(evaluation.rows)
    for reason in _reasons(told):
        _note(out, reason)


def show_comparison(
    out: Console, comparison: Comparison, title: str, metrics: Sequence[str] = ()
) -> None:
    """Paired differences with their intervals, and the better side of each.

    A star stands where the interval leaves out 0, but for a metric without a better end: a ratio
    that differs may be off by as much on the other side.
    """
    rows = [row for row in comparison.rows if row.metric in (metrics or MAIN)]
    show_title(out, title)
    share = f"{comparison.confidence:.0%} interval"
    cells = [_comparison_cells(row) for row in rows if row.reason is None]
    show_cells(out, ("task", "metric", "A", "B", "B - A", share, "better", ""), cells, num_left=2)
    if comparison.unit is not None:
        draws = f"{comparison.resamples} paired draws of {comparison.unit}s"
        _note(out, f"* the interval leaves out 0. {draws}; what another seed would do is not in it")
    if any(row.metric == "ratio" and row.reason is None for row in rows):
        _note(out, "the better ratio is the one closer to 1")
    for reason in _reasons(rows):
        _note(out, reason)


def show_calibration(out: Console, calibration: Mapping[str, Any], title: str) -> None:
    """What was decided for each task, and what that changed on the rows of the fit."""
    from polyrank.evaluation import Comparison

    show_title(out, title)
    if calibration["comparison"] is not None:
        found = Comparison.from_json(calibration["comparison"])
        share = f"{found.confidence:.0%} interval"
        cells = [_comparison_cells(row)[:6] for row in found.rows if row.reason is None]
        show_cells(out, ("task", "metric", "before", "after", "change", share), cells, num_left=2)
    for task, told in calibration["tasks"].items():
        _note(out, f"{task}: {told}")
    _note(out, f"fitted on {calibration['on']}, and measured there; before: uncalibrated")


def show_value_model(out: Console, values: ValueHistory) -> None:
    """What ranks now, and what each term contributes."""
    found = values.in_force
    if found is None:
        show_title(out, "the new bundle ranks by the default weights")
        return
    show_title(out, f"the new bundle ranks by {found.told}")
    show_cells(out, ("term", "weight", "mean size", "share"), found.cells(), num_left=1)
    if found.measured:
        _note(out, f"size and share of the score on {found.measured['on']}")
    if found.demotion is not None:
        kept = f"{found.demotion.decay:g} of its value"
        _note(out, f"each repetition of {found.demotion.column} in a request keeps {kept}")


def show_orders(out: Console, columns: Mapping[str, Mapping[str, float]], title: str) -> None:
    """By task, what the first places would hold in several orders of a log."""
    show_title(out, title)
    tasks = next(iter(columns.values()))
    cells = [[task, *(number(means[task]) for means in columns.values())] for task in tasks]
    show_cells(out, ("task", *columns), cells, num_left=1)
    _note(out, "labels as they were under the order that was shown: no estimate of what another")
    _note(out, "order would have earned. Outside its sample space a label counts as 0.")


def show_title(out: Console, title: str) -> None:
    """A line of its own: over a table, rich would break it to the table's width."""
    out.print(title, style="bold", markup=False, soft_wrap=True)


def show_cells(
    out: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    num_left: int = 0,
    *,
    num_lead: int | None = None,
    together: int = 1,
) -> None:
    """Cells as they are, in as many tables as the width takes.

    Args:
        out: Where to.
        columns: Headings.
        rows: A cell for each of them.
        num_left: The first columns, which are aligned to the left.
        num_lead: The first columns, which every table begins with, and which are broken before
            another is cut; null: those to the left.
        together: So many of the columns after them stay side by side.
    """
    cells = [list(row) for row in rows]
    lead = num_left if num_lead is None else num_lead
    sizes = [_cell_width(column) for column in zip(columns, *cells, strict=True)]
    for place, chosen in enumerate(_fitting(sizes, lead, together, out.width)):
        left = sum(index < num_left for index in chosen)
        table = _table([columns[index] for index in chosen], left)
        for column in table.columns[:lead]:
            column.no_wrap, column.overflow = False, "fold"
        for row in cells:
            table.add_row(*(Text(row[index]) for index in chosen))
        if place:
            out.print()
        out.print(table)


def _cell_width(texts: Iterable[str]) -> int:
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _fitting(sizes: Sequence[int], lead: int, together: int, width: int) -> list[list[int]]:
    """The columns of each table: the lead, and groups of the others while they fit."""
    room = width + 1 - sum(size + _GAP for size in sizes[:lead])
    found: list[list[int]] = []
    left = 0
    for start in range(lead, len(sizes), together):
        group = list(range(start, min(start + together, len(sizes))))
        size = sum(sizes[index] + _GAP for index in group)
        if not found or size > left:
            found.append(list(range(lead)))
            left = room
        found[-1] += group
        left -= size
    return found or [list(range(lead))]


def ledger_lines(ledger: Mapping[str, Any]) -> str:
    """read = used + masked + quarantined + filtered; the rows used by each part; what was noted."""
    parts = {part: ledger["parts"].get(part) for part in ("train", "validation", "test")}
    used = ", ".join(f"{part} {counts['used']:,}" for part, counts in parts.items() if counts)
    return (
        f"rows read {ledger['read']:,} = used {ledger['used']:,} + masked "
        f"{ledger['masked']:,} + quarantined {ledger['quarantined']:,} + filtered "
        f"{ledger['filtered']:,}\nused by part: {used}"
        + "".join(f"\n{count:,} rows: {what}" for what, count in noted(ledger).items())
    )


def _show(out: Console, tables: Iterable[Table]) -> None:
    for place, table in enumerate(tables):
        if place:
            out.print()
        out.print(table)


def _note(out: Console, text: str) -> None:
    out.print(text, style="dim", markup=False, soft_wrap=True)


def _chosen(rows: Iterable[EvaluationRow], metrics: Sequence[str]) -> list[EvaluationRow]:
    return [row for row in rows if row.metric in metrics]


def _by_column(rows: Sequence[EvaluationRow]) -> dict[str, list[EvaluationRow]]:
    """By sliced column, the values with the most rows first."""
    columns: dict[str, list[EvaluationRow]] = {}
    for row in rows:
        columns.setdefault((row.slice or "").partition("=")[0], []).append(row)
    return {column: _largest_first(found) for column, found in columns.items()}


def _largest_first(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    sizes: dict[str | None, int] = {}
    for row in rows:
        sizes[row.slice] = max(sizes.get(row.slice, 0), row.rows)
    return sorted(rows, key=lambda row: (-sizes[row.slice], row.slice))


def _tables(rows: Sequence[EvaluationRow], width: int, *, sliced: bool = False) -> Iterator[Table]:
    """One for the binary tasks and one for the others, cut where they would be too wide."""
    for binary in (True, False):
        mine = [row for row in rows if (row.positives is not None) == binary]
        names = {row.metric for row in mine if row.reason is None}
        metrics = sorted(names, key=_place)
        lead = ["value"] * sliced + ["task", "rows"] + ["positive"] * binary
        room = width - sum(_lead_width(mine, name) for name in lead)
        size = max(1, room // _METRIC_WIDTH)
        for start in range(0, len(metrics), size):
            yield _metric_table(mine, metrics[start : start + size], lead)


def _place(metric: str) -> tuple[int, str]:
    """Where a metric stands among the columns, ``ndcg@5`` where NDCG does."""
    family = metric if metric in _ORDER else metric.partition("@")[0]
    return (_ORDER.index(family) if family in _ORDER else len(_ORDER), metric)


def _metric_table(
    rows: Sequence[EvaluationRow], metrics: Sequence[str], lead: Sequence[str]
) -> Table:
    headings = [*lead, *(heading(name) for name in metrics)]
    table = _table(headings, lead.index("task") + 1)
    cells: dict[tuple[str | None, str], dict[str, EvaluationRow]] = {}
    for row in rows:
        cells.setdefault((row.slice, row.task), {})[row.metric] = row
    slices = list(dict.fromkeys(slice_ for slice_, _ in cells))
    for (slice_, _), found in cells.items():
        if slice_ in slices[:MOST_VALUES]:
            first = next(iter(found.values()))
            told = [Text(_lead_cell(first, name)) for name in lead]
            table.add_row(*told, *(_value(found[m]) if m in found else None for m in metrics))
    if len(slices) > MOST_VALUES:
        table.add_row(f"{len(slices) - MOST_VALUES} more values: --json")
    return table


def _lead_cell(row: EvaluationRow, name: str) -> str:
    if name == "value":
        value = (row.slice or "").partition("=")[2]
        return value if len(value) <= _WIDEST_VALUE else f"{value[: _WIDEST_VALUE - 3]}..."
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


def _value(row: EvaluationRow) -> Text:
    """The value, and under it half the width of its interval."""
    text = Text(number(row.value))
    if not math.isnan(row.lower):
        half = number((row.upper - row.lower) / 2, like=row.value)
        text.append(f"\n±{half}", style="dim")
    return text


def _comparison_cells(row: ComparisonRow) -> list[str]:
    from polyrank.evaluation import find_metric

    interval = "" if math.isnan(row.lower) else f"{signed(row.lower)} to {signed(row.upper)}"
    starred = row.significant and find_metric(row.metric).higher_is_better is not None
    return [
        row.task,
        heading(row.metric),
        number(row.a),
        number(row.b),
        signed(row.difference),
        interval,
        row.better or "=",
        "*" if starred else "",
    ]


def _caption(evaluation: Evaluation) -> str:
    how = "from all rows" if evaluation.mode == "exact" else "streamed, from sums and histograms"
    if evaluation.unit is None:
        return f"{how}; no intervals"
    share = f"{evaluation.confidence:.0%}"
    draws = f"{evaluation.resamples} draws of {evaluation.unit}s"
    return f"{how}; ± is half the width of the {share} interval, over {draws}"


def _bounds(rows: Sequence[EvaluationRow]) -> list[str]:
    """How far streamed values may be from the exact ones at most: a line for each metric."""
    from polyrank.evaluation import OF_EXACT

    largest: dict[str, str] = {}
    for row in rows:
        reason = row.interval_reason or ""
        if reason.endswith(OF_EXACT):
            told = [largest.get(row.metric, reason), reason]
            largest[row.metric] = max(told, key=lambda text: float(text.split()[1]))
    return [f"{heading(metric)}: {reason}" for metric, reason in largest.items()]


def _reasons(rows: Sequence[EvaluationRow] | Sequence[ComparisonRow]) -> list[str]:
    """Why values are missing: a line for each metric and reason, with the first places."""
    asked: dict[str, int] = {}
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        asked[row.metric] = asked.get(row.metric, 0) + 1
        if row.reason is not None:
            slice_ = getattr(row, "slice", None)
            place = f"{row.task} at {slice_}" if slice_ else row.task
            places.setdefault((row.metric, row.reason), []).append(place)
    return [
        f"undefined: {heading(metric)}{_placed(found, asked[metric])}: {reason}"
        for (metric, reason), found in places.items()
    ]


def _placed(places: Sequence[str], num_asked: int) -> str:
    if len(places) == num_asked:
        return ""
    more = len(places) - _MOST_PLACES
    shown = ", ".join(places[:_MOST_PLACES])
    return f" of {shown}{f' and {more} more' if more > 0 else ''}"
