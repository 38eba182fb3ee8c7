"""From Altair's charts to specifications that a page draws, and to PNG without a browser."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

from polyrank.pages.blocks import Figure, Value
from polyrank.pages.theme import CHART_CONFIG, in_light

if TYPE_CHECKING:
    import altair as alt

_ROWS = "rows"
_PNG_WIDTH = 760
_PNG_PER_ROW = 3
_LEGEND_WIDTH = 130  # of an entry, as in page.js


def rows() -> alt.NamedData:
    """The data of a figure, for its charts: ``alt.Chart(rows())``.

    Types of fields must be given (``"lift:Q"``).
    """
    import altair as alt

    return alt.NamedData(name=_ROWS)


@cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets ``window.vegaEmbed``."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def specifications(figure: Figure) -> list[dict[str, Any]]:
    """Of each chart its Vega-Lite specification, without data, as wide as where it stands."""
    return [
        {**_bare(chart.to_dict()), "width": "container", "height": figure.height}
        for chart in figure.charts
    ]


def columns(figure: Figure) -> dict[str, list[Value]]:
    """The figure's data as JSON can hold it: what is not a finite number is null."""
    return {name: [_finite(value) for value in values] for name, values in figure.data.items()}


def png(figure: Figure) -> bytes:
    """The figure as an image on white, twice as fine as a screen."""
    import vl_convert

    data = columns(figure)
    width = _PNG_WIDTH // min(len(figure.charts), _PNG_PER_ROW)
    charts = [{**chart, "width": width} for chart in specifications(figure)]
    datasets = {
        _ROWS: [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    }
    for chart in charts:
        datasets |= chart.pop("datasets", {})
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 16,
        "config": _config(width),
        "datasets": datasets,
        **(charts[0] if len(charts) == 1 else _beside(charts)),
    }
    image: bytes = vl_convert.vegalite_to_png(in_light(json.dumps(specification)), scale=2)
    return image


def _config(width: int) -> dict[str, Any]:
    config = CHART_CONFIG
    legend = {**config["legend"], "columns": _PNG_WIDTH // _LEGEND_WIDTH, "labelLimit": 400}
    axis = {**config["axis"], "titleLimit": width}
    return {**config, "legend": legend, "axis": axis, "background": "white", "autosize": "pad"}


def _beside(charts: list[dict[str, Any]]) -> dict[str, Any]:
    shared = dict.fromkeys(("color", "strokeDash", "shape"), "shared")
    return {"columns": _PNG_PER_ROW, "concat": charts, "resolve": {"scale": shared}}


def _bare(specification: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in specification.items() if key not in {"$schema", "config"}}


def _finite(value: Value) -> Value:
    if isinstance(value, str | bool) or value is None:
        return value
    return float(value) if math.isfinite(value) else None
