"""Strategies for schemas, as the plain trees a user writes."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from polyrank.schema import Schema, parse

HOSTILE = [
    "yes",
    "No",
    "null",
    "~",
    "1e-3",
    "0x1F",
    "1_000",
    "-1",
    "#tag",
    "a:b",
    'quo"ted',
    "it's",
    "{x}",
    "[y]",
    "-a",
    "*alias",
    "&anchor",
    "!tag",
    "|",
    ">",
    "%",
    "@a",
    "`b`",
    "日本語",
    "😀",
    "é",
    "\x00\x7f",
    "\u200b\ufeff",
    "=",
    ",",
]

names = st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=12).map(
    lambda text: re.sub(r"[\s./\\]", "_", text)
)
columns = st.sampled_from([*HOSTILE, "two words", "a.b/c\\d", " ", "line\nbreak"]) | st.text(
    min_size=1, max_size=12
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
missing = st.lists(numbers | st.text(max_size=5), max_size=3)
sides = st.sampled_from(["user", "item", "context"])


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def feature(kind: str, names_of: dict[str, Any], **optional: Any) -> Any:
    shared = {"column": columns.map(lambda c: f"x{c}"), "side": sides, "missing_values": missing}
    return some({"kind": st.just(kind), **names_of}, shared | optional)


def with_one_way(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in tree.items() if not (k == "max_size" and "buckets" in tree)}


vocabulary = {
    "min_frequency": st.integers(1, 99),
    "max_size": st.none() | st.integers(1, 10**6),
    "buckets": st.none() | st.integers(2, 10**6),
}


@st.composite
def feature_trees(draw: st.DrawFn, name: str, ids: list[str]) -> dict[str, Any]:
    named = {"name": st.just(name)}
    length = st.integers(1, 500)
    separator = st.none() | st.text(min_size=1, max_size=3)
    shares = st.sampled_from(ids)
    choices = [
        feature("categorical", named, **vocabulary).map(with_one_way),
        feature(
            "numeric",
            named,
            scaling=st.sampled_from(["quantile", "log", "standard", "none", "bins"]),
            num_bins=st.integers(2, 4096),
            on_missing=st.sampled_from(["impute", "refuse"]),
        ),
        feature("bag", named, separator=separator, max_length=length, **vocabulary).map(
            with_one_way
        ),
        feature("embedding", named | {"dim": st.integers(1, 999)}),
        feature(
            "sequence",
            named | {"shares": shares},
            pooling=st.sampled_from(["mean", "attention"]),
            target=shares,
            separator=separator,
            max_length=length,
        ),
    ]
    return draw(st.one_of(choices))


@st.composite
def task_trees(draw: st.DrawFn, name: str, parents: list[str]) -> dict[str, Any]:
    shared = {
        "label": columns,
        "mask": st.none() | columns,
        "within": st.none() | st.sampled_from(parents) if parents else st.none(),
        "sign": st.sampled_from(["good", "bad"]),
        "missing_values": missing,
    }
    positive = st.floats(1e-12, 1e12)
    values = st.floats(-1e9, 1e9)
    without_missing = {key: own for key, own in shared.items() if key != "missing_values"}
    choices = [
        some(
            {"kind": st.just("binary"), "name": st.just(name)},
            shared
            | {
                "positive": st.lists(st.integers() | st.text(max_size=5), max_size=3),
                "keep_rate": st.floats(0, 1, exclude_min=True),
            },
        ),
        some(
            {"kind": st.just("regression"), "name": st.just(name)},
            shared | {"delta": positive, "lower": st.none() | st.floats(-1e9, 0)},
        ),
        some(
            {"kind": st.just("duration"), "name": st.just(name)},
            shared | {"unit": st.sampled_from(["ms", "s", "min"]), "limit": positive},
        ),
        some(
            {"kind": st.just("ordinal"), "name": st.just(name)},
            without_missing
            | {"levels": st.lists(values, min_size=2, max_size=4, unique=True).map(sorted)},
        ),
        some(
            {
                "kind": st.just("multiclass"),
                "name": st.just(name),
                "classes": st.dictionaries(
                    st.integers() | st.text(max_size=5), values, min_size=2, max_size=4
                ).filter(lambda classes: len(set(map(str, classes))) == len(classes)),
            },
            without_missing,
        ),
    ]
    return draw(st.one_of(choices))


@st.composite
def schema_trees(draw: st.DrawFn) -> dict[str, Any]:
    """A valid tree: features read columns that begin with x, labels others."""
    feature_names = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    first = draw(feature("categorical", {"name": st.just(feature_names[0])}))
    features = [first] + [draw(feature_trees(n, feature_names[:1])) for n in feature_names[1:]]
    for tree in features:
        tree.setdefault("column", f"x{tree['name']}")
    tasks: list[dict[str, Any]] = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        parents = [task["name"] for task in tasks if task["kind"] == "binary"]
        tree = draw(task_trees(name, parents))
        tasks.append({**tree, "label": "y" + tree.get("label", name)[:200]})
        if tasks[-1].get("mask"):
            tasks[-1]["mask"] = "y" + tasks[-1]["mask"]
    roles = ["user", "item", "request", "time", "position", "propensity", "weight"]
    table = some({"name": names, "on": columns}, {"key": columns, "prefix": st.text(max_size=4)})
    rest = some(
        {"features": st.just(features), "tasks": st.just(tasks)},
        {
            "keys": st.dictionaries(st.sampled_from(roles), st.none() | columns),
            "tables": st.lists(table, max_size=3, unique_by=lambda tree: tree["name"]),
            "deduplicate": st.none()
            | some(
                {},
                {
                    "columns": st.lists(columns, max_size=3, unique=True),
                    "keep": st.sampled_from(["first", "error"]),
                    "window": st.integers(0, 10**9),
                },
            ),
        },
    )
    return draw(rest)


few = settings(max_examples=40)
"""Schemas take long to draw; each holds many cases."""

schemas = schema_trees().map(lambda tree: parse(Schema, tree))
