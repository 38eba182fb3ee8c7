"""Figures of a search other than its front: how it went, and what each weight does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from polyrank.fusion.tuning.result import Goal, Tuned
from polyrank.pages import MAX_ROWS, Figure, TaskColors, number, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import DASHES, INK, MUTED, PAGE

T = TypeVar("T")


def hypervolume(tuned: Tuned) -> Figure:
    """How much of what can be reached was reached, by the number of trials."""
    import altair as alt

    course = list(zip(tuned.hypervolume.trials, tuned.hypervolume.values, strict=True))
    kept = thinned(course, MAX_ROWS // 4)
    today = alt.Chart(alt.InlineData(values=[{"today": tuned.hypervolume.today}]))
    line = alt.Chart(rows()).mark_line(interpolate="step-after")
    x = alt.X("trials:Q", title="Trials", axis=alt.Axis(format=",d"))
    y = alt.Y("hypervolume:Q", title="Hypervolume", scale=alt.Scale(zero=False))
    tooltip = [
        alt.Tooltip("trials:Q", title="Trials"),
        alt.Tooltip("hypervolume:Q", title="Hypervolume", format=".5~g"),
    ]
    label = today.mark_text(align="right", dx=-4, dy=-7, color=MUTED)
    chart = alt.layer(
        today.mark_rule(strokeDash=[5, 4]).encode(y=alt.Y("today:Q")),
        label.encode(x=alt.value("width"), y="today:Q", text=alt.value("today's ranking alone")),
        line.encode(x=x, y=y, tooltip=tooltip),
    )
    return Figure(
        name="hypervolume",
        title="How the search went",
        caption="The volume that the front so far dominates, in the product of the objectives' "
        "units. Where the line is flat to the right, more trials would find little more.",
        alt=f"Line of the hypervolume over {course[-1][0] if course else 0} trials, ending at "
        f"{number(tuned.hypervolume.value)}; today's ranking alone has "
        f"{number(tuned.hypervolume.today)}.",
        data={
            "trials": [number_of for number_of, _ in kept],
            "hypervolume": [value for _, value in kept],
        },
        labels={"trials": "Trials", "hypervolume": "Hypervolume"},
        charts=[chart],
        height=220,
    )


def sensitivity(tuned: Tuned, colors: TaskColors) -> Figure:
    """A panel a weight: what happens to the objectives when it alone changes."""
    at = "the champion" if tuned.champion else "the start"
    names = [one.weight for one in tuned.sensitivity]
    table = _changes_by_factor(tuned)
    return Figure(
        name="sensitivity",
        title="What each weight does",
        caption=f"Each weight alone, times a factor, from {at}; the change of each objective. A "
        "flat line: that weight hardly matters. A hollow point: a guardrail is missed there.",
        alt=f"Small charts for the weights {', '.join(names)}: change of each objective by factor.",
        data=table,
        labels={
            "weight": "Weight",
            "factor": "Factor",
            "objective": "Objective",
            "value": "Value",
            "change": "Change",
            "held": "Guardrails held",
        },
        charts=[_panel(name, tuned.objectives, colors, _reach(table)) for name in names],
        height=150,
    )


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / (most - 1)
    return [items[round(place * step)] for place in range(most)]


def objective_color(goal: Goal, colors: TaskColors) -> str:
    """That of its task; ink where it reads several."""
    return colors.of(goal.tasks[0]) if len(goal.tasks) == 1 else INK


def _changes_by_factor(tuned: Tuned) -> dict[str, list[str | float | bool | None]]:
    table: dict[str, list[str | float | bool | None]] = {
        name: [] for name in ("weight", "factor", "objective", "value", "change", "held")
    }
    for one in tuned.sensitivity:
        base = one.objectives[one.factors.index(1.0)]
        for factor, values, slacks in zip(one.factors, one.objectives, one.slacks, strict=True):
            for goal, value, reference in zip(tuned.objectives, values, base, strict=True):
                change = (value - reference) / abs(reference) if reference else None
                held = all(slack >= 0 for slack in slacks)
                row = (one.weight, factor, goal.name, value, change, held)
                for column, cell in zip(table.values(), row, strict=True):
                    column.append(cell)
    return table


def _reach(table: Mapping[str, Sequence[Value]]) -> list[float]:
    """One range for all panels, so that they can be compared."""
    changes = [change for change in table["change"] if isinstance(change, float)]
    low, high = min(changes, default=0.0), max(changes, default=0.0)
    margin = 0.05 * (high - low) or 0.01
    return [low - margin, high + margin]


def _panel(
    weight: str, objectives: Sequence[Goal], colors: TaskColors, reach: list[float]
) -> Chart:
    import altair as alt

    names = [goal.name for goal in objectives]
    hues = [objective_color(goal, colors) for goal in objectives]
    scale = alt.Scale(domain=names, range=hues)
    line = alt.Legend(title=None, symbolType="stroke", symbolSize=350, symbolStrokeWidth=2.5)
    color = alt.Color("objective:N", scale=scale, legend=line)
    filled = alt.Color("objective:N", scale=scale, legend=None)
    dashes = [list(DASHES[place % len(DASHES)]) for place in range(len(names))]
    dash = alt.StrokeDash("objective:N", scale=alt.Scale(domain=names, range=dashes), legend=line)
    base = (
        alt.Chart(rows(), title=weight)
        .transform_filter(alt.FieldEqualPredicate(field="weight", equal=weight))
        .encode(
            x=alt.X(
                "factor:O",
                title="Times the weight",
                axis=alt.Axis(labelAngle=0, format="~g"),
                scale=alt.Scale(padding=0.2),
            ),
            y=alt.Y(
                "change:Q",
                title=None,
                axis=alt.Axis(format="+.2~%"),
                scale=alt.Scale(domain=reach, nice=False),
            ),
            color=color,
            tooltip=[
                alt.Tooltip("objective:N", title="Objective"),
                alt.Tooltip("factor:Q", title="Times the weight", format="~g"),
                alt.Tooltip("value:Q", title="Value", format=".5~g"),
                alt.Tooltip("change:Q", title="Change", format="+.3~%"),
                alt.Tooltip("held:N", title="Guardrails held"),
            ],
        )
    )
    fill = alt.condition(alt.FieldEqualPredicate(field="held", equal=True), filled, alt.value(PAGE))
    points = base.mark_point(filled=False, size=36, strokeWidth=1.5).encode(fill=fill)
    return alt.layer(base.mark_line(strokeWidth=1.75).encode(strokeDash=dash), points)
