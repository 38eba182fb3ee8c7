"""What a schema refuses, and what it answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from polyrank.errors import ConfigError
from polyrank.schema import (
    Binary,
    Categorical,
    Deduplicate,
    Duration,
    Feature,
    Keys,
    Numeric,
    Schema,
    Sequence,
    SideTable,
    Task,
    parse,
)
from tests.schema.trees import few, schemas

ITEM = Categorical(name="item_id", side="item")
CLICK = Binary(name="click")


def faults(features: tuple[Feature, ...], tasks: tuple[Task, ...], **rest: Any) -> dict[str, str]:
    """Message by place."""
    tree = {
        "features": [feature.model_dump() for feature in features],
        "tasks": [task.model_dump() for task in tasks],
        **rest,
    }
    with pytest.raises(ConfigError) as caught:
        parse(Schema, tree)
    found = caught.value.problems or (caught.value,)
    return {str(problem.where): problem.message for problem in found}


def test_a_label_as_a_feature_is_a_leak() -> None:
    leak = Numeric(name="eager", column="click")
    found = faults((ITEM, leak), (CLICK,))
    assert list(found) == ["features.1.column"]
    assert "feature 'eager' reads column 'click', which is a label: a leak" in next(
        iter(found.values())
    )


def test_a_mask_as_a_feature_is_a_leak() -> None:
    found = faults((ITEM, Numeric(name="seen")), (Binary(name="like", mask="seen"),))
    assert list(found) == ["features.1.column"]


@few
@given(schemas, st.data())
def test_any_label_in_any_feature_is_a_leak(schema: Schema, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(schema.features) - 1))
    column = data.draw(st.sampled_from(schema.label_columns()))
    tree = schema.model_dump()
    tree["features"][at]["column"] = column
    with pytest.raises(ConfigError, match="leak") as caught:
        parse(Schema, tree)
    assert caught.value.where == f"features.{at}.column"


def test_names_are_unique_among_their_kind() -> None:
    table = {"name": "t", "on": "a"}
    found = faults((ITEM, ITEM, ITEM), (CLICK, CLICK), tables=[table, table])
    assert list(found) == ["features.1.name", "features.2.name", "tasks.1.name", "tables.1.name"]
    # A feature may be called like a task: they are addressed apart.
    Schema(features=(Categorical(name="click", column="clicked_before"),), tasks=(CLICK,))


def test_references_must_be_categorical_features() -> None:
    numeric = Numeric(name="length")
    history = Sequence(name="history", shares="length")
    asks = Sequence(name="seen", shares="item_id", target="itemid", pooling="attention")
    found = faults((ITEM, numeric, history, asks), (CLICK,))
    assert list(found) == ["features.2.shares", "features.3.target"]
    assert "Known: item_id." in found["features.2.shares"]
    assert "Did you mean 'item_id'?" in found["features.3.target"]


def test_a_space_must_be_a_binary_task() -> None:
    watch = Duration(name="watch", within="clik")
    late = Binary(name="late", within="watch")
    found = faults((ITEM,), (CLICK, watch, late))
    assert list(found) == ["tasks.1.within", "tasks.2.within"]
    assert "Did you mean 'click'?" in found["tasks.1.within"]
    assert "no binary task" in found["tasks.2.within"]
    assert "Did you mean" not in found["tasks.2.within"]


def test_no_space_is_suggested_that_would_make_a_cycle() -> None:
    inner = Binary(name="buys", within="buyz")
    found = faults((ITEM,), (inner, Binary(name="buy", within="buys"), CLICK))
    assert found["tasks.0.within"].endswith("is no binary task. Known: click.")
    alone = faults((ITEM,), (inner,))
    assert alone["tasks.0.within"].endswith("is no binary task. Leave it out.")


def test_each_cycle_of_spaces_is_named_once() -> None:
    tasks = tuple(
        Binary(name=name, within=within)
        for name, within in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d"), ("e", "a")]
    )
    found = faults((ITEM,), tasks)
    assert found == {
        "tasks.0.within": "the sample spaces form a cycle: a -> b -> c -> a. "
        "Leave `within` out of one",
        "tasks.3.within": "the sample spaces form a cycle: d -> d. Leave `within` out of one",
    }


def test_all_inconsistencies_at_once() -> None:
    found = faults(
        (ITEM, Numeric(name="x", column="click"), Sequence(name="h", shares="nothing")),
        (CLICK, Binary(name="y", within="y"), Binary(name="z", within="zz"), CLICK),
    )
    assert set(found) == {
        "features.1.column",
        "features.2.shares",
        "tasks.1.within",
        "tasks.2.within",
        "tasks.3.name",
    }


@st.composite
def forests(draw: st.DrawFn) -> dict[str, str | None]:
    """Each task and the one it is within; parents stand anywhere in the order."""
    names = [f"t{i}" for i in range(draw(st.integers(1, 8)))]
    parents = {
        name: draw(st.sampled_from([None, *names[:i]])) if i else None
        for i, name in enumerate(names)
    }
    return {name: parents[name] for name in draw(st.permutations(names))}


@given(forests())
def test_space_is_the_chain_of_parents(parents: dict[str, str | None]) -> None:
    tasks = tuple(Binary(name=name, within=within) for name, within in parents.items())
    schema = Schema(features=(ITEM,), tasks=tasks)
    # Oracle: t is in the space of s if s can be reached by repeatedly stepping down from t.
    below = {name: {name} for name in parents}
    for _ in parents:
        for child, parent in parents.items():
            if parent is not None:
                below[parent] |= below[child]
    for name in parents:
        space = schema.space(name)
        assert set(space) == {t for t in parents if name in below[t] and t != name}
        sizes = [len(below[t]) for t in space]
        assert sizes == sorted(sizes)
        assert len(set(space)) == len(space)


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef"), min_size=1))
def test_a_cycle_is_refused_wherever_it_lies(steps: dict[str, str]) -> None:
    within = {name: steps.get(name) for name in "abcdef"}
    # Oracle: six steps do not leave a cycle.
    ends = dict.fromkeys(within, "")
    for name in within:
        here: str | None = name
        for _ in range(6):
            here = within[here] if here is not None else None
        ends[name] = here or ""
    tasks = tuple(Binary(name=name, within=parent) for name, parent in within.items())
    if any(ends.values()):
        assert all("cycle" in message for message in faults((ITEM,), tasks).values())
    else:
        assert Schema(features=(ITEM,), tasks=tasks).task_names == tuple("abcdef")


def test_columns_are_named_once_in_order() -> None:
    schema = Schema(
        features=(ITEM, Numeric(name="n", column="c"), Numeric(name="m", column="c")),
        tasks=(
            Binary(name="like", label="grade", positive=(5,), mask="seen"),
            Binary(name="hate", label="grade", positive=(1,), mask="seen"),
        ),
    )
    assert schema.feature_columns() == ("item_id", "c")
    assert schema.label_columns() == ("grade", "seen")


def test_what_is_addressed_by_name() -> None:
    schema = Schema(features=(ITEM,), tasks=(CLICK,))
    assert schema.feature("item_id") is schema.features[0]
    assert schema.task("click") is schema.tasks[0]
    with pytest.raises(ConfigError, match=r"no task 'clik'. Did you mean 'click'\?"):
        schema.task("clik")
    with pytest.raises(ConfigError, match=r"no feature 'click'. Known: item_id"):
        schema.feature("click")
    with pytest.raises(ConfigError, match="no task"):
        schema.space("purchase")


def test_defaults_that_repeat_another_field() -> None:
    assert (ITEM.column, CLICK.label) == ("item_id", "click")
    assert Sequence(name="h", shares="item_id").target == "item_id"
    assert SideTable(name="users", on="uid").key == "uid"


def test_seconds() -> None:
    units = {unit: Duration(name="w", unit=unit) for unit in ("ms", "s", "min")}
    # One minute, in each unit.
    for unit, amount in {"ms": 60_000, "s": 60, "min": 1}.items():
        assert units[unit].seconds_per_unit * amount == 60.0


def test_named_keys() -> None:
    assert Keys(user="u", time="t").named() == {"user": "u", "time": "t"}


def every_part(part: object) -> list[BaseModel]:
    inner = vars(part).values() if isinstance(part, BaseModel) else ()
    inner = part if isinstance(part, tuple) else inner
    found = [below for value in inner for below in every_part(value)]
    return [part, *found] if isinstance(part, BaseModel) else found


@few
@given(schemas)
def test_every_part_is_frozen_and_hashable(schema: Schema) -> None:
    for part in every_part(schema):
        name = next(iter(type(part).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, "other")
    assert hash(schema) == hash(parse(Schema, json.loads(schema.model_dump_json())))


def test_deduplicate_may_name_no_column() -> None:
    assert Deduplicate().columns == ()
