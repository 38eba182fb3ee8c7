"""Groups of tasks.

Shapes: B rows, D input width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.config import RunConfig
from polyrank.data import Batch, Reader, open_log
from polyrank.errors import ConfigError
from polyrank.layers import InputSpec
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import parse
from polyrank.sharing import (
    PLE,
    SNR,
    STEM,
    AnySharing,
    Groups,
    MMoE,
    SharedBottom,
    SingleTask,
)
from polyrank.sharing.groups import GroupsBlock
from tests import feeds
from tests.sharing import plain

TASKS = ("click", "like", "watch", "share", "buy")
GROUPS = {"watching": ("watch",), "acting": ("share", "click", "buy", "like")}
WIDTH = 12
INPUTS = InputSpec(width=WIDTH)


def _config(sharing: AnySharing, *, own_tables: bool = False) -> Groups:
    return Groups(groups=GROUPS, sharing=sharing, own_tables=own_tables)


def _build(config: Groups, tasks: tuple[str, ...] = TASKS) -> GroupsBlock:
    torch.manual_seed(0)
    return config.assemble(INPUTS, tasks).eval()


def _views(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(5, WIDTH, generator=generator) for _ in range(count)]


def _agrees(own_tables: bool, mistake: str = "") -> bool:
    """Against one trunk a group, in plain loops."""
    config = _config(SharedBottom(widths=(8, 6)), own_tables=own_tables)
    block, views = _build(config), _views(config.num_views(TASKS))
    found = block(views).tasks
    for place, tasks in enumerate(GROUPS.values()):
        trunk = block.trunks[1 - place if mistake == "another group's trunk" else place]
        assert trunk.trunk is not None
        view = views[place if own_tables and mistake != "the first table" else 0]
        rows = [plain.mlp(x, trunk.trunk) for x in view.tolist()]  # type: ignore[arg-type]
        if not all(torch.allclose(found[t], torch.tensor(rows), atol=1e-5) for t in tasks):
            return False
    return tuple(found) == TASKS


@pytest.mark.parametrize("own_tables", [False, True], ids=["one table", "own tables"])
def test_each_group_has_its_own_trunk(own_tables: bool) -> None:
    assert _agrees(own_tables)
    assert not _agrees(own_tables, "another group's trunk")


def test_a_group_that_read_the_first_table_is_noticed() -> None:
    assert not _agrees(True, "the first table")


@pytest.mark.parametrize(
    "sharing",
    [
        MMoE(num_experts=3, widths=(8,)),
        PLE(num_task_experts=1, num_shared_experts=1, widths=(8,)),
        SNR(num_subnetworks=2, widths=(8, 6)),
        STEM(widths=(8,)),
        SingleTask(widths=(8,)),
    ],
    ids=lambda sharing: sharing.kind,
)
def test_the_whole_is_the_union_of_its_groups(sharing: AnySharing) -> None:
    config = _config(sharing)
    block, views = _build(config), _views(config.num_views(TASKS))
    whole, rest = block(views), list(views)
    found = []
    for (name, listed), trunk in zip(GROUPS.items(), block.trunks, strict=True):
        tasks = [task for task in TASKS if task in listed]
        count = sharing.num_views(tasks) if sharing.num_views(TASKS) > 1 else 0
        own, rest = rest[: count or 1], rest[count:]
        shared = trunk(own)
        found.append(shared)
        for task in tasks:
            assert torch.equal(whole.tasks[task], shared.tasks[task])
        for gate, values in shared.gates.items():
            assert torch.equal(whole.gates[f"{name}: {gate}"], values)
        for bank, values in shared.experts.items():
            assert torch.equal(whole.experts[f"{name}: {bank}"], values)
    assert len(whole.gates) == sum(len(shared.gates) for shared in found)
    assert len(whole.experts) == sum(len(shared.experts) for shared in found)
    forks = [fork for shared in found for fork in shared.fork]
    assert all(torch.equal(a, b) for a, b in zip(whole.fork, forks, strict=True))
    penalties = [shared.penalty for shared in found if shared.penalty is not None]
    if penalties:
        assert len(penalties) == 2
        assert whole.penalty is not None
        assert whole.penalty.item() == pytest.approx(sum(p.item() for p in penalties))
    else:
        assert whole.penalty is None


def test_names_carry_the_group() -> None:
    block = _build(_config(MMoE(num_experts=2, widths=(8,))))
    assert block.expert_names["watching: experts"] == ("watching: expert 0", "watching: expert 1")
    assert block.gate_experts["acting: like"] == ("acting: expert 0", "acting: expert 1")
    assert set(block.gate_experts) == {
        "watching: watch",
        *(f"acting: {task}" for task in GROUPS["acting"]),
    }


@pytest.mark.parametrize(
    ("sharing", "own_tables", "expected"),
    [
        (MMoE(), False, 1),
        (MMoE(), True, 2),
        (SingleTask(), False, 5),
        (SingleTask(), True, 5),
        (STEM(), False, 2 + 5),
        (STEM(), True, 2 + 5),
    ],
)
def test_tables_add_up(sharing: AnySharing, own_tables: bool, expected: int) -> None:
    assert _config(sharing, own_tables=own_tables).num_views(TASKS) == expected


# Inside a network.


def _network(own_tables: bool) -> tuple[RankingModel, dict[str, str]]:
    names = feeds.schema().task_names
    groups = {"one": names[::2], "two": names[1::2]}
    sharing = Groups(
        groups=groups, sharing=MMoE(num_experts=3, widths=(16,)), own_tables=own_tables
    )
    config = ModelConfig(embedding_dim=4, sharing=sharing, towers=Towers(widths=(8,)))
    bundle = feeds.bundle()
    model = RankingModel(bundle.schema, bundle.encoders.layout, config, seed=0).train()
    return model, {task: group for group, tasks in groups.items() for task in tasks}


def _batch() -> Batch:
    bundle = feeds.bundle()
    table = next(Reader(open_log(feeds.log()), bundle.schema).chunks("all"))
    return bundle.encoders.encode(table.slice(0, 64))


def _touched(model: RankingModel, task: str) -> set[str]:
    model.zero_grad()
    model(_batch()).logits[task].square().sum().backward()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.to_dense().abs().sum() > 0)
    }


@pytest.mark.parametrize("own_tables", [False, True], ids=["one table", "own tables"])
def test_groups_share_the_embedding_and_nothing_else(own_tables: bool) -> None:
    model, group_of = _network(own_tables)
    assert len(set(group_of.values())) == 2
    touched = {task: _touched(model, task) for task in group_of}
    shared = {name for name in touched["click"] if name.startswith("sharing.trunks")}
    assert shared
    for task, group in group_of.items():
        for other, other_group in group_of.items():
            common = touched[task] & touched[other]
            if group == other_group:
                assert any(name.startswith("sharing.trunks") for name in common)
            elif own_tables:
                assert not common
            else:
                assert common
                assert all(name.startswith("inputs.0.") for name in common)


# What is refused.


def _tree(sharing: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": {
            "features": [{"kind": "categorical", "name": "item_id"}],
            "tasks": [{"kind": "binary", "name": name} for name in ("click", "like", "buy")],
        },
        "data": {"train": "a.parquet", "validation": "b.parquet"},
        "model": {"sharing": {"kind": "groups", "sharing": {"kind": "mmoe"}, **sharing}},
    }


def test_groups_that_fit_are_taken() -> None:
    config = parse(RunConfig, _tree({"groups": {"a": ["click", "buy"], "b": ["like"]}}))
    assert isinstance(config.model.sharing, Groups)
    assert isinstance(config.model.sharing.sharing, MMoE)
    assert parse(RunConfig, config.tree()) == config


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"groups": {"a": ["clik", "buy"], "b": ["like", "click"]}},
            ["model.sharing.groups.a.0", "'clik'", "Did you mean 'click'?"],
        ),
        (
            {"groups": {"a": ["click"], "b": ["like"]}},
            ["model.sharing.groups", "'buy'", "a, b"],
        ),
        (
            {"groups": {"a": ["click", "buy"], "b": ["like", "buy"]}},
            ["model.sharing.groups.b.1", "'buy'", "one group once", "'a' and 'b'"],
        ),
        ({"groups": {}}, ["model.sharing.groups"]),
        ({"groups": {"a": ["click", "like", "buy"], "b": []}}, ["model.sharing.groups.b"]),
        (
            {
                "groups": {"a": ["click", "like", "buy"]},
                "sharing": {
                    "kind": "groups",
                    "groups": {"c": ["click", "like", "buy"]},
                    "sharing": {"kind": "mmoe"},
                },
            },
            ["model.sharing.sharing.kind", "any kind but 'groups'", "List the smaller groups"],
        ),
        (
            {
                "groups": {"a": ["click", "like", "buy"]},
                "sharing": {"kind": "mmoe", "budget": 1000},
            },
            ["model.sharing.sharing.budget", "no budget, got 1000"],
        ),
        (
            {"groups": {"a": ["click", "like", "buy"]}, "sharing": {"kind": "mmo"}},
            ["model.sharing.sharing", "mmo"],
        ),
        (
            {
                "groups": {"a": ["click", "like"], "b": ["buy"]},
                "sharing": {"kind": "home", "groups": {"c": ["click", "like"], "d": ["buy"]}},
            },
            ["model.sharing.sharing.groups.d.0", "in 'a'", "'buy'"],
        ),
    ],
    ids=[
        "unknown",
        "missing",
        "twice",
        "none",
        "empty",
        "nested",
        "budget",
        "no such kind",
        "does not fit a group",
    ],
)
def test_what_does_not_fit_is_refused_when_configured(
    changes: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, _tree(changes))
    for message in messages:
        assert message in str(caught.value)


def test_a_block_is_built_for_its_tasks_only() -> None:
    with pytest.raises(ConfigError, match="every task must stand in a group"):
        _build(_config(MMoE()), (*TASKS, "follow"))
    with pytest.raises(ConfigError, match="got 'buy'"):
        _build(_config(MMoE()), TASKS[:-1])
    assert _config(SingleTask()).num_views(("follow",)) == 1


def test_groups_must_come_out_equally_wide() -> None:
    with pytest.raises(ConfigError, match=r"got \{'watching': 8, 'acting': 2\}") as caught:
        _build(_config(SingleTask(widths=(8,), divide_width=True)))
    assert caught.value.where == "model.sharing.sharing"


def test_a_budget_stretches_what_stands_in_the_groups() -> None:
    config = _config(MMoE(num_experts=2, widths=(8,)))
    plain_cost = config.cost(INPUTS, TASKS).parameters
    fitted = config.model_copy(update={"budget": 3 * plain_cost}).fitted(INPUTS, TASKS)
    assert isinstance(fitted.sharing, MMoE)
    assert fitted.sharing.widths > (8,)
    assert plain_cost < fitted.cost(INPUTS, TASKS).parameters <= 3 * plain_cost
