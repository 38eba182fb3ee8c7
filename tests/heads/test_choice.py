"""Heads chosen in a configuration: what does not fit is refused when it is read."""

from __future__ import annotations

from typing import Any

import pytest

from polyrank.config import RunConfig
from polyrank.errors import ConfigError
from polyrank.heads import DEFAULT_HEADS, HEADS, build_head
from polyrank.schema import parse
from tests.contract.test_heads_contract import CASES

TASKS = [
    {"kind": "binary", "name": "click"},
    {"kind": "regression", "name": "any"},
    {"kind": "regression", "name": "low", "lower": -0.5},
    {"kind": "regression", "name": "amount", "lower": 0},
    {"kind": "regression", "name": "price", "lower": 1},
    {"kind": "duration", "name": "watch", "length": "length"},
    {"kind": "duration", "name": "dwell", "length": "length", "censored": "cut"},
    {"kind": "duration", "name": "stay"},
]


def _config(**heads: Any) -> RunConfig:
    features = [{"kind": "categorical", "name": "item_id"}]
    tree = {
        "schema": {"features": features, "tasks": TASKS},
        "data": {"train": "a.parquet", "validation": "b.parquet"},
        "model": {"heads": heads},
    }
    return parse(RunConfig, tree)


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_each_head_stands_on_the_tasks_that_suit_it_and_on_no_other(kind: str) -> None:
    for task, name in (("binary", "click"), ("regression", "amount"), ("duration", "watch")):
        if task in HEADS[kind].suits:
            assert _config(**{name: {"kind": kind}}).model.heads[name].kind == kind
        else:
            with pytest.raises(ConfigError, match=f"and '{name}' is {task}. Choose another head"):
                _config(**{name: {"kind": kind}})


@pytest.mark.parametrize("kind", ["tweedie", "ziln"])
def test_a_head_for_amounts_needs_labels_of_at_least_zero(kind: str) -> None:
    assert _config(amount={"kind": kind}, price={"kind": kind}).model.heads["price"].kind == kind
    with pytest.raises(ConfigError) as refused:
        _config(any={"kind": kind}, low={"kind": kind}, amount={"kind": kind})
    first, second = refused.value.problems
    assert first.where == "model.heads.any"
    assert f"head '{kind}' needs labels of at least 0" in str(first)
    assert "`lower` is null. Set `lower: 0`" in str(first)
    assert second.where == "model.heads.low"
    assert "`lower` is -0.5. Set `lower: 0`" in str(second)


def test_a_head_that_groups_by_length_needs_one() -> None:
    with pytest.raises(ConfigError, match=r"'stay' has no `length`. Name its column, or"):
        _config(stay={"kind": "d2q"})


@pytest.mark.parametrize("kind", sorted(kind for kind in HEADS if "duration" in HEADS[kind].suits))
def test_a_head_knows_bounds_or_refuses_them(kind: str) -> None:
    if kind == "wlr":
        with pytest.raises(ConfigError, match="by `censored: cut` some are lower bounds. Choose"):
            _config(dwell={"kind": kind})
    else:
        assert _config(dwell={"kind": kind}).model.heads["dwell"].kind == kind


def test_all_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        _config(clik={"kind": "mse"}, click={"kind": "mse"}, any={"kind": "ziln"})
    places = [problem.where for problem in refused.value.problems]
    assert places == ["model.heads.clik", "model.heads.click.kind", "model.heads.any"]
    assert "Did you mean 'click'?" in str(refused.value.problems[0])


def test_an_unknown_head_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'twedie'.*Did you mean 'tweedie'\?"):
        _config(amount={"kind": "twedie"})


def test_a_task_without_a_choice_has_the_default_of_its_kind() -> None:
    for kind, default in DEFAULT_HEADS.items():
        task, stats, _, _ = CASES[default.kind]
        assert task.kind == kind
        assert type(build_head(task, stats)) is type(build_head(task, stats, default))


def test_the_settings_of_a_head_come_back_from_the_tree() -> None:
    heads = {
        "amount": {"kind": "tweedie", "power": 1.3},
        "any": {"kind": "quantile", "levels": [0.2, 0.8], "predicted": 0.8},
        "watch": {"kind": "wlr", "negatives": "zeros"},
    }
    config = _config(**heads)
    assert config.tree()["model"]["heads"] == heads
    assert parse(RunConfig, config.tree()) == config
