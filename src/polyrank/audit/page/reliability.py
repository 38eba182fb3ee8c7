"""How far predictions are calibrated, before and after a calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyrank.audit.reliability import Curve, Reliability
from polyrank.pages import Block, Column, Figure, Prose, Table, TaskColors, in_columns, number, rows
from polyrank.pages.blocks import Cell, Chart, Value
from polyrank.pages.theme import MUTED, PAGE

_BOTH = " Filled: as predicted; hollow: after calibration."
_FIELDS = ("task", "when", "rows", "prediction", "label", "low", "high")


def reliability(found: Mapping[str, Reliability], colors: TaskColors) -> list[Block]:
    """Diagrams and a table in the order of the schema, or a sentence on why there are none."""
    found = {task: found[task] for task in colors.tasks if task in found}
    table = [
        row
        for task, own in found.items()
        for when, curve in _curves(own)
        for row in _bins(task, when, curve)
    ]
    if not table:
        return [Prose("No reliability diagram: no task has an observed row.")]
    tasks = [task for task in found if any(row[0] == task for row in table)]
    calibrated = any(own.after is not None for own in found.values())
    diagrams = Figure(
        name="reliability",
        title="Predicted and observed",
        caption="Rows in up to 15 bins of equal mass, from the lowest predictions to the highest: "
        "on the line, predictions are what was observed; with 95\N{NO-BREAK SPACE}% intervals as "
        "if rows were independent." + (_BOTH if calibrated else ""),
        alt=f"Reliability diagrams of {', '.join(tasks)}.",
        data=in_columns(_FIELDS, table),
        labels={
            "task": "Task",
            "when": "When",
            "rows": "Rows",
            "prediction": "Predicted",
            "label": "Observed",
            "low": "Lower bound",
            "high": "Upper bound",
        },
        charts=[_panel(task, colors.of(task), _reach(task, table)) for task in tasks],
        height=240,
    )
    return [diagrams, _table(found, colors)]


def _curves(own: Reliability) -> Iterator[tuple[str, Curve]]:
    yield "before", own.before
    if own.after is not None:
        yield "after", own.after


def _bins(task: str, when: str, curve: Curve) -> Iterator[tuple[Value, ...]]:
    for own in curve.bins:
        yield task, when, own.rows, own.prediction, own.label, own.low, own.high


def _reach(task: str, table: list[tuple[Value, ...]]) -> list[float]:
    """Both axes alike, so that the diagonal is one."""
    numbers = [
        value
        for row in table
        if row[0] == task
        for value in row[3:5]
        if isinstance(value, int | float)
    ]
    low, high = min(0.0, *numbers), max(numbers)
    return [float(low), float(high) * 1.02 if high > low else float(low) + 1.0]


def _panel(task: str, color: str, reach: list[float]) -> Chart:
    import altair as alt

    ends = alt.Chart(alt.InlineData(values=[{"x": end, "y": end} for end in reach]))
    scale = alt.Scale(domain=reach, nice=False)
    base = alt.Chart(rows(), title=task).transform_filter(
        alt.FieldEqualPredicate(field="task", equal=task)
    )
    x = alt.X("prediction:Q", title="Predicted", scale=scale)
    y = alt.Y("label:Q", title="Observed", scale=scale)
    fill = alt.condition(
        alt.FieldEqualPredicate(field="when", equal="before"), alt.value(color), alt.value(PAGE)
    )
    tooltip = [
        alt.Tooltip("when:N", title="Calibration"),
        alt.Tooltip("prediction:Q", title="Predicted", format=".4~g"),
        alt.Tooltip("label:Q", title="Observed", format=".4~g"),
        alt.Tooltip("rows:Q", title="Rows"),
    ]
    diagonal = ends.mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1)
    return alt.layer(
        diagonal.encode(x=alt.X("x:Q"), y=alt.Y("y:Q")),
        base.mark_rule(color=color, opacity=0.5, clip=True).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"
        ),
        base.mark_point(filled=False, color=color, strokeWidth=1.5, size=40).encode(
            x=x, y=y, fill=fill, tooltip=tooltip
        ),
    )


def _table(found: Mapping[str, Reliability], colors: TaskColors) -> Table:
    table: list[list[Cell]] = [
        [
            colors.cell(task),
            own.before.ratio,
            None if own.after is None else own.after.ratio,
            own.before.ece,
            None if own.after is None else own.after.ece,
            own.method,
        ]
        for task, own in found.items()
    ]
    columns: list[str | Column] = [
        "Task",
        Column("Ratio", _three),
        Column("Ratio after", _three),
        Column("ECE", _four),
        Column("ECE after", _four),
        "Calibration",
    ]
    return Table(
        "Ratio: predicted events over observed ones, 1 where all is well. ECE: the mean distance "
        "from the line.",
        columns,
        table,
    )


def _three(value: float) -> str:
    return number(value, decimals=3)


def _four(value: float) -> str:
    return number(value, decimals=4)
