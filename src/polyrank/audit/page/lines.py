"""Lines over training: losses, validation, angles and sizes of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from polyrank.audit.courses import Course
from polyrank.audit.gradients import Place
from polyrank.audit.page.found import Found
from polyrank.audit.page.words import metric
from polyrank.pages import Figure, TaskColors, in_columns, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import INK

MOST_PAIRS = 12
"""Of tasks whose cosines are drawn over training."""


def pair_names(tasks: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The two tasks by what evidence calls their pair."""
    return {f"{one}/{other}": (one, other) for one, other in combinations(tasks, 2)}


def course_figures(found: Found) -> list[Figure]:
    """Training loss and validation metric a task, joint run and twin of the first seed."""
    first = min((own.seed for own in found.courses), default=0)
    courses = [own for own in found.courses if own.seed == first]
    metrics = {own.task: metric(own.metric) for own in found.comparisons}
    losses = _courses(
        found,
        [(own, own.losses) for own in courses],
        name="losses",
        title="Training loss",
        titles={task: task for task in found.tasks},
        caption=f"Of seed {first}, by step. Solid: the joint run; dashed: the twin.",
    )
    validation = _courses(
        found,
        [(own, own.validation) for own in courses],
        name="validation",
        title="Validation",
        titles={task: f"{task}: {metrics[task]}" for task in found.tasks},
        caption=f"What each task is judged by, on validation, of seed {first}. Solid: the joint "
        "run; dashed: the twin, which keeps its own best step.",
    )
    return [figure for figure in (losses, validation) if figure is not None]


def _courses(
    found: Found,
    series: Sequence[tuple[Course, Sequence[tuple[int, float]]]],
    *,
    name: str,
    title: str,
    titles: dict[str, str],
    caption: str,
) -> Figure | None:
    table: list[tuple[Value, ...]] = [
        (own.task, "joint" if own.role == "joint" else "twin", step, value)
        for own, points in series
        for step, value in points
    ]
    if not table:
        return None
    tasks = [task for task in found.tasks if any(row[0] == task for row in table)]
    return Figure(
        name=name,
        title=title,
        caption=caption,
        alt=f"{title} by step, a panel for each of {', '.join(tasks)}, joint run and twin.",
        data=in_columns(("task", "run", "step", "value"), table),
        labels={"task": "Task", "run": "Run", "step": "Step", "value": title},
        charts=[_course_panel(task, titles[task], found.colors) for task in tasks],
        height=170,
    )


def _course_panel(task: str, title: str, colors: TaskColors) -> Chart:
    import altair as alt

    dash = alt.Scale(domain=["joint", "twin"], range=[[1, 0], [5, 4]])
    chart: Chart = (
        alt.Chart(rows(), title=title)
        .transform_filter(alt.FieldEqualPredicate(field="task", equal=task))
        .mark_line(color=colors.of(task), point={"size": 14, "color": colors.of(task)})
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            strokeDash=alt.StrokeDash("run:N", scale=dash, legend=None),
            tooltip=[
                alt.Tooltip("run:N", title="Run"),
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("value:Q", title="Value", format=".5~g"),
            ],
        )
    )
    return chart


def cosines(found: Found, place: Place, where: str) -> Figure | None:
    """The angle of each pair over training; of many, of those that conflict most."""
    known = pair_names(found.tasks)
    there = {name: place.pairs[name] for name in known if name in place.pairs}
    order = sorted(there, key=lambda name: there[name].cosine.value or 0.0)[:MOST_PAIRS]
    kept = [name for name in there if name in order]
    table: list[tuple[Value, ...]] = [
        (*known[name], f"{known[name][0]} and {known[name][1]}", step, value)
        for name in kept
        for step, value in there[name].cosines
    ]
    if not table:
        return None
    left = f" The {MOST_PAIRS} pairs with the least." if len(there) > MOST_PAIRS else ""
    fields = ("one", "other", "pair", "step", "cosine")
    return Figure(
        name=f"cosines-{where}",
        title=f"Angle between gradients, {told(where)}",
        caption="Cosine of two tasks' gradients by step: below 0 they pull against each other."
        + left,
        alt=f"Cosine by step, a panel for each of {len(kept)} pairs of tasks.",
        data=in_columns(fields, table),
        labels={
            "one": "Task",
            "other": "Other task",
            "pair": "Pair",
            "step": "Step",
            "cosine": "Cosine",
        },
        charts=[_cosine_panel(f"{known[name][0]} and {known[name][1]}") for name in kept],
        height=140,
    )


def told(where: str) -> str:
    """Where gradients are compared."""
    return "at the fork" if where == "fork" else "at the last shared layer"


def _cosine_panel(pair: str) -> Chart:
    import altair as alt

    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}]))
    line = (
        alt.Chart(rows(), title=pair)
        .transform_filter(alt.FieldEqualPredicate(field="pair", equal=pair))
        .mark_line(color=INK, point={"size": 14, "color": INK}, strokeWidth=1.5)
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("cosine:Q", title=None, scale=alt.Scale(domain=[-1, 1])),
            tooltip=[
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("cosine:Q", title="Cosine", format="+.3~f"),
            ],
        )
    )
    return alt.layer(zero.mark_rule(strokeDash=[3, 3]).encode(y="zero:Q"), line)


def magnitudes(found: Found, place: Place, where: str) -> Figure | None:
    """Lengths of the tasks' gradients over training."""
    import altair as alt

    table: list[tuple[Value, ...]] = [
        (task, step, value) for task in found.tasks for step, value in place.sizes.get(task, ())
    ]
    if not table:
        return None
    colors = found.colors
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=350, symbolStrokeWidth=2.5)
    positive = all(isinstance(row[2], float) and row[2] > 0 for row in table)
    scale = alt.Scale(type="log", nice=False) if positive else alt.Scale(zero=True)
    chart = (
        alt.Chart(rows())
        .mark_line(point={"size": 16})
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("length:Q", title="Length", scale=scale),
            color=alt.Color("task:N", scale=colors.color(), legend=legend),
            strokeDash=alt.StrokeDash("task:N", scale=colors.dash(), legend=legend),
            tooltip=[
                alt.Tooltip("task:N", title="Task"),
                alt.Tooltip("step:Q", title="Step"),
                alt.Tooltip("length:Q", title="Length", format=".3~g"),
            ],
        )
    )
    return Figure(
        name=f"magnitudes-{where}",
        title=f"Length of gradients, {told(where)}",
        caption="Of each task's unweighted loss, by step. A task whose gradient is far longer "
        "than the others decides where what is shared goes.",
        alt=f"Lengths of the gradients of {', '.join(found.tasks)} by step.",
        data=in_columns(("task", "step", "length"), table),
        labels={"task": "Task", "step": "Step", "length": "Length"},
        charts=[chart],
        height=260,
    )
