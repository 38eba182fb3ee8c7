"""Every fault is reported, at its place, with a cure."""

import copy
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from polyrank.errors import ConfigError
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Declared,
    Deduplicate,
    Duration,
    Embedding,
    Faults,
    Keys,
    Numeric,
    Regression,
    Schema,
    Sequence,
    SideTable,
    parse,
)

FEATURES: list[dict[str, Any]] = [
    {"kind": "categorical", "name": "item_id"},
    {"kind": "numeric", "name": "length"},
    {"kind": "bag", "name": "tags"},
    {"kind": "sequence", "name": "history", "shares": "item_id"},
    {"kind": "embedding", "name": "vector", "dim": 8},
]
TASKS: list[dict[str, Any]] = [
    {"kind": "binary", "name": "click"},
    {"kind": "regression", "name": "rating"},
    {"kind": "duration", "name": "watch"},
]
TREE: dict[str, Any] = {
    "features": FEATURES,
    "tasks": TASKS,
    "keys": {"user": "user_id"},
    "tables": [{"name": "users", "on": "user_id"}],
    "deduplicate": {"window": 3},
}
FEATURE_KINDS: list[type[Declared]] = [Categorical, Numeric, Bag, Sequence, Embedding]
TASK_KINDS: list[type[Declared]] = [Binary, Regression, Duration]
LEVELS: dict[str, type[Declared]] = {
    "": Schema,
    **{f"features.{i}": kind for i, kind in enumerate(FEATURE_KINDS)},
    **{f"tasks.{i}": kind for i, kind in enumerate(TASK_KINDS)},
    "keys": Keys,
    "tables.0": SideTable,
    "deduplicate": Deduplicate,
}


