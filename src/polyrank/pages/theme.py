"""Colours of every page, in light and dark, and the look of its charts.

Charts name a colour as a variable of the page's style (``var(--task-0)``), so that they follow the
reader's choice of light or dark, and print in light, without being drawn again. In a PNG the
variables are replaced by their light values.

The colours of tasks were searched for: at least 3:1 against the page in light and dark, as far
apart as possible to readers with each kind of colour blindness, and of different lightness, so that
they differ in grey too. Beyond that each task has a dash pattern and a shape of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

TASK_COLORS: Final = (
    ("#0a8be6", "#627ee3"),
    ("#a04e0c", "#ff8f66"),
    ("#00452f", "#a8f1d8"),
    ("#673e83", "#dfb8ff"),
    ("#98744e", "#ffce65"),
    ("#097c82", "#00adc0"),
    ("#ac1f53", "#c37d8f"),
    ("#9877bd", "#b098ed"),
)
DASHES: Final = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2), (12, 4), (2, 4))
SHAPES: Final = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
)

PAGE: Final = "var(--page)"
INK: Final = "var(--ink)"
MUTED: Final = "var(--muted)"
FAINT: Final = "var(--faint)"
RULE: Final = "var(--rule)"
ACCENT: Final = "var(--accent)"
GOOD: Final = "var(--good)"
BAD: Final = "var(--bad)"
DIVERGING: Final = tuple(f"var(--diverging-{step})" for step in range(7))
"""From clearly negative over nothing to clearly positive, for a quantised or threshold scale."""
SEQUENTIAL: Final = tuple(f"var(--sequential-{step})" for step in range(6))
"""From little to much, for a quantised or threshold scale."""

_DIVERGING = (
    ("#8c3a04", "#ff9a5c"),
    ("#cf7a3c", "#c4702f"),
    ("#f0c9a8", "#6b4023"),
    ("#eef0f2", "#272b31"),
    ("#b5d3ee", "#254664"),
    ("#5b9bd5", "#3579b4"),
    ("#0b5394", "#79bbf5"),
)
_SEQUENTIAL = (
    ("#edf3f9", "#1d2733"),
    ("#cfe0f0", "#23405c"),
    ("#9fc3e3", "#2a5c88"),
    ("#66a0d0", "#3a7fb8"),
    ("#2f78b5", "#62a8de"),
    ("#0b4a85", "#a4d3fb"),
)

VARIABLES: Final = MappingProxyType(
    {
        "page": ("#ffffff", "#15181c"),
        "panel": ("#f6f7f9", "#1d2126"),
        "ink": ("#1b1f24", "#e8eaed"),
        "muted": ("#59626d", "#a3acb7"),
        "faint": ("#a4acb6", "#5d6670"),
        "rule": ("#dfe3e8", "#333941"),
        "accent": ("#0b5cad", "#7db8f7"),
        "good": ("#1a7340", "#63c98c"),
        "bad": ("#b3261e", "#ff8a80"),
    }
    | {f"task-{index}": pair for index, pair in enumerate(TASK_COLORS)}
    | {f"diverging-{index}": pair for index, pair in enumerate(_DIVERGING)}
    | {f"sequential-{index}": pair for index, pair in enumerate(_SEQUENTIAL)}
)
"""Colour by name: in light and in dark."""

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def css_variables(column: int) -> str:
    """Declarations of all colours in light (0) or dark (1)."""
    return "".join(f"--{name}:{pair[column]};" for name, pair in VARIABLES.items())


def in_light(text: str) -> str:
    """The text with every colour variable replaced by its light value."""
    return re.sub(r"var\(--([a-z0-9-]+)\)", lambda found: VARIABLES[found[1]][0], text)


CHART_CONFIG: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "font": FONT,
        "background": "transparent",
        "aria": False,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": 4,
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED,
            "labelFontSize": 12,
            "titleColor": INK,
            "titleFontSize": 12,
            "titleFontWeight": 600,
            "titlePadding": 8,
            "domainColor": FAINT,
            "tickColor": FAINT,
            "tickSize": 4,
            "gridColor": RULE,
            "gridOpacity": 0.7,
            "labelOverlap": True,
        },
        "axisX": {"grid": False, "tickCount": 5},
        "axisY": {
            "domain": False,
            "labelPadding": 6,
            "ticks": False,
            "tickCount": 5,
            "titleAngle": 0,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleBaseline": "bottom",
            "titleX": 0,
            "titleY": -10,
        },
        "legend": {
            "orient": "top",
            "offset": 34,  # the title of y stands between
            "labelColor": INK,
            "labelFontSize": 12,
            "labelLimit": 220,
            "titleColor": MUTED,
            "titleFontSize": 12,
            "titleFontWeight": 400,
            "symbolSize": 90,
            "symbolOpacity": 1,
            "gradientLength": 200,
        },
        "title": {
            "anchor": "start",
            "color": INK,
            "fontSize": 13,
            "fontWeight": 600,
            "offset": 8,
        },
        "line": {"color": ACCENT, "strokeWidth": 2},
        "point": {"color": ACCENT, "filled": True, "size": 45, "opacity": 1},
        "bar": {"color": ACCENT},
        "area": {"color": ACCENT},
        "rect": {"color": ACCENT},
        "errorbar": {"color": INK},
        "rule": {"color": MUTED},
        "text": {"color": INK, "fontSize": 12},
    }
)
"""Vega-Lite's configuration of every chart: quiet axes, a legend on top, no frame."""
