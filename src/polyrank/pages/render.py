"""A page as one HTML text that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from polyrank.pages.blocks import Figure, Page
from polyrank.pages.charts import columns, javascript, specifications
from polyrank.pages.theme import CHART_CONFIG, TASK_COLORS, css_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def render(page: Page) -> str:
    """The page's HTML. Strings are escaped, and no script but the page's own may run in it."""
    from markupsafe import Markup

    style, scripts = _style(), _scripts(page)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            num_colors=len(TASK_COLORS),
            policy=_policy(style, scripts),
            style=Markup(style),  # noqa: S704 - ours, not the user's
            scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_asset),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"with_code": _with_code, "figure_json": _figure_json}
    return environment


def _asset(name: str) -> str:
    return (files("polyrank.pages") / "assets" / name).read_text("utf-8")


@cache
def _style() -> str:
    swatches = "".join(
        f".task-{place}{{--swatch:var(--task-{place})}}" for place in range(len(TASK_COLORS))
    )
    return (
        f":root{{color-scheme:light dark;{css_variables(0)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{css_variables(1)}}}}}"
        f"{swatches}\n{_asset('page.css')}"
    )


def _scripts(page: Page) -> list[str]:
    figures = page.figures()
    behaviours = {one.behaviour.name: one.behaviour.script for one in figures if one.behaviour}
    start = f"polyrank.startAll({json.dumps(dict(CHART_CONFIG))});"
    libraries = [javascript()] if figures else []
    scripts = [*libraries, _asset("page.js"), *behaviours.values(), start]
    assert all("</script" not in script.lower() for script in scripts)
    return scripts


def _policy(style: str, scripts: list[str]) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _with_code(text: str) -> Markup:
    from markupsafe import Markup, escape

    marked = _CODE.sub(_code, str(escape(text)))
    return Markup(marked)  # noqa: S704 - escaped above


def _code(found: re.Match[str]) -> str:
    text = found[2]
    padded = len(found[1]) > 1 and text[0] == text[-1] == " "
    return f"<code>{text[1:-1] if padded else text}</code>"


def _figure_json(figure: Figure) -> Markup:
    from jinja2.utils import htmlsafe_json_dumps

    content: dict[str, Any] = {
        "specs": specifications(figure),
        "columns": columns(figure),
        "labels": dict(figure.labels),
        "behaviour": figure.behaviour
        and {"name": figure.behaviour.name, "data": dict(figure.behaviour.data)},
    }
    return htmlsafe_json_dumps(content, dumps=_compact)


def _compact(content: object, **_: object) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
