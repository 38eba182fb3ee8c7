"""Tables of a search: what changes, which guardrails hold, and by which weights."""

from __future__ import annotations

from polyrank.fusion.tuning.page.changes import (
    Evidence,
    champion_is_knee,
    four,
    goals,
    named_points,
)
from polyrank.fusion.tuning.result import Tuned
from polyrank.pages import Column, Prose, Table, interval, short
from polyrank.pages.blocks import Cell
from polyrank.pages.numbers import UNKNOWN


def goals_table(best: Evidence) -> Table:
    """Today's ranking, the knee and the champion on the same rows."""
    found, gains = best.changes(), best.gains
    values = [best.values(point) for point in best.points.values()]
    confidence = f"{100 * gains.confidence:g}\N{NO-BREAK SPACE}% interval" if gains else "Interval"
    rows: list[list[Cell]] = [
        [
            name,
            *(column[name] for column in values),
            found[name].told(),
            found[name].interval() or found[name].reason or UNKNOWN,
            goal.unit if goal.higher_is_better else f"{goal.unit}; less is better",
        ]
        for name, goal in goals(best.tuned).items()
    ]
    columns: list[str | Column] = [
        "Goal",
        *(Column(name.capitalize(), four) for name in best.points),
        Column("Change", right=True),
        Column(confidence, right=True),
        "Unit",
    ]
    caption = f"Every goal on {best.on}; the change is from today's ranking to the {best.name}."
    return Table(caption, columns, rows)


def guardrails_table(best: Evidence) -> Table:
    """Which guardrails the champion holds, and by how much."""
    rows: list[list[Cell]] = [
        [
            one.rail.name,
            one.limit,
            one.value,
            f"held, {one.distance()} to spare" if one.held else f"missed by {one.distance()}",
        ]
        for one in best.standings()
    ]
    columns: list[str | Column] = [
        "Guardrail",
        Column("Limit", four),
        Column("Value", four),
        "Verdict",
    ]
    return Table(f"Guardrails under the {best.name}, on the same rows.", columns, rows)


def weights_table(tuned: Tuned) -> Table:
    """The weights of each point, and where they were searched."""
    points = {name: point.weights for name, point in named_points(tuned).items() if point.weights}
    rows: list[list[Cell]] = [
        [
            name,
            *(weights[place] for weights in points.values()),
            interval(tuned.lower[place], tuned.upper[place], short),
        ]
        for place, name in enumerate(tuned.weights)
    ]
    columns: list[str | Column] = [
        "Weight",
        *(Column(name.capitalize(), short) for name in points),
        Column("Searched", right=True),
    ]
    return Table("The weights of each ranking, and the range of the search.", columns, rows)


def points_told(tuned: Tuned) -> Prose:
    """What each named point is."""
    told = [f"{name.capitalize()}: {point.told}." for name, point in named_points(tuned).items()]
    both = " The champion is the knee." if champion_is_knee(tuned) else ""
    return Prose(" ".join(told) + both)
