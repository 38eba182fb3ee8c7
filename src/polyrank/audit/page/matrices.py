"""Matrices of tasks as heat maps with the number in each cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from polyrank.pages import Figure, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import DIVERGING, INK, PAGE

Cells = Mapping[tuple[str, str], float | None]
"""By the one along y and the one along x."""


def heat_map(
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    down: Sequence[str],
    across: Sequence[str],
    cells: Cells,
    shown: Callable[[str, float], str],
    axes: tuple[str, str],
    neutral: Callable[[str], float] | None = None,
    value: str = "Value",
    own: bool = True,
    largest: float | None = None,
) -> Figure:
    """One figure.

    Args:
        name: Of the figure.
        title: Of it.
        caption: What to see.
        alt: What a reader hears.
        down: Names along y.
        across: Names along x.
        cells: Values; what is None or absent is blank.
        shown: How the value of a row is written.
        axes: What stands along x and along y.
        neutral: By row, up to which value a cell has no colour; else colours go by the largest
            value of all.
        value: What cells are.
        own: Whether the diagonal counts for the colours of others.
        largest: What has the deepest colour; null: the largest value.
    """
    found = [(row, column, cells.get((row, column))) for row in down for column in across]
    strengths = [_strength(row, number, neutral) for row, _, number in found]
    data: dict[str, list[Value]] = {
        "row": [row for row, _, _ in found],
        "column": [column for _, column, _ in found],
        "value": [number for _, _, number in found],
        "shown": [None if number is None else shown(row, number) for row, _, number in found],
        "strength": list(strengths),
    }
    counted = [each for each, (i, j, _) in zip(strengths, found, strict=True) if own or i != j]
    thresholds = _thresholds(counted, largest, margins=neutral is not None)
    chart = _chart(axes, thresholds, down, across)
    return Figure(
        name=name,
        title=title,
        caption=caption,
        alt=alt,
        data=data,
        labels={
            "row": axes[1],
            "column": axes[0],
            "value": value,
            "shown": "As shown",
            "strength": "Times the margin" if neutral else "Strength of its colour",
        },
        charts=[chart],
        height=44 * len(down) + 60,
    )


def _strength(
    row: str, value: float | None, neutral: Callable[[str], float] | None
) -> float | None:
    if value is None or neutral is None:
        return value
    unit = neutral(row)
    return value / unit if unit > 0 else (0.0 if value == 0 else value * 1e9)


def _thresholds(
    strengths: Sequence[float | None], largest: float | None, *, margins: bool
) -> list[float]:
    """Six that part seven colours, alike to both sides."""
    found = max((abs(value) for value in strengths if value is not None), default=1.0) or 1.0
    if not margins:
        top = largest or found
        edges = [top / 7, 3 * top / 7, 5 * top / 7]
    else:
        top = max(found, 8.0)
        edges = [1.0, top ** (1 / 3), top ** (2 / 3)]
    return [-edge for edge in reversed(edges)] + edges


def _chart(
    axes: tuple[str, str], thresholds: list[float], down: Sequence[str], across: Sequence[str]
) -> Chart:
    import altair as alt

    scale = alt.Scale(type="threshold", domain=thresholds, range=list(DIVERGING))
    x = alt.X(
        "column:N",
        title=axes[0],
        sort=list(across),
        axis=alt.Axis(orient="top", labelAngle=0, labelLimit=110, domain=False, ticks=False),
    )
    y = alt.Y("row:N", title=None, sort=list(down), axis=alt.Axis(labelLimit=160, domain=False))
    there = (
        alt.Chart(rows())
        .transform_filter(alt.FieldValidPredicate(field="value", valid=True))
        .encode(x=x, y=y)
    )
    tooltip = [
        alt.Tooltip("row:N", title=axes[1]),
        alt.Tooltip("column:N", title=axes[0]),
        alt.Tooltip("shown:N", title="Value"),
    ]
    rect = there.mark_rect(stroke=PAGE, strokeWidth=2).encode(
        color=alt.Color("strength:Q", scale=scale, legend=None), tooltip=tooltip
    )
    halo = there.mark_text(stroke=PAGE, strokeWidth=4, strokeJoin="round", fontWeight=600)
    text = there.mark_text(color=INK, fontWeight=600)
    return alt.layer(rect, halo.encode(text="shown:N"), text.encode(text="shown:N"))
