"""Experts in ill health are said, healthy ones are not, and a resumed run says the same.

Shapes: B rows, E experts, H width of an expert's output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrank.config import RunConfig
from polyrank.layers import Gates, InputSpec
from polyrank.schema import parse
from polyrank.sharing import SHARINGS, MMoE, Shared, SharedBottom, Sharing, SharingConfig
from polyrank.training import Prepared, train
from polyrank.training.health import (
    FEWEST,
    MEMORY,
    ExpertHealth,
    HealthState,
    Measured,
    Tally,
    measure,
)
from polyrank.training.remedies import remedy
from tests.cli import workbench
from tests.training.runs import Recorder, config, lines, prepared, table

TASKS = ("click", "like")
NAMES = ("expert 0", "expert 1", "expert 2")


def judge(block_of: SharingConfig | None = None, *, drop: bool = False) -> ExpertHealth:
    block_of = block_of or MMoE(num_experts=3, widths=(4,))
    block = block_of.build(InputSpec(width=16), TASKS)
    return ExpertHealth(config=block_of, block=block, gates_drop=drop)


def even(rows: int = 400) -> Tensor:
    """The weights of a gate in health."""
    torch.manual_seed(0)
    return torch.softmax(torch.randn(rows, 3), dim=1)


def leaning(share: float, rows: int = 400) -> Tensor:
    """A gate with so much on the second expert, and the rest on the others evenly."""
    rest = (1 - share) / 2
    return torch.tensor([rest, share, rest]).repeat(rows, 1)


def outputs(rows: int = 400) -> Tensor:
    """What three experts in health give: half of it zero."""
    torch.manual_seed(1)
    return torch.randn(rows, 3, 4).relu()


def shared(
    gates: Mapping[str, Tensor] | None = None, experts: Mapping[str, Tensor] | None = None
) -> Shared:
    return Shared(
        tasks={},
        fork=(),
        gates={"click": even(), "like": even()} if gates is None else gates,
        experts={"experts": outputs()} if experts is None else experts,
    )


def news(health: ExpertHealth, state: HealthState, *batches: Shared) -> list[str]:
    return [message for batch in batches for message in health.news(state, measure(batch))]


def told(*batches: Shared, health: ExpertHealth | None = None) -> list[str]:
    return news(health or judge(), HealthState(), *batches)


# What is measured.


def test_a_batch_is_counted_as_plain_loops_count_it() -> None:
    gate_BE, bank_BEH = leaning(0.5, 6), outputs(6)
    gate_BE[2] = torch.tensor([0.0, 1.0, 0.0])
    found = measure(shared({"click": gate_BE}, {"bank": bank_BEH}))
    gate, bank = found.gates["click"], found.banks["bank"]
    assert gate.rows == bank.rows == 6
    for expert in range(3):
        weights = [row[expert] for row in gate_BE.tolist()]
        assert gate.sums["weight"][expert] == pytest.approx(sum(weights))
        assert gate.sums["kept"][expert] == sum(weight > 0 for weight in weights)
        values = [row[expert] for row in bank_BEH.tolist()]
        zeros = sum(sum(value == 0 for value in row) / 4 for row in values)
        assert bank.sums["zeros"][expert] == pytest.approx(zeros)
        sizes = sum(sum(abs(value) for value in row) / 4 for row in values)
        assert bank.sums["size"][expert] == pytest.approx(sizes)


def test_half_precision_is_counted_in_single() -> None:
    bank = measure(shared({}, {"bank": torch.full((1000, 2, 4), 1.0).bfloat16()})).banks["bank"]
    assert bank.sums["size"] == [1000.0, 1000.0]


def test_of_a_large_batch_the_first_rows_are_counted() -> None:
    gate_BE = torch.cat([leaning(0.5, MEMORY), leaning(0.0, 500)])
    found = measure(shared({"click": gate_BE}, {"bank": torch.ones(MEMORY + 500, 1, 2)}))
    assert found.gates["click"].means("weight") == [0.25, 0.5, 0.25]
    assert found.gates["click"].rows == found.banks["bank"].rows == MEMORY


@given(st.lists(st.integers(1, 2 * MEMORY), min_size=1, max_size=8))
def test_a_mean_goes_back_about_as_far_as_it_should(sizes: list[int]) -> None:
    tally = Tally()
    for value, rows in enumerate(sizes):
        tally.add(Tally(rows=rows, sums={"weight": [float(rows * value)]}))
    assert min(sizes[-1], MEMORY) <= tally.rows <= max(2 * MEMORY, *sizes)
    (mean,) = tally.means("weight")
    assert 0 <= mean <= len(sizes) - 1
    if sizes[-1] >= MEMORY:
        assert (tally.rows, mean) == (sizes[-1], len(sizes) - 1)


def test_until_the_memory_is_full_nothing_is_forgotten_much() -> None:
    tally = Tally()
    for _ in range(3):
        tally.add(Tally(rows=10, sums={}))
    assert 29 < tally.rows < 30


# What is said.


def test_health_is_silent() -> None:
    assert told(*[shared()] * 5) == []


def test_a_collapsed_gate_is_said_with_the_remedy() -> None:
    assert told(shared({"click": leaning(0.985), "like": even()})) == [
        "gate 'click' gives 98.5% of its weight to 'expert 1': raise model.sharing.gate_dropout "
        "(0.1 is usual) or raise model.sharing.gate_temperature or raise model.sharing.balance"
    ]
    assert told(shared({"click": leaning(0.975), "like": even()})) == []


def test_a_gate_that_chooses_by_row_has_not_collapsed() -> None:
    rows_BE = torch.eye(3)[torch.arange(400) % 3]
    assert told(shared({"click": rows_BE, "like": rows_BE})) == []


def test_an_expert_that_no_gate_uses_is_said() -> None:
    gone_BE = torch.tensor([0.5, 0.001, 0.499]).repeat(400, 1)
    (message,) = told(shared({"click": gone_BE, "like": gone_BE}))
    assert message.startswith("'expert 1' is unused: its gates give it 0.30% of an even share: ")
    assert "raise model.sharing.balance" in message
    assert told(shared({"click": gone_BE, "like": even()})) == []
    used_BE = torch.tensor([0.5, 0.004, 0.496]).repeat(400, 1)
    assert told(shared({"click": used_BE, "like": used_BE})) == []


def test_an_expert_that_few_gates_see_is_judged_by_those() -> None:
    health = judge()
    health.block.gate_experts = {"click": ("a", "b"), "like": ("b",)}
    unused_BE = torch.tensor([1.0, 0.0]).repeat(400, 1)
    found = told(shared({"click": unused_BE, "like": torch.ones(400, 1)}), health=health)
    assert [message.partition(":")[0] for message in found] == [
        "gate 'click' gives 100.0% of its weight to 'a'"
    ]


def test_a_dead_expert_is_said() -> None:
    bank_BEH = outputs()
    bank_BEH[:, 2] *= torch.rand(400, 4) > 0.85
    (message,) = told(shared(experts={"experts": bank_BEH}))
    assert "of what 'expert 2' gives is zero: set model.sharing.norm to layer" in message
    share = (bank_BEH[:, 2] == 0).float().mean().item()
    assert message.startswith(f"{share:.1%} of")
    bank_BEH = outputs()
    bank_BEH[:, 2] *= torch.rand(400, 4) > 0.7
    assert told(shared(experts={"experts": bank_BEH})) == []


@pytest.mark.parametrize(("factor", "expected"), [(130.0, 1), (1 / 130, 1), (80.0, 0)])
def test_experts_apart_in_scale_are_said(factor: float, expected: int) -> None:
    bank_BEH = outputs()
    bank_BEH[:, 1] = bank_BEH[:, 0] * factor
    bank_BEH[:, 2] = bank_BEH[:, 0]
    found = told(shared(experts={"experts": bank_BEH}))
    assert len(found) == expected
    for message in found:
        assert "130 times as large" in message
        assert message.endswith("set model.sharing.norm to layer")
        assert ("what 'expert 1' gives is" in message) == (factor > 1)


def test_a_dead_expert_is_not_out_of_scale_as_well() -> None:
    bank_BEH = outputs()
    bank_BEH[:, 0] = 0.0
    (message,) = told(shared(experts={"experts": bank_BEH}))
    assert message.startswith("100.0% of what 'expert 0' gives is zero")
    bank_BEH[:] = 0.0
    assert len(told(shared(experts={"experts": bank_BEH}))) == 3


def test_banks_are_judged_apart() -> None:
    health = judge()
    health.block.expert_names = {"low": NAMES, "high": ("x", "y", "z")}
    assert told(shared(experts={"low": outputs(), "high": 1000 * outputs()}), health=health) == []


def test_parts_that_the_block_does_not_name_are_counted() -> None:
    (message,) = told(shared({"1 click": leaning(0.99)}))
    assert "'1 click: expert 1'" in message
    dead = torch.zeros(400, 1, 4)
    (message,) = told(shared(experts={"more": dead}))
    assert "'more: expert 0'" in message


# When it is said.


def test_each_is_said_once_until_it_recovers_and_returns() -> None:
    health, state = judge(), HealthState()
    ill = shared({"click": leaning(0.99, 2000), "like": even()})
    between = shared({"click": leaning(0.96, 2000), "like": even()})
    well = shared({"click": leaning(0.9, 2000), "like": even()})
    assert len(news(health, state, ill)) == 1
    assert news(health, state, ill, between, ill) == []
    assert news(health, state, well, between) == []
    assert len(news(health, state, ill)) == 1


@pytest.mark.parametrize("kind", ["unused", "dead", "scales"])
def test_every_kind_is_forgotten_when_it_recovers(kind: str) -> None:
    bank_BEH, gates = outputs(2000), {"click": even(2000), "like": even(2000)}
    if kind == "unused":
        gates = dict.fromkeys(gates, torch.tensor([0.5, 0.0, 0.5]).repeat(2000, 1))
    elif kind == "dead":
        bank_BEH[:, 0] = 0.0
    else:
        bank_BEH[:, 0] *= 1000
    ill = shared(gates, {"experts": bank_BEH})
    well = shared({"click": even(2000), "like": even(2000)}, {"experts": outputs(2000)})
    health, state = judge(), HealthState()
    assert [len(news(health, state, batch)) for batch in (ill, ill, well, ill)] == [1, 0, 0, 1]


def test_two_gates_are_said_each() -> None:
    health, state = judge(), HealthState()
    assert len(news(health, state, shared({"click": leaning(0.99), "like": even()}))) == 1
    (second,) = news(health, state, *[shared({"click": leaning(0.99), "like": leaning(0.99)})] * 9)
    assert second.startswith("gate 'like'")


def test_a_gate_of_one_expert_has_not_collapsed() -> None:
    health = judge(MMoE(num_experts=1, widths=(4,)))
    one = shared(dict.fromkeys(TASKS, torch.ones(400, 1)), {"experts": outputs()[:, :1]})
    assert told(one, health=health) == []


def test_few_rows_say_nothing_and_many_small_batches_do() -> None:
    ill = {"click": leaning(1.0, 1), "like": leaning(1.0, 1)}
    health, state = judge(), HealthState()
    steps = [bool(news(health, state, shared(ill, {}))) for _ in range(2 * FEWEST)]
    assert FEWEST <= steps.index(True) < 1.3 * FEWEST
    assert steps.count(True) == 1


def test_no_rows_change_nothing() -> None:
    health, state = judge(), HealthState()
    news(health, state, shared())
    before = asdict(state)
    empty = shared(dict.fromkeys(TASKS, torch.zeros(0, 3)), {"experts": torch.zeros(0, 3, 4)})
    assert news(health, state, empty) == []
    assert asdict(state) == before
    assert told(empty) == []
    assert told(shared({}, {})) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    bank_BEH = outputs()
    bank_BEH[3, 1, 2] = value
    assert measure(shared(experts={"experts": bank_BEH})).banks == {}
    assert told(shared(experts={"experts": bank_BEH})) == []


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_gate_dropout_hides_no_collapse_and_makes_none(dropout: float) -> None:
    torch.manual_seed(0)
    gates = Gates(16, TASKS, 3, dropout=dropout).train()
    health = judge(drop=True)
    x_BD = torch.randn(2000, 16).abs()
    assert told(shared(gates(x_BD)), health=health) == []
    with torch.no_grad():
        gates.weight[1] += 5.0
    found = told(shared(gates(x_BD)), health=health)
    assert [message.partition(" of its")[0] for message in found] == ["gate 'click' gives 100.0%"]


def test_the_state_survives_json() -> None:
    health, state = judge(), HealthState()
    news(health, state, *[shared({"click": leaning(0.99), "like": even()})] * 2)
    assert state.said == ["gate click"]
    again = HealthState.from_json(json.loads(json.dumps(asdict(state))))
    assert again == state
    assert news(health, again, shared()) == news(health, state, shared())
    assert again == state


# The remedies.


COMPLETE = sorted(
    kind
    for kind, sharing in SHARINGS.items()
    if not any(field.is_required() for field in sharing.model_fields.values())
)
"""Those that need no setting."""


def _keys(message: str) -> list[str]:
    return [word for word in message.split() if word.startswith(("model.", "training."))]


@pytest.mark.parametrize("kind", ["collapse", "unused", "dead", "scales"])
@pytest.mark.parametrize("sharing", COMPLETE)
def test_remedies_are_keys_of_the_configuration(kind: Any, sharing: str) -> None:
    tree = config().tree()
    tree["model"]["sharing"] = SHARINGS[sharing]().model_dump(mode="json")  # type: ignore[call-arg]
    keys = _keys(remedy(kind, SHARINGS[sharing]()))  # type: ignore[call-arg]
    assert keys
    for key in keys:
        node: Any = tree
        for part in key.split("."):
            node = node[part]


def test_a_remedy_that_is_taken_is_not_proposed() -> None:
    fields = MMoE.model_fields
    assert {"norm", "activation", "gate_dropout", "gate_temperature", "balance"} <= set(fields)
    normed = MMoE(norm="layer")
    assert remedy("dead", normed) == "set model.sharing.activation to swish"
    assert remedy("scales", normed) == "lower training.learning_rate"


def test_the_sharing_within_groups_has_its_own_path() -> None:
    class Outer(SharingConfig):
        kind: str = "outer"
        sharing: MMoE = MMoE()

        def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> Sharing:
            raise NotImplementedError

    assert remedy("scales", Outer()) == "set model.sharing.sharing.norm to layer"
    assert remedy("scales", SharedBottom()) == "lower training.learning_rate"


# Real runs.

RUN: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 100,
    "select": {"every": 2, "patience": 0},
    "checkpoint": {"every": 1},
}
"""600 rows: 6 steps an epoch, a measure at each second one: 300 rows are measured at step 6."""
COLLAPSED = {"sharing": {"kind": "mmoe", "num_experts": 3, "widths": [16]}}


def constant_log(folder: Path) -> Prepared:
    """Every row is alike, so a gate can only choose the same expert in each."""
    log = table(600, 0)
    for name, value in (("user", 1), ("item", 1), ("age", 30.0), ("tags", [1])):
        place = log.column_names.index(name)
        log = log.set_column(place, name, pa.array([value] * 600))
    return prepared(folder / "cache", log)


def hard_gates(**training: Any) -> RunConfig:
    """Gates that choose one expert a row: their temperature is near absolute zero."""
    run = config(**{**RUN, **training}, model=COLLAPSED)
    tree = run.tree()
    tree["model"]["sharing"]["gate_temperature"] = 1e-7
    tree["model"]["embedding_dropout"] = 0.0
    return parse(RunConfig, tree)


def notices(folder: Path) -> list[tuple[int, str]]:
    return [
        (record["step"], record["message"].partition(":")[0])
        for record in lines(folder)
        if record["kind"] == "notice"
    ]


def test_a_collapsed_gate_is_noticed_in_training_once_with_its_step(tmp_path: Path) -> None:
    recorder, run, log = Recorder(), hard_gates(), constant_log(tmp_path)
    train(run, log, tmp_path / "run", observer=recorder)
    found = notices(tmp_path / "run")
    gates = [(step, text) for step, text in found if text.startswith("gate ")]
    assert [(step, text.split("'")[1]) for step, text in gates] == [
        (6, "click"),
        (6, "like"),
        (6, "watch"),
    ]
    assert all("gives 100.0% of its weight to 'expert " in text for _, text in gates)
    assert len(found) == len(set(found))
    assert sum(notice.startswith("gate ") for notice in recorder.notices) == 3
    for path in tmp_path.glob("run/log.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        (before, *_) = [i for i, r in enumerate(records) if r["kind"] == "notice"]
        assert records[before - 1]["kind"] == "train"


class Stopped(Exception):
    pass


class Bomb(Recorder):
    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def advance(self, step: int, rows: int) -> None:
        if step == self._step:
            raise Stopped


@pytest.mark.parametrize("stop", [4, 6, 7, 20])
def test_a_resumed_run_notices_the_same(tmp_path: Path, stop: int) -> None:
    run, log = hard_gates(), constant_log(tmp_path)
    train(run, log, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, log, tmp_path / "cut", observer=Bomb(stop))
    train(run, log, tmp_path / "cut", resume="strict")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert notices(tmp_path / "cut")


def test_the_switch_silences_it_and_may_be_thrown_on_resuming(tmp_path: Path) -> None:
    log = constant_log(tmp_path)
    silent = hard_gates(expert_health=False)
    with pytest.raises(Stopped):
        train(hard_gates(), log, tmp_path / "run", observer=Bomb(5))
    train(silent, log, tmp_path / "run", resume="strict")
    assert notices(tmp_path / "run") == []


def test_a_healthy_mmoe_on_the_small_feed_is_silent(tmp_path: Path) -> None:
    words = ["--set", "training.epochs=3", "--set", "model.sharing.num_experts=4"]
    path = workbench.write_run(tmp_path)
    workbench.succeed("train", path, "--quiet", *words)
    folder = tmp_path / "run"
    assert [r for r in lines(folder) if r["kind"] == "notice"] == []
    assert len([r for r in lines(folder) if r["kind"] == "train"]) == 3


def test_measures_of_a_real_block_name_what_it_names() -> None:
    block = MMoE(num_experts=3, widths=(16,)).build(InputSpec(width=16), TASKS)
    found = measure(block([torch.randn(5, 16)]))
    assert isinstance(found, Measured)
    assert found.gates.keys() == block.gate_experts.keys()
    assert found.banks.keys() == block.expert_names.keys()
