"""Loss curves and final losses as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt
import polars as pl

Curves = Mapping[tuple[str, float], Sequence[Sequence[float]]]
"""A curve a seed, by model and correlation."""


def draw(curves: Curves, every: int, path: Path) -> None:
    """Write the picture: a column a correlation, mean curves above, final losses below."""
    models = list(dict.fromkeys(model for model, _ in curves))
    colour = alt.Color("model:N", sort=models, title=None)
    mean = pl.DataFrame(
        [
            {"model": model, "p": f"p = {p:g}", "step": (place + 1) * every, "loss": _mean(column)}
            for (model, p), runs in curves.items()
            for place, column in enumerate(zip(*runs, strict=True))
        ]
    )
    last = pl.DataFrame(
        [
            {"model": model, "p": f"p = {p:g}", "loss": run[-1]}
            for (model, p), runs in curves.items()
            for run in runs
        ]
    )
    upper = (
        alt.Chart(mean)
        .mark_line()
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("loss:Q", title="mean held-out loss", scale=alt.Scale(type="log")),
            color=colour,
        )
        .properties(width=210, height=170)
        .facet(column=alt.Column("p:N", title=None))
    )
    lower = (
        alt.Chart(last)
        .mark_boxplot(extent="min-max", size=18)
        .encode(
            x=alt.X("model:N", sort=models, title=None),
            y=alt.Y("loss:Q", title="final held-out loss", scale=alt.Scale(type="log")),
            color=colour,
        )
        .properties(width=210, height=170)
        .facet(column=alt.Column("p:N", title=None))
    )
    (upper & lower).save(path, ppi=110)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
