"""What a model predicts of a log: reliability, distributions, slices, positions.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyrank.audit.page.reliability import reliability
from polyrank.audit.page.words import metric, size, whole
from polyrank.audit.reliability import Reliability
from polyrank.evaluation import Evaluation
from polyrank.pages import (
    Block,
    Column,
    Figure,
    Prose,
    Section,
    Table,
    TaskColors,
    in_columns,
    number,
    rows,
)
from polyrank.pages.blocks import Cell, Chart, Value
from polyrank.pages.numbers import UNKNOWN, interval

_SLICED = ("auc", "log_loss", "mae", "ratio")
BINS = 30
MOST_POSITIONS = 50

Bars = Sequence[tuple[float, float, float]]
"""From, to, share of the rows."""
Places = Sequence[tuple[float, int, float, float]]
"""Position, rows, mean prediction, mean label."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A log as a model sees it.

    Args:
        on: What it is called.
        evaluation: With slices, if any.
        reliability: By task.
        scores: By task, the distribution of its predictions.
        positions: By task; empty where the log has none.
    """

    on: str
    evaluation: Evaluation
    reliability: Mapping[str, Reliability]
    scores: Mapping[str, Bars]
    positions: Mapping[str, Places]


def bars(predictions_N: np.ndarray) -> Bars:
    """Of finite predictions, in bins of equal width."""
    if not len(predictions_N):
        return ()
    counts, edges = np.histogram(predictions_N, bins=BINS)
    shares = counts / counts.sum()
    return [
        (float(low), float(high), float(share))
        for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]


def places(positions_N: np.ndarray, predictions_N: np.ndarray, labels_N: np.ndarray) -> Places:
    """Means at each position, the first ones of many."""
    found = []
    for position in np.unique(positions_N)[:MOST_POSITIONS]:
        here_N = positions_N == position
        means = float(predictions_N[here_N].mean()), float(labels_N[here_N].mean())
        found.append((float(position), int(here_N.sum()), *means))
    return found


def seen_sections(seen: Seen, colors: TaskColors) -> Iterator[Section]:
    """A section each, or a sentence where there is nothing."""
    yield Section("Calibration", reliability(seen.reliability, colors))
    yield Section("Predictions", [_scores(seen, colors)])
    yield Section("Slices", [_slices(seen, colors)])
    yield Section("Positions", [_positions(seen, colors)])


def _scores(seen: Seen, colors: TaskColors) -> Block:
    table: list[tuple[Value, ...]] = [
        (task, *bar) for task, found in seen.scores.items() for bar in found
    ]
    if not table:
        return Prose("No distribution: no task has an observed row.")
    tasks = [task for task, found in seen.scores.items() if found]
    fields = ("task", "low", "high", "share")
    return Figure(
        name="scores",
        title="What is predicted",
        caption="Share of the observed rows by prediction, a panel a task.",
        alt=f"Histograms of the predictions of {', '.join(tasks)}.",
        data=in_columns(fields, table),
        labels={"task": "Task", "low": "From", "high": "To", "share": "Share of rows"},
        charts=[_bar_panel(task, colors) for task in tasks],
        height=170,
    )


def _bar_panel(task: str, colors: TaskColors) -> Chart:
    import altair as alt

    chart: Chart = (
        alt.Chart(rows(), title=task)
        .transform_filter(alt.FieldEqualPredicate(field="task", equal=task))
        .mark_bar(color=colors.of(task))
        .encode(
            x=alt.X("low:Q", title="Predicted", bin="binned"),
            x2="high:Q",
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%")),
            tooltip=[
                alt.Tooltip("low:Q", title="From", format=".4~g"),
                alt.Tooltip("high:Q", title="To", format=".4~g"),
                alt.Tooltip("share:Q", title="Share", format=".2~%"),
            ],
        )
    )
    return chart


def _slices(seen: Seen, colors: TaskColors) -> Block:
    found = [row for row in seen.evaluation.rows if row.slice is not None and row.metric in _SLICED]
    if not found:
        return Prose("No slices: name columns with `--slice`.")
    table: list[list[Cell]] = [
        [
            colors.cell(row.task),
            row.slice,
            metric(row.metric),
            row.reason if row.reason is not None else size(row.value, row.metric),
            UNKNOWN
            if row.interval_reason is not None
            else interval(row.lower, row.upper, lambda end, row=row: size(end, row.metric)),  # type: ignore[misc]
            row.rows,
        ]
        for row in found
    ]
    columns: list[str | Column] = [
        "Task",
        "Slice",
        "Metric",
        Column("Value", right=True),
        Column("Interval", right=True),
        Column("Rows", whole),
    ]
    return Table(f"By slice, on {seen.on}.", columns, table)


def _positions(seen: Seen, colors: TaskColors) -> Block:
    table: list[tuple[Value, ...]] = [
        (task, position, count, kind, value)
        for task, found in seen.positions.items()
        for position, count, predicted, observed in found
        for kind, value in (("predicted", predicted), ("observed", observed))
    ]
    if not table:
        return Prose("No positions: the schema has no `keys.position`.")
    tasks = [task for task, found in seen.positions.items() if found]
    fields = ("task", "position", "rows", "kind", "mean")
    least = min(count for found in seen.positions.values() for _, count, _, _ in found)
    return Figure(
        name="positions",
        title="By the place in the list that was shown",
        caption="Mean label (solid) and mean prediction (dashed) at each position. Where labels "
        "fall and predictions do not, users looked less, or the old ranking put the best first; "
        "this log cannot say which. Rows count alike; at least "
        f"{number(least, decimals=0)} rows each.",
        alt=f"Means by position of {', '.join(tasks)}.",
        data=in_columns(fields, table),
        labels={
            "task": "Task",
            "position": "Position",
            "rows": "Rows",
            "kind": "What",
            "mean": "Mean",
        },
        charts=[_position_panel(task, colors) for task in tasks],
        height=170,
    )


def _position_panel(task: str, colors: TaskColors) -> Chart:
    import altair as alt

    dash = alt.Scale(domain=["observed", "predicted"], range=[[1, 0], [5, 4]])
    chart: Chart = (
        alt.Chart(rows(), title=task)
        .transform_filter(alt.FieldEqualPredicate(field="task", equal=task))
        .mark_line(color=colors.of(task), point={"size": 14, "color": colors.of(task)})
        .encode(
            x=alt.X("position:Q", title="Position", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("mean:Q", title=None, scale=alt.Scale(zero=True)),
            strokeDash=alt.StrokeDash("kind:N", scale=dash, legend=None),
            tooltip=[
                alt.Tooltip("kind:N", title="What"),
                alt.Tooltip("position:Q", title="Position"),
                alt.Tooltip("mean:Q", title="Mean", format=".4~g"),
                alt.Tooltip("rows:Q", title="Rows"),
            ],
        )
    )
    return chart
