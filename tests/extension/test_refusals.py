"""What does not extend its parent is refused: every difference, both values and the cure."""

from __future__ import annotations

from typing import Any

import pytest

from polyrank.config import RunConfig
from polyrank.errors import ConfigError
from polyrank.lineage import extended
from polyrank.schema import Categorical, Duration, Numeric, Schema, SideTable, parse
from tests.extension.worlds import (
    CLICK,
    FEATURES,
    KEYS,
    LIKE,
    NEW_TASKS,
    SHARE,
    WATCH,
    config_of,
    model_of,
    parent_of,
    schema_of,
)

MMOE = {"kind": "mmoe", "num_experts": 2, "widths": [16]}
MODEL = model_of(MMOE)
PARENT = parent_of(MODEL, schema_of((CLICK, LIKE, WATCH)))
FINE = config_of(MODEL, (CLICK, LIKE, WATCH, SHARE))


def with_schema(**changed: Any) -> RunConfig:
    """A run of another schema, which is checked as one."""
    schema = FINE.schema_
    parts = {"features": schema.features, "tasks": schema.tasks, "keys": KEYS, **changed}
    return FINE.model_copy(update={"schema_": Schema(**parts)})


def with_task(**changed: Any) -> RunConfig:
    """A run whose task of the same name means something else."""
    old = FINE.schema_.task(changed.pop("of"))
    new = type(old)(**{**old.model_dump(), **changed})
    tasks = [new if task.name == old.name else task for task in FINE.schema_.tasks]
    return with_schema(tasks=tuple(tasks))


def with_feature(place: int, feature: Any) -> RunConfig:
    features = list(FEATURES)
    features[place] = feature
    return with_schema(features=tuple(features))


def refused(config: RunConfig, parent: Any = PARENT) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        extended(config, parent)
    assert caught.value.exit_code == 2
    return caught.value


def test_what_extends_its_parent_is_not_refused() -> None:
    config, origin = extended(FINE, PARENT)
    assert origin is not None
    assert config.schema_ == FINE.schema_
    assert origin.added(config.schema_) == ("share",)


@pytest.mark.parametrize(
    ("config", "where", "message"),
    [
        (with_task(of="like", label="loved"), "like.label", '"like" in the parent, "loved" here'),
        (with_task(of="like", mask="weight"), "like.mask", 'null in the parent, "weight" here'),
        (with_task(of="like", within=None), "like.within", '"click" in the parent, null here'),
        (with_task(of="watch", unit="ms"), "watch.unit", '"s" in the parent, "ms" here'),
        (with_task(of="click", positive=(1,)), "click.positive", "[] in the parent, [1] here"),
        (with_task(of="click", keep_rate=0.5), "click.keep_rate", "1.0 in the parent, 0.5 here"),
        (
            with_schema(
                tasks=(CLICK, LIKE, SHARE, Duration(name="watch", within="click", limit=9))
            ),
            "watch.limit",
            "86400.0 in the parent, 9.0 here",
        ),
    ],
)
def test_a_task_keeps_its_meaning(config: RunConfig, where: str, message: str) -> None:
    told = str(refused(config))
    cure = "Restore it, or give what is new another name: it is a further task."
    assert told == f"schema.tasks.{where}: {message}. {cure}"


def test_a_task_of_another_kind_is_told_once() -> None:
    watch = CLICK.model_copy(update={"name": "watch", "label": "watch"})
    told = str(refused(with_schema(tasks=(CLICK, LIKE, SHARE, watch))))
    assert told.startswith('schema.tasks.watch.kind: "duration" in the parent, "binary" here. ')


@pytest.mark.parametrize(
    ("feature", "where", "message"),
    [
        (
            Categorical(name="item", column="thing", side="item", min_frequency=1),
            "column",
            '"item"',
        ),
        (Categorical(name="item", min_frequency=1), "side", '"item" in the parent, "context" here'),
        (
            Categorical(name="item", side="item", min_frequency=3),
            "min_frequency",
            "1 in the parent, 3 here",
        ),
        (Numeric(name="item", side="item"), "kind", '"categorical" in the parent, "numeric" here'),
    ],
)
def test_a_feature_keeps_its_meaning(feature: Any, where: str, message: str) -> None:
    told = str(refused(with_feature(1, feature)))
    assert told.startswith(f"schema.features.item.{where}: {message}")
    assert told.endswith(" here. Restore it, or train afresh without --from.")


def test_the_scaling_of_a_number_is_its_meaning() -> None:
    told = str(refused(with_feature(4, Numeric(name="age", side="user", scaling="log"))))
    assert told.startswith('schema.features.age.scaling: "quantile" in the parent, "log" here. ')


def test_tasks_and_features_do_not_go() -> None:
    found = refused(with_schema(tasks=(CLICK, WATCH), features=FEATURES[:4]))
    assert [str(problem) for problem in found.problems] == [
        "schema.tasks.like: the parent predicts this task, and it is gone. Declare it as there, or "
        "train afresh without --from.",
        "schema.features.age: the parent reads this feature, and it is gone. Declare it as there, "
        "or train afresh without --from.",
    ]


def test_features_do_not_come() -> None:
    config = with_schema(features=(Numeric(name="length"), *FEATURES))
    assert str(refused(config)) == (
        "schema.features.length: the parent does not read this feature, and layers that are "
        "trained have no weights for it. Leave it out, or train afresh without --from."
    )


