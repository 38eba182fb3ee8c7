"""Pages for tests, one of them with names that would like to be scripts."""

from __future__ import annotations

import math

import altair as alt

from polyrank.pages import (
    Block,
    Code,
    Column,
    Facts,
    Figure,
    Page,
    Prose,
    Section,
    Table,
    TaskColors,
    percent,
    rows,
)
from polyrank.pages.blocks import Value

HOSTILE = "</script><img src=x onerror=alert(1)><!--\"'`&lt;{{7*7}}\\u003c"
STEPS = [1, 2, 3]
LOSSES = [0.693147180559945, 0.1 + 0.2, math.nan]


def curve(task: str = "click") -> Figure:
    """Lines of one task, NaN among its numbers."""
    colors = TaskColors([task, "like"])
    chart = (
        alt.Chart(rows(), title=task)
        .mark_line(point=True)
        .encode(
            x=alt.X("step:Q", title=task),
            y=alt.Y("loss:Q", title=task),
            color=alt.Color("task:N", scale=colors.color(), title=task),
            strokeDash=alt.StrokeDash("task:N", scale=colors.dash(), title=task),
            shape=alt.Shape("task:N", scale=colors.shape(), title=task),
            tooltip=[alt.Tooltip("task:N", title=task), alt.Tooltip("loss:Q", title="Loss")],
        )
    )
    return Figure(
        name="loss",
        title=f"Loss of {task}",
        caption=f"{task} falls.",
        alt=f"A falling line of {task}.",
        data={"step": STEPS, "loss": LOSSES, "task": [task, "like", "=1+1"]},
        labels={"loss": f"Loss of {task}", "step": "Step"},
        charts=[chart],
    )


def multiples() -> Figure:
    """Two small charts."""
    colors = TaskColors(["click", "like"])
    charts = [
        alt.Chart(rows(), title=task)
        .transform_filter(alt.FieldEqualPredicate(field="task", equal=task))
        .mark_line()
        .encode(x="step:Q", y="loss:Q", color=alt.Color("task:N", scale=colors.color()))
        for task in colors.tasks
    ]
    tasks: list[Value] = ["click", "click", "like", "like"]
    data: dict[str, list[Value]] = {"step": [1, 2, 1, 2], "loss": [3.0, 2.0, 2.0, 1.0]}
    return Figure("two", "Both tasks", "Both fall.", "Two lines.", data | {"task": tasks}, charts)


def page(task: str = "click") -> Page:
    """Every block, the task's name wherever a user's text can stand."""
    colors = TaskColors([task, "like"])
    table = Table(
        f"Shares of {task}.",
        ["Task", Column(f"Share of {task}", percent), Column("Note", right=True)],
        [[colors.cell(task), 0.201, task], [colors.cell("like"), None, "none"]],
        marked=[0],
    )
    facts = Facts({task: task, "Rows": "1,200"}, large=True, notes={task: task})
    first: list[Block] = [
        Prose(f"About {task}, `{task}` and `code`."),
        facts,
        table,
        Code(task, task),
    ]
    return Page(
        title=f"About {task}",
        verdict=f"{task} is well.",
        sections=[Section(f"First {task}", first), Section("Second", [curve(task), multiples()])],
        kind=task,
        tone="good",
        note=task,
    )