def at(tree: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


def problems(
    tree: Any, model: type[Declared] = Schema, where: str = "run.yaml"
) -> list[ConfigError]:
    with pytest.raises(ConfigError) as caught:
        parse(model, tree, where=where)
    if not caught.value.problems:
        return [caught.value]
    assert caught.value.where == (where or None)
    assert str(len(caught.value.problems)) in caught.value.message
    return [problem for problem in caught.value.problems if isinstance(problem, ConfigError)]


def only(tree: Any, model: type[Declared] = Schema) -> ConfigError:
    found = problems(tree, model)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def changed(path: str, key: str, value: object) -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    at(tree, path)[key] = value
    return tree


def test_the_tree_is_valid_as_it_stands() -> None:
    assert parse(Schema, TREE).task_names == ("click", "rating", "watch")


@pytest.mark.parametrize(
    ("path", "key"), [(path, key) for path, kind in LEVELS.items() for key in kind.model_fields]
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_known(path: str, key: str) -> None:
    typo = key + key[-1]
    problem = only(changed(path, typo, 1))
    assert problem.where == f"run.yaml: {path}.{typo}".replace(": .", ": ")
    assert problem.message == f"unknown key {typo!r}"
    assert problem.hint == f"Did you mean {key!r}?"


@pytest.mark.parametrize("path", LEVELS)
def test_a_far_off_key_gets_all_that_stand_there(path: str) -> None:
    hint = only(changed(path, "qqqqqq", 1)).hint
    assert hint == f"Known: {', '.join(sorted(LEVELS[path].model_fields))}."


def test_unknown_kinds() -> None:
    problem = only(changed("features.1", "kind", "numerc"))
    assert (problem.where, problem.message) == (
        "run.yaml: features.1.kind",
        "unknown kind 'numerc'",
    )
    assert problem.hint == "Did you mean 'numeric'?"
    problem = only(changed("tasks.2", "kind", "?"))
    assert problem.hint == "Known: binary, duration, multiclass, ordinal, regression."


def test_a_missing_kind() -> None:
    tree = changed("tasks.1", "name", "x")
    del tree["tasks"][1]["kind"]
    problem = only(tree)
    assert problem.where == "run.yaml: tasks.1.kind"
    assert problem.message == "`kind` is missing"
    assert problem.hint == "Known: binary, duration, multiclass, ordinal, regression."


@pytest.mark.parametrize(
    ("path", "key", "value", "where", "message"),
    [
        ("", "features", [], "features", "must not be empty, got []"),
        ("", "features", {"a": 1}, "features", "must be a list, got {'a': 1}"),
        ("", "keys", None, "keys", "must be a mapping, got None"),
        ("features.0", "name", "a b", "features.0.name", "a name must hold no white space, dot or"),
        ("features.0", "name", "", "features.0.name", "must not be empty, got ''"),
        ("features.0", "name", 5, "features.0.name", "must be text, got 5"),
        ("features.2", "separator", "", "features.2.separator", "must not be empty, got ''"),
        ("features.3", "separator", "", "features.3.separator", "must not be empty, got ''"),
        ("features.0", "side", "usr", "features.0.side", "'context' or 'bias', got 'usr'"),
        ("features.0", "buckets", 1, "features.0.buckets", "greater than or equal to 2, got 1"),
        ("features.0", "buckets", "many", "features.0.buckets", "whole number"),
        ("features.1", "scaling", 1, "features.1.scaling", "'bins', got 1"),
        ("features.4", "dim", 0, "features.4.dim", "greater than 0, got 0"),
        ("tasks.0", "keep_rate", 0, "tasks.0.keep_rate", "greater than 0, got 0"),
        ("tasks.0", "keep_rate", float("nan"), "tasks.0.keep_rate", "got nan"),
        ("tasks.2", "unit", "h", "tasks.2.unit", "'ms', 's' or 'min', got 'h'"),
        ("tables.0", "on", "", "tables.0.on", "must not be empty"),
        ("keys", "user", 7, "keys.user", "must be text, got 7"),
        ("deduplicate", "columns", "a", "deduplicate.columns", "must be a list, got 'a'"),
        ("deduplicate", "columns", ["a", "a"], "deduplicate.columns", "names a column twice"),
        (
            "features.0",
            "missing_values",
            [1, None],
            "features.0.missing_values.1",
            "must be a whole number or a number or text, got None",
        ),
    ],
)
def test_a_faulty_value_is_shown_with_its_place_and_rule(
    path: str, key: str, value: object, where: str, message: str
) -> None:
    problem = only(changed(path, key, value))
    assert problem.where == f"run.yaml: {where}"
    assert message in problem.message


def test_long_values_are_cut() -> None:
    problem = only(changed("", "features", "x" * 5000))
    assert len(problem.message) < 120


def test_two_options_that_exclude_each_other() -> None:
    tree = changed("features.2", "buckets", 5)
    tree["features"][2]["max_size"] = 5
    problem = only(tree)
    assert problem.where == "run.yaml: features.2"
    assert "exclude each other" in problem.message


def test_an_empty_range() -> None:
    tree = changed("tasks.1", "lower", 5.0)
    tree["tasks"][1]["upper"] = 5.0
    assert "`lower` must be below `upper`, got 5.0 and 5.0" in only(tree).message


@pytest.mark.parametrize("path", ["features.0", "features.3", "tasks.0", "tables.0"])
def test_what_follows_from_a_fault_is_no_fault_of_its_own(path: str) -> None:
    tree = copy.deepcopy(TREE)
    key = "on" if path == "tables.0" else "name"
    del at(tree, path)[key]
    problem = only(tree)
    assert (problem.where, problem.message) == (f"run.yaml: {path}.{key}", "is missing")
    at(tree, path)[key] = 7
    assert only(tree).where == f"run.yaml: {path}.{key}"


def test_a_missing_reference_is_one_fault() -> None:
    tree = copy.deepcopy(TREE)
    del tree["features"][3]["shares"]
    assert only(tree).where == "run.yaml: features.3.shares"


PLANTS: dict[str, tuple[str, str, object]] = {
    "features.0.sidee": ("features.0", "sidee", "user"),
    "features.1.scaling": ("features.1", "scaling", "cube"),
    "features.2.max_length": ("features.2", "max_length", 0),
    "features.3.kind": ("features.3", "kind", "sequnce"),
    "features.4.name": ("features.4", "name", "a.b"),
    "tasks.0.sign": ("tasks.0", "sign", "ugly"),
    "tasks.1.delta": ("tasks.1", "delta", -1),
    "tasks.2.missing_values.0": ("tasks.2", "missing_values", [{}]),
    "keys.usr": ("keys", "usr", "u"),
    "tables.0.key": ("tables.0", "key", 3),
    "deduplicate.keep": ("deduplicate", "keep", "last"),
    "tabels": ("", "tabels", []),
}


@given(st.lists(st.sampled_from(list(PLANTS)), min_size=1, unique=True))
def test_all_faults_at_once(planted: list[str]) -> None:
    tree = copy.deepcopy(TREE)
    for place in planted:
        path, key, value = PLANTS[place]
        at(tree, path)[key] = value
    found = [problem.where for problem in problems(tree)]
    assert sorted(found, key=str) == sorted(f"run.yaml: {place}" for place in planted)


def test_where_may_be_left_out() -> None:
    assert [p.where for p in problems(changed("", "x", 1), where="")] == ["x"]
    assert [p.where for p in problems([1], where="")] == [None]


def test_no_mapping_at_all() -> None:
    problem = only([1])
    assert (problem.where, problem.message) == ("run.yaml", "must be a mapping, got [1]")


class _Left(Declared):
    kind: Literal["left"] = "left"
    size: int = 1


class _Right(Declared):
    kind: Literal["right"] = "right"
    sizes: dict[str, _Left] = {}
    inner: _Left | None = None


class _Outer(Declared):
    """Shapes that the schema itself does not have: a tag behind a key, an alias, mappings."""

    either: Annotated[_Left | _Right, Field(discriminator="kind")] = _Left()
    path: str | tuple[str, ...] = ""
    schema_: dict[str, int] = Field(default={}, alias="schema")
    pair: tuple[int, str] = (0, "")
    anything: Any = None
    mixed: dict[str, str | int] = {}

    @model_validator(mode="after")
    def _faults(self) -> "_Outer":
        if self.path == "two":
            raise Faults([("path", "one fault"), ("either.kind", "another")])
        return self


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ({"either": {"kind": "left", "sise": 1}}, "either.sise"),
        ({"either": {"kind": "left", "size": "x"}}, "either.size"),
        ({"either": {"kind": "right", "sizes": {"left": {"siz": 1}}}}, "either.sizes.left.siz"),
        ({"either": {"kind": "right", "inner": {"siz": 1}}}, "either.inner.siz"),
        ({"path": 3}, "path"),
        ({"path": ["a", 3]}, "path"),
        ({"schema": {"a": "x"}}, "schema.a"),
        ({"shema": {}}, "shema"),
        ({"pair": [1, 2]}, "pair.1"),
        ({"pair": ["x", "y"]}, "pair.0"),
        ({"mixed": {"a": None}}, "mixed.a"),
    ],
)
def test_places_in_other_shapes(tree: dict[str, Any], where: str) -> None:
    found = problems(tree, _Outer)
    assert {problem.where for problem in found} <= {f"run.yaml: {where}", f"run.yaml: {where}.1"}


def test_an_alias_is_what_is_suggested() -> None:
    assert only({"shema": {}}, _Outer).hint == "Did you mean 'schema'?"


def test_several_faults_of_one_validator_have_a_place_each() -> None:
    found = problems({"path": "two"}, _Outer)
    assert [(problem.where, problem.message) for problem in found] == [
        ("run.yaml: path", "one fault"),
        ("run.yaml: either.kind", "another"),
    ]


def test_a_call_names_its_faults_as_a_tree_does() -> None:
    with pytest.raises(ConfigError) as caught:
        _Outer(path="two")
    assert [problem.where for problem in caught.value.problems] == [
        "_Outer: path",
        "_Outer: either.kind",
    ]
    with pytest.raises(ConfigError, match="^Keys: usr: .* Did you mean 'user'"):
        Keys(usr="user_id")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^Binary: .* got 'click'. Write Binary\(name=...\)"):
        Binary("click")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="^Bag: max_length: .* greater than 0, got 0"):
        Bag(name="tags", max_length=0)
    assert Binary(name="click") == parse(Binary, {"kind": "binary", "name": "click"})