def test_side_tables_stay_as_they_are() -> None:
    items = SideTable(name="items", on="item")
    joined = Schema(features=FEATURES, tasks=(CLICK, LIKE, WATCH), keys=KEYS, tables=(items,))
    parent = parent_of(MODEL, joined)
    told = str(refused(FINE, parent))
    assert told.startswith("schema.tables.items: the parent's features stand in this side table")
    other = items.model_copy(update={"key": "id"})
    told = str(refused(with_schema(tables=(other,)), parent))
    assert told.startswith('schema.tables.items.key: "item" in the parent, "id" here. Restore it')


@pytest.mark.parametrize(
    ("model", "where", "message"),
    [
        (model_of(MMOE, embedding_dim=8), "embedding_dim", "4 in the parent, 8 here"),
        (model_of(MMOE, towers={"widths": [16]}), "towers.widths", "[8] in the parent, [16] here"),
        (model_of({**MMOE, "num_experts": 3}), "sharing.num_experts", "2 in the parent, 3 here"),
        (
            model_of({"kind": "cgc", "widths": [16]}),
            "sharing.kind",
            '"mmoe" in the parent, "cgc" here',
        ),
        (
            model_of(MMOE, interaction={"kind": "dcn_v2"}),
            "interaction.kind",
            '"none" in the parent, "dcn_v2" here',
        ),
        (
            model_of(MMOE, funnel={"kind": "esmm"}),
            "funnel.kind",
            '"masked" in the parent, "esmm" here',
        ),
        (
            model_of(MMOE, heads={"watch": {"kind": "wlr"}}),
            "heads.watch.kind",
            '"log1p" in the parent, "wlr" here',
        ),
    ],
)
def test_the_network_stays_as_it_is(model: Any, where: str, message: str) -> None:
    told = str(refused(FINE.model_copy(update={"model": model})))
    assert told == f"model.{where}: {message}. Restore it, or train afresh without --from."


def test_a_head_may_be_named_that_was_there_by_default() -> None:
    heads = {"watch": {"kind": "log1p"}, "share": {"kind": "cross_entropy"}}
    extended(FINE.model_copy(update={"model": model_of(MMOE, heads=heads)}), PARENT)


def test_a_head_that_is_left_out_is_the_default() -> None:
    parent = parent_of(model_of(MMOE, heads={"watch": {"kind": "wlr"}}), PARENT.schema)
    told = str(refused(FINE, parent))
    assert told.startswith('model.heads.watch.kind: "wlr" in the parent, "log1p" here. ')


def test_a_term_of_a_further_task_is_its_own_affair() -> None:
    lists = {"share": {"kind": "ranknet"}}
    extended(FINE.model_copy(update={"model": model_of(MMOE, lists=lists)}), PARENT)
    told = str(
        refused(FINE.model_copy(update={"model": model_of(MMOE, lists={"click": lists["share"]})}))
    )
    assert told.startswith("model.lists.click: null in the parent, ")


def test_another_draw_of_the_further_weights_is_no_difference() -> None:
    extended(FINE.model_copy(update={"model": model_of(MMOE, seed_offset=3)}), PARENT)


def test_a_budget_is_told_as_the_widths_that_it_gave() -> None:
    shape = {"kind": "cgc", "widths": [16], "budget": 3000}
    parent = parent_of(model_of(shape))
    told = str(refused(config_of(model_of(shape)), parent))
    assert told.startswith("model.sharing.widths: [")
    assert told.endswith("spread over all tasks: write the parent's widths in its place.")
    widths = told.partition(": [")[2].partition("]")[0]
    plain = {"kind": "cgc", "widths": [int(widths)]}
    extended(config_of(model_of(plain)), parent)


def test_everything_is_told_at_once() -> None:
    config = with_task(of="like", label="loved").model_copy(
        update={"model": model_of(MMOE, embedding_dim=8)}
    )
    found = refused(config)
    assert found.where == "--from"
    assert found.message == "the configuration does not extend the parent: 2 differences"
    assert [problem.where for problem in found.problems] == [
        "schema.tasks.like.label",
        "model.embedding_dim",
    ]


def test_a_freeze_needs_a_parent() -> None:
    config = config_of(MODEL, NEW_TASKS, freeze="trunk")
    assert str(refused(config, None)) == (
        "training.freeze: 'trunk' freezes what a parent has, and the run starts from none. Give "
        "the parent with --from (`parent` in Python), or leave `freeze` out."
    )


def test_a_freeze_needs_something_to_train() -> None:
    config = config_of(MODEL, (CLICK, LIKE, WATCH), freeze="trunk")
    assert str(refused(config)) == (
        "training.freeze: leaves nothing to train: the parent has all tasks of this schema. Add a "
        "task, or leave `freeze` out."
    )


def test_only_the_trunk_can_be_frozen() -> None:
    with pytest.raises(ConfigError, match="freeze"):
        parse(type(FINE.training), {"freeze": "towers"})


def test_the_order_in_the_file_means_nothing() -> None:
    config = with_schema(features=FEATURES[::-1], tasks=(SHARE, WATCH, LIKE, CLICK))
    found, _ = extended(config, PARENT)
    assert found.schema_.features == FEATURES
    assert found.schema_.task_names == ("click", "like", "watch", "share")
