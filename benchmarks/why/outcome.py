"""What a study gives: its table, and the points of its figure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import altair as alt
import polars as pl

from quality.seeds import Estimate


@dataclass(frozen=True)
class Point:
    """One mark of the figure: ``x`` is written as it stands, in the order of the points."""

    x: str
    model: str
    panel: str
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Outcome:
    """A table in Markdown and a figure."""

    lines: list[str]
    points: list[Point]
    x: str
    y: str
    how: str = "Differences pair five seeds and carry a 95 % t interval over them."

    def draw(self, path: Path) -> None:
        """Means with their intervals, a colour a model, side by side by panel."""
        frame = pl.DataFrame([asdict(point) for point in self.points])
        order = list(dict.fromkeys(point.x for point in self.points))
        models = list(dict.fromkeys(point.model for point in self.points))
        panels = list(dict.fromkeys(point.panel for point in self.points))
        x = alt.X("x:N", sort=order, title=self.x, axis=alt.Axis(labelAngle=0))
        base = alt.Chart(frame).encode(
            x=x,
            xOffset=alt.XOffset("model:N", sort=models),
            color=alt.Color("model:N", sort=models, title=None),
        )
        bars = base.mark_rule(strokeWidth=2).encode(
            y=alt.Y("lower:Q", title=self.y, scale=alt.Scale(zero=False)), y2="upper:Q"
        )
        dots = base.mark_point(filled=True, size=45).encode(y="mean:Q")
        layer = (bars + dots).properties(width=90 * len(order), height=220)
        layer.facet(column=alt.Column("panel:N", sort=panels, title=None)).resolve_scale(
            y="independent"
        ).save(path, ppi=110)


def written(found: Estimate) -> str:
    """An estimate in a cell."""
    mean, lower, upper = found
    return f"{mean:+.4f} ({lower:+.4f} to {upper:+.4f})"
