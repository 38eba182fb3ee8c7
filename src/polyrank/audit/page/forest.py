"""Gains with their intervals, of tasks and of slices, one panel a unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from polyrank.audit.compared import Compared
from polyrank.audit.page.found import Found
from polyrank.audit.page.words import metric
from polyrank.audit.verdict import Verdict, Warned
from polyrank.pages import Figure, TaskColors, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import INK, RULE

LABELS = {
    "kind": "What",
    "task": "Task",
    "metric": "Metric",
    "name": "Slice",
    "gain": "Gain",
    "low": "Lower bound",
    "high": "Upper bound",
    "below": "Margin of a loss",
    "margin": "Margin",
    "seed": "Seed",
    "answer": "Verdict",
}
_LINE, _TOP = 46, 60
_SLICE_LINE = 24
MAX_SLICES = 40
"""Of a task, in the figure."""


def forest(found: Found) -> Figure:
    """Of each task on all rows, the seeds as dots."""
    table = [*_of_tasks(found)]
    metrics = list(dict.fromkeys(own.metric for own in found.judged))
    most = max(sum(own.metric == name for own in found.judged) for name in metrics)
    colors = found.colors
    return Figure(
        name="gains",
        title="What sharing gains",
        caption=f"Joint run less twin, turned so that right of 0 sharing helps: the mean over "
        f"seeds with its {found.confidence} interval, which carries seeds and {found.unit}; small "
        "dots: seeds. In the grey band a difference is too small to matter.",
        alt="Gain of each task with its interval: " + "; ".join(_heard(found)) + ".",
        data=_columns(table, ("kind", "task", "metric", "gain", "low", "high", "below", "margin"))
        | _columns(table, ("seed", "answer")),
        labels=LABELS,
        charts=[_tasks_panel(name, colors) for name in metrics],
        height=_TOP + _LINE * most,
    )


def slices(found: Found) -> Figure:
    """Of each task on its slices, a panel a task."""
    kept = [own for task in found.tasks for own in _largest(found, task)]
    table = [
        {"kind": "slice", "name": own.slice, "answer": _answer(own), **_of(own)} for own in kept
    ]
    tasks = [task for task in found.tasks if any(own.task == task for own in kept)]
    most = max(sum(own.task == task for own in kept) for task in tasks)
    return Figure(
        name="slices",
        title="Gain by slice",
        caption=f"As above, on the rows of a slice alone, with {found.confidence} intervals that "
        "are not corrected for how many there are; verdicts in the table are.",
        alt=f"Gains of {len(tasks)} tasks on {len(kept)} slices; the numbers are in its table.",
        data=_columns(table, ("task", "metric", "name", "gain", "low", "high", "below", "margin"))
        | _columns(table, ("answer",)),
        labels=LABELS,
        charts=[_slices_panel(task, found) for task in tasks],
        height=40 + _SLICE_LINE * most,
    )


def remedies_figure(found: Found) -> Figure:
    """Of each task under each remedy that was tried, the joint run as it is first."""
    climb = found.climb
    assert climb is not None
    table = [{"name": "as it is", "answer": _answer(own), **_of(own)} for own in found.judged]
    for remedy in climb["tried"]:
        for one in remedy["against_twins"]:
            kind = Verdict if "answer" in one else Warned
            own = kind.from_json(one)
            table.append({"name": remedy["name"], "answer": _answer(own), **_of(own)})
    tasks = [task for task in found.tasks if any(row["task"] == task for row in table)]
    return Figure(
        name="remedies",
        title="Gain under each remedy",
        caption=f"Against the twin, with {found.confidence} intervals; the joint run as it is "
        "stands first.",
        alt=f"Gains of {', '.join(tasks)} under {len(climb['tried'])} remedies.",
        data=_columns(table, ("task", "metric", "name", "gain", "low", "high", "below", "margin"))
        | _columns(table, ("answer",)),
        labels=LABELS | {"name": "Remedy"},
        charts=[_slices_panel(task, found) for task in tasks],
        height=50 + _SLICE_LINE * (1 + len(climb["tried"])),
    )


def _largest(found: Found, task: str) -> list[Compared]:
    """Slices of a task that have a gain; of too many, those with most rows."""
    own = [one for one in found.sliced if one.task == task and one.gain.value is not None]
    if len(own) <= MAX_SLICES:
        return [*own]
    kept = {id(one) for one in sorted(own, key=lambda one: -one.rows)[:MAX_SLICES]}
    return [one for one in own if id(one) in kept]


def _of(own: Compared) -> dict[str, Value]:
    return {
        "task": own.task,
        "metric": metric(own.metric),
        "gain": own.gain.value,
        "low": own.low,
        "high": own.high,
        "below": -own.margin,
        "margin": own.margin,
        "seed": None,
    }


def _answer(own: Compared) -> str:
    warns = getattr(own, "warns", None)
    if warns is not None:
        return "may be harmed" if warns else "no warning"
    return str(getattr(own, "answer", ""))


def _of_tasks(found: Found) -> Iterator[dict[str, Value]]:
    for own in found.judged:
        yield {"kind": "mean", "answer": _answer(own), **_of(own)}
        compared = found.comparison(own.task)
        sign = 1 if compared.higher_is_better else -1
        for seed in compared.seeds:
            gain = sign * (compared.joint[seed] - compared.twin[seed])
            none = {"low": None, "high": None, "answer": None}
            yield {"kind": "seed", **_of(own), **none, "gain": gain, "seed": seed}


def _columns(table: Sequence[dict[str, Value]], names: Sequence[str]) -> dict[str, list[Value]]:
    return {name: [row[name] for row in table] for name in names}


def _heard(found: Found) -> Iterator[str]:
    from polyrank.audit.page.words import bounds, size

    for own in found.judged:
        gain = size(own.gain.value, own.metric, signed=True)
        yield f"{own.task} {gain} {metric(own.metric)}, {bounds(own)}"


def _tasks_panel(name: str, colors: TaskColors) -> Chart:
    import altair as alt

    base = alt.Chart(rows(), title=metric(name)).transform_filter(
        alt.FieldEqualPredicate(field="metric", equal=metric(name))
    )
    color = alt.Color("task:N", scale=colors.color(), legend=None)
    return _layers(base, "task", color)


def _slices_panel(task: str, found: Found) -> Chart:
    import altair as alt

    own = next(one for one in found.judged if one.task == task)
    base = alt.Chart(rows(), title=f"{task} ({metric(own.metric)})").transform_filter(
        alt.FieldEqualPredicate(field="task", equal=task)
    )
    return _layers(base, "name", alt.value(found.colors.of(task)))


def _layers(base: Any, name: str, color: Any) -> Chart:
    import altair as alt

    tasks = name == "task"
    y = alt.Y(f"{name}:N", title=None, sort=None, axis=alt.Axis(labelLimit=215, domain=False))
    x = alt.X("gain:Q", title="Gain", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4))
    if tasks:
        means = base.transform_filter(alt.FieldEqualPredicate(field="kind", equal="mean"))
        seeds = base.transform_filter(alt.FieldEqualPredicate(field="kind", equal="seed"))
    else:
        means = base
    tooltip = [
        alt.Tooltip(f"{name}:N", title=LABELS[name]),
        alt.Tooltip("gain:Q", title="Gain", format="+.4~g"),
        alt.Tooltip("low:Q", title="Lower bound", format="+.4~g"),
        alt.Tooltip("high:Q", title="Upper bound", format="+.4~g"),
        alt.Tooltip("margin:Q", title="Margin", format=".4~g"),
        alt.Tooltip("answer:N", title="Verdict"),
    ]
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}]))
    band = means.mark_bar(color=RULE, height={"band": 1}).encode(
        x=alt.X("below:Q"), x2="margin:Q", y=y
    )
    line = means.mark_rule(strokeWidth=2.5).encode(x="low:Q", x2="high:Q", y=y, color=color)
    point = means.mark_point(filled=True, size=110 if tasks else 55).encode(
        x=x, y=y, color=color, tooltip=tooltip
    )
    layers = [band, zero.mark_rule(color=INK, strokeDash=[3, 3]).encode(x="zero:Q"), line]
    if tasks:
        dots = seeds.mark_point(filled=True, size=22, yOffset=13, opacity=0.75).encode(
            x="gain:Q",
            y=y,
            color=color,
            tooltip=[
                alt.Tooltip("seed:Q", title="Seed"),
                alt.Tooltip("gain:Q", title="Gain", format="+.4~g"),
            ],
        )
        layers.append(dots)
    return alt.layer(*layers, point)
