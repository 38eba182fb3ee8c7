"""Where a library is missing, the message says what needs it, which it is and how to get it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from polyrank import pages
from polyrank.errors import ConfigError
from polyrank.installed import LIBRARIES, missing, require
from polyrank.scoring.engines.onnx import require_runtime
from polyrank.serving.telemetry import traced

ROOT = Path(__file__).resolve().parents[1]


def test_a_module_is_missing_where_it_or_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    asked = ("json", "json.decoder", "no_such", "no_such.inner", "json.no_such", "onnxruntime")
    assert missing(*asked) == ["no_such", "no_such.inner", "json.no_such", "onnxruntime"]
    assert missing() == []
    require("export", "json", where="here")


def test_the_message_has_what_where_and_the_cure() -> None:
    with pytest.raises(ConfigError) as caught:
        require(
            "report", "no_such", "json", "vl_convert.no", where="page", otherwise="or draw none"
        )
    assert str(caught.value) == (
        "page: needs no_such and vl_convert.no, which are not installed."
        " Install the extra: pip install 'polyrank[report]'; or draw none."
    )
    assert caught.value.exit_code == 2


def telemetry() -> None:
    with traced(PlainTextResponse(), "http://collector"):
        pytest.fail("nothing tells the collector")


@pytest.mark.parametrize(
    ("module", "refuse", "told"),
    [
        ("altair", pages.require_report, "page: needs altair, which is .*'polyrank[report]'."),
        ("vl_convert", pages.require_report, "page: needs vl-convert-python.*polyrank[report]"),
        ("opentelemetry.sdk", telemetry, "otlp: needs opentelemetry-sdk.*polyrank[telemetry]"),
        ("onnxruntime", require_runtime, "engine: needs onnxruntime.*polyrank[export].*'eager'"),
    ],
)
def test_who_needs_an_extra_asks_for_it(
    module: str, refuse: Callable[[], None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=told.replace("[", r"\[").replace("]", r"\]")):
        refuse()


def test_the_extra_that_is_named_has_what_is_missing() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.split(r"[\[<>=]", library)[0] for library in libraries}
        for extra, libraries in declared["optional-dependencies"].items()
    }
    asked = [call for path in (ROOT / "src").rglob("*.py") for call in _required(path)]
    assert {extra for extra, *_ in asked} == {"export", "report", "serve", "telemetry"}
    for extra, *modules in asked:
        assert {LIBRARIES.get(module, module) for module in modules} <= extras[extra], extra


def _required(path: Path) -> list[list[str]]:
    """The words of each call of ``require``: the extra, and modules of it."""
    text = path.read_text()
    calls = ast.walk(ast.parse(text)) if "polyrank.installed import" in text else ()
    return [
        [ast.literal_eval(word) for word in call.args]
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "require"
    ]
