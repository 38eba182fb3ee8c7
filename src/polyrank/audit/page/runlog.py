"""What the log of one run shows: losses and validation by step, and gates at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyrank.audit.page.words import metric
from polyrank.audit.plain import thinned
from polyrank.pages import Block, Column, Figure, Prose, Table, TaskColors, in_columns, rows
from polyrank.pages.blocks import Cell, Chart, Value

Records = Sequence[Mapping[str, Any]]
_SHOWN = ("auc", "mae", "log_loss")
_FIELDS = ("task", "step", "value")


def run_figures(records: Records, colors: TaskColors) -> list[Figure]:
    """Of a run's log; empty where there is none."""
    losses = {task: [*_losses(records, task)] for task in colors.tasks}
    found = [_figure("losses", "Training loss", losses, {}, colors)]
    judged, names = {}, {}
    for task in colors.tasks:
        for name in _SHOWN:
            points = [*_validation(records, f"{task}.{name}")]
            if points:
                judged[task], names[task] = points, metric(name)
                break
    found.append(_figure("validation", "Validation", judged, names, colors))
    return [figure for figure in found if figure is not None]


def _losses(records: Records, task: str) -> Iterator[tuple[int, float]]:
    for record in records:
        if record["kind"] == "train" and record["losses"].get(task) is not None:
            yield record["step"], record["losses"][task]


def _validation(records: Records, name: str) -> Iterator[tuple[int, float]]:
    for record in records:
        if record["kind"] == "evaluation" and record["metrics"].get(name) is not None:
            yield record["step"], record["metrics"][name]


def _figure(
    name: str,
    title: str,
    series: Mapping[str, Sequence[tuple[int, float]]],
    metrics: Mapping[str, str],
    colors: TaskColors,
) -> Figure | None:
    table: list[tuple[Value, ...]] = [
        (task, step, value) for task, points in series.items() for step, value in thinned(points)
    ]
    if not table:
        return None
    tasks = [task for task in series if series[task]]
    titles = {task: f"{task}: {metrics[task]}" if task in metrics else task for task in tasks}
    return Figure(
        name=name,
        title=title,
        caption="By step, a panel a task.",
        alt=f"{title} of {', '.join(tasks)} by step.",
        data=in_columns(_FIELDS, table),
        labels={"task": "Task", "step": "Step", "value": title},
        charts=[_panel(task, titles[task], colors) for task in tasks],
        height=170,
    )


def _panel(task: str, title: str, colors: TaskColors) -> Chart:
    import altair as alt

    chart: Chart = (
        alt.Chart(rows(), title=title)
        .transform_filter(alt.FieldEqualPredicate(field="task", equal=task))
        .mark_line(color=colors.of(task), point={"size": 14, "color": colors.of(task)})
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("value:Q", title="Value", format=".5~g"),
            ],
        )
    )
    return chart


def gates_of(records: Records, colors: TaskColors) -> list[Block]:
    """The gates of the last record of the run that has some."""
    seen = [record for record in records if record["kind"] == "train" and record["gates"]]
    if not seen:
        return [Prose("No gates: the architecture has none, or the run's log is not there.")]
    last = seen[-1]
    table: list[list[Cell]] = [
        [
            colors.cell(name) if name in colors.tasks else name,
            gate["entropy"],
            ", ".join(f"{weight:.2f}" for weight in gate["mean"]),
        ]
        for name, gate in last["gates"].items()
    ]
    columns: list[str | Column] = ["Gate", "Entropy, nats", "Mean weight of each expert"]
    told = (
        f"As the run logged them last, on the training rows of step {last['step']:,}; the bundle "
        "keeps the weights of the best step, whose gates may be others."
    )
    return [Table(told, columns, table)]
