"""The laws of every registered funnel.

Shapes: B rows, P parts.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from polyrank.bundle import Bundle, Card, describe_tasks, load_bundle, save_bundle
from polyrank.config import RunConfig
from polyrank.data import Batch, Encoders
from polyrank.errors import ConfigError
from polyrank.explain import explain_model
from polyrank.heads import masked_mean
from polyrank.heads.funnels import FUNNELS, Objective, quantity
from polyrank.heads.funnels.space import Space
from polyrank.layers import cost_of
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Binary, Categorical, Duration, Numeric, Schema, parse
from polyrank.scoring import PREFIX, Scorer
from polyrank.training import Prepared, train
from polyrank.training.step import denominators_of
from tests.heads.funnel_rows import (
    CONFIGS,
    ITEM,
    SCHEMA,
    TASKS,
    every_state,
    objective,
    random_logits,
    total,
    totals,
)
from tests.training.runs import Bomb, Stopped, config, digest, lines, prepared

EXTREME = (-1e4, -50.0, 0.0, 50.0, 1e4)
CASES = {
    " ".join([kind, *map(str, settings.values())]): (kind, settings)
    for kind, listed in CONFIGS.items()
    for settings in listed
}


def test_every_funnel_is_under_contract() -> None:
    assert set(CONFIGS) == set(FUNNELS)
    assert all(CONFIGS.values())


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return CASES[request.param]


@pytest.fixture
def chosen(case: tuple[str, Mapping[str, Any]]) -> Objective:
    return objective(*case)


# Outputs and parts.


def test_towers_of_the_tasks_come_first_and_every_task_has_a_part(chosen: Objective) -> None:
    names = [output.name for output in chosen.outputs]
    assert tuple(names[: len(TASKS)]) == TASKS
    assert all(output.name.startswith(f"{output.task}.") for output in chosen.outputs[len(TASKS) :])
    assert all(output.initial_logits.shape == (output.num_logits,) for output in chosen.outputs)
    assert all(output.initial_logits.isfinite().all() for output in chosen.outputs)
    parts = [part.name for part in chosen.parts]
    assert len({*names}) == len(names)
    assert len({*parts}) == len(parts)
    assert {part.task for part in chosen.parts} == set(TASKS)


def test_nothing_in_it_learns(chosen: Objective) -> None:
    assert not list(chosen.parameters())
    assert not chosen.state_dict()


# Losses.


def test_extreme_logits_and_every_state_of_labels_are_finite(chosen: Objective) -> None:
    """All pairs of extremes for click and the rest; 81 states of the labels."""
    batch = every_state()
    for click, other in itertools.product(EXTREME, EXTREME):
        logits = {
            output.name: torch.full(
                (len(batch), output.num_logits), click if output.name == "click" else other
            ).requires_grad_()
            for output in chosen.outputs
        }
        means = totals(chosen, logits, batch)
        assert all(mean.isfinite() for mean in means.values()), (click, other)
        total(chosen, logits, batch).backward()
        for name, logit in logits.items():
            if logit.grad is not None:
                assert logit.grad.isfinite().all(), (name, click, other)


def test_half_precision_gives_float32_losses(chosen: Objective) -> None:
    batch = every_state()
    logits = {k: v.detach().bfloat16() for k, v in random_logits(chosen, len(batch)).items()}
    losses = chosen.losses(logits, batch, [part.name for part in chosen.parts])
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert all(loss.isfinite().all() for loss in losses.values())


def test_the_gradient_is_the_finite_difference(chosen: Objective) -> None:
    """Where nothing is held fixed: no propensity, and no error in the squares of an imputation."""
    batch = every_state()
    logits = random_logits(chosen, len(batch))
    free = [part.name for part in chosen.parts if not part.name.endswith(".imputation")]
    risky = any(name.endswith(".risk") for name in free)

    def loss(**moved: Tensor) -> Tensor:
        means = totals(chosen, {**logits, **moved}, batch)
        return torch.stack([means[name] for name in free]).sum()

    loss().backward()
    for name in ("review", "like") if risky else ("click", "buy", "review", "like"):
        gradient = logits[name].grad
        assert gradient is not None
        up, down = (loss(**{name: logits[name].detach() + step}) for step in (1e-2, -1e-2))
        slope = (up - down).item() / 2e-2
        assert gradient.sum().item() == pytest.approx(slope, rel=2e-2, abs=5e-4), name


def test_a_row_of_no_part_gives_no_gradient(chosen: Objective) -> None:
    batch = every_state()
    mask_BP = chosen.masks(batch)
    assert mask_BP.dtype == torch.bool
    assert mask_BP.shape == (len(batch), len(chosen.parts))
    none_B = ~mask_BP.any(1)
    assert none_B.any()
    logits = random_logits(chosen, len(batch))
    total(chosen, logits, batch).backward()
    for logit in logits.values():
        if logit.grad is not None:
            assert (logit.grad[none_B] == 0).all()


def test_what_was_not_observed_is_not_read(chosen: Objective) -> None:
    """Labels where nothing was observed do not matter, be they what they may."""
    batch = every_state()
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    poison_BT = torch.where(batch.observed_BT, batch.labels_BT, 1.0)
    other = dataclasses.replace(batch, labels_BT=poison_BT)
    assert torch.equal(chosen.masks(batch), chosen.masks(other))
    logits = random_logits(chosen, len(batch))
    assert total(chosen, logits, batch).item() == total(chosen, logits, other).item()


def test_a_part_stands_on_rows_whose_labels_say_so(chosen: Objective) -> None:
    """The task's own space, or all rows on which reaching it is known."""
    batch = every_state()
    assert batch.observed_BT is not None
    space = Space.of(SCHEMA)
    for part, mask_B in zip(chosen.parts, chosen.masks(batch).unbind(1), strict=True):
        own_B = batch.observed_BT[:, space.places[part.task]]
        entire_B = space.joint_labels(batch, part.task)[1] if part.task in space.chains else own_B
        assert torch.equal(mask_B, own_B) or torch.equal(mask_B, entire_B), part.name


def test_nothing_observed_is_no_part_and_zero_gradient(chosen: Objective) -> None:
    batch = every_state()
    assert batch.observed_BT is not None
    hidden = dataclasses.replace(batch, observed_BT=torch.zeros_like(batch.observed_BT))
    assert denominators_of(chosen, hidden).tolist() == [0.0] * len(chosen.parts)
    assert totals(chosen, random_logits(chosen, len(batch)), hidden) == {}
    logits = random_logits(chosen, len(batch))
    losses = chosen.losses(logits, hidden, [part.name for part in chosen.parts])
    masks = chosen.masks(hidden).unbind(1)
    means = [
        masked_mean(losses[part.name], mask_B, torch.ones(len(batch)), torch.tensor(0.0))
        for part, mask_B in zip(chosen.parts, masks, strict=True)
    ]
    torch.stack(means).sum().backward()
    for logit in logits.values():
        assert logit.grad is not None
        assert (logit.grad == 0).all()


def test_denominators_are_the_weights_of_the_rows(chosen: Objective) -> None:
    batch = every_state()
    assert batch.weight_B is not None
    weights = batch.weight_B.tolist()
    for column, found in enumerate(denominators_of(chosen, batch).tolist()):
        rows = chosen.masks(batch)[:, column].tolist()
        assert found == sum(w for w, seen in zip(weights, rows, strict=True) if seen)


def test_parts_that_are_not_asked_for_are_not_computed(chosen: Objective) -> None:
    batch = every_state()
    for task in TASKS:
        logits = random_logits(chosen, len(batch))
        parts = [part.name for part in chosen.parts if part.task == task]
        losses = chosen.losses(logits, batch, parts)
        assert set(losses) == set(parts)
        torch.stack(list(losses.values())).sum().backward()
        chain = {*Space.of(SCHEMA).chains.get(task, (task,)), "cart" if task == "buy" else task}
        for name, logit in logits.items():  # a cart is an action on the way to buying, in ESM²
            assert logit.grad is None or name.split(".")[0] in chain, (task, name)


def test_rows_in_another_order_have_the_same_losses(chosen: Objective) -> None:
    batch = every_state()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    logits = {k: v.detach() for k, v in random_logits(chosen, len(batch)).items()}
    moved = {name: logit[order] for name, logit in logits.items()}
    parts = [part.name for part in chosen.parts]
    here, there = (
        chosen.losses(logits, batch, parts),
        chosen.losses(moved, batch.take(order), parts),
    )
    for part in parts:
        torch.testing.assert_close(here[part][order], there[part])
    assert torch.equal(chosen.masks(batch)[order], chosen.masks(batch.take(order)))


def test_weight_two_is_a_row_repeated_and_weight_zero_a_row_removed(chosen: Objective) -> None:
    batch = every_state()
    assert batch.weight_B is not None
    weight_B = torch.ones(len(batch))
    weight_B[::3], weight_B[1::3] = 2.0, 0.0
    rows = torch.repeat_interleave(torch.arange(len(batch)), weight_B.long())
    logits = {k: v.detach() for k, v in random_logits(chosen, len(batch)).items()}
    weighted = dataclasses.replace(batch, weight_B=weight_B)
    repeated = dataclasses.replace(batch.take(rows), weight_B=torch.ones(len(rows)))
    for part, value in totals(chosen, logits, weighted).items():
        moved = {name: logit[rows] for name, logit in logits.items()}
        assert value.item() == pytest.approx(totals(chosen, moved, repeated)[part].item(), rel=1e-5)


# Predictions.


def test_predictions_are_probabilities_that_nest(chosen: Objective) -> None:
    """Within [0, 1], so that a joint never exceeds what it lies within; extremes included."""
    values = list(itertools.product((-1e4, -30.0, -1.0, 0.5, 40.0, 1e4), repeat=3))
    logits = {
        output.name: torch.tensor([[value[place % 3]] for value in values])
        for place, output in enumerate(chosen.outputs)
    }
    found = chosen.predict(logits)
    assert tuple(found) == TASKS
    for task, value_B in found.items():
        assert value_B.dtype == torch.float64
        assert value_B.shape == (len(values),)
        assert value_B.isfinite().all(), task
        if isinstance(SCHEMA.task(task), Binary):
            assert ((value_B >= 0) & (value_B <= 1)).all(), task
    assert (found["click"] * found["buy"] <= found["click"]).all()


# The schema.


@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - {"masked"}))
def test_a_schema_without_a_task_within_another_is_refused(kind: str) -> None:
    schema = Schema(features=(ITEM,), tasks=(Binary(name="cart"), Binary(name="buy")))
    with pytest.raises(ValueError, match="within.*'masked'"):
        parse(FUNNELS[kind], dict(CONFIGS[kind][0])).check(schema)


@pytest.mark.parametrize("kind", ["esmm", "escm2", "aitm"])
def test_only_numbers_within_a_task_are_no_chain(kind: str) -> None:
    schema = Schema(features=(ITEM,), tasks=(Binary(name="a"), Duration(name="b", within="a")))
    with pytest.raises(ConfigError, match="no binary task has `within`") as caught:
        _run({"kind": kind}, schema)
    assert caught.value.where == "model.funnel.kind"


@pytest.mark.parametrize(
    ("action", "conversion", "message"),
    [
        ("carts", "buy", r"model.funnel.action.*'carts', which is no binary task. Did you mean"),
        ("watch", "buy", r"model.funnel.action.*'watch', which is no binary task"),
        ("cart", "byu", r"model.funnel.conversion.*'byu', which is no binary task. Did you mean"),
        ("cart", "cart", r"both name 'cart'; name two tasks"),
        ("like", "buy", r"'like', which lies within no task"),
        ("cart", "review", r"'review', which lies within 'buy', and `action` one within 'click'"),
    ],
)
def test_names_and_spaces_that_do_not_fit_are_refused(
    action: str, conversion: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _run({"kind": "esm2", "action": action, "conversion": conversion}, SCHEMA)


def _run(funnel: Mapping[str, Any], schema: Schema) -> RunConfig:
    return config(schema, model={"funnel": dict(funnel)})


@pytest.mark.parametrize("task", ["click", "review"])
def test_a_head_without_a_probability_is_refused_in_a_chain(task: str) -> None:
    """Beside what else is wrong with it; masked training multiplies nothing."""
    for kind, settings in CASES.values():
        network = {"funnel": {"kind": kind, **settings}, "heads": {task: {"kind": "huber"}}}
        with pytest.raises(ConfigError, match="'huber'") as caught:
            config(SCHEMA, model=network)
        told = f"{task!r}, whose head must be 'cross_entropy', got 'huber'"
        assert (told in str(caught.value)) == (kind != "masked")


def test_quantities_by_hand() -> None:
    assert {task: quantity(SCHEMA, task) for task in TASKS} == {
        "watch": "watch in s | click = 1",
        "buy": "P(buy = 1 | click = 1)",
        "click": "P(click = 1)",
        "cart": "P(cart = 1 | click = 1)",
        "review": "P(review = 1 | click = 1, buy = 1)",
        "like": "P(like = 1)",
    }


# As one network.

NETWORK = SCHEMA.model_copy(
    update={
        "features": (Categorical(name="item", min_frequency=1), Numeric(name="age", side="user"))
    }
)
ROWS = 160


@cache
def _log(seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = {
        task: pa.array((rng.random(ROWS) < 0.6).astype(float), mask=rng.random(ROWS) < 0.1)
        for task in TASKS
    }
    return pa.table({"item": rng.integers(0, 12, ROWS), "age": rng.normal(35, 10, ROWS), **labels})


@cache
def _encoders() -> Encoders:
    return Encoders.fit(NETWORK, [_log(0)])


def _run_config(case: tuple[str, Mapping[str, Any]], **training: Any) -> RunConfig:
    kind, settings = case
    network = {
        "funnel": {"kind": kind, **settings},
        "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16]},
        "towers": {"widths": [16]},
    }
    return config(NETWORK, model=network, **training)


def _model(case: tuple[str, Mapping[str, Any]]) -> tuple[RankingModel, ModelConfig]:
    run = _run_config(case)
    return RankingModel(NETWORK, _encoders().layout, run.model, seed=1), run.model


def _whole() -> Batch:
    return _encoders().encode(_log(0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 40])
def test_a_network_has_finite_gradients_and_all_of_it_learns(
    case: tuple[str, Mapping[str, Any]], rows: int
) -> None:
    model, _ = _model(case)
    batch = _whole().slice(0, rows)
    total(model.objective, model(batch).logits, batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.to_dense().isfinite().all(), name
        if rows > 1:
            assert parameter.grad is not None, name
            assert parameter.grad.to_dense().abs().sum() > 0, name


def test_autocast_gives_finite_losses_near_those_of_float32(
    case: tuple[str, Mapping[str, Any]],
) -> None:
    model, batch = _model(case)[0], _whole()
    exact = total(model.objective, model.eval()(batch).logits, batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch).logits
    assert all(logit.dtype == torch.float32 for logit in logits.values())
    assert total(model.objective, logits, batch).item() == pytest.approx(exact.item(), rel=0.03)


def test_a_saved_network_scores_the_same_alone_and_after_loading(
    case: tuple[str, Mapping[str, Any]], tmp_path: Path
) -> None:
    model, model_config = _model(case)
    bundle = Bundle(
        schema=NETWORK,
        encoders=_encoders(),
        model=model.eval(),
        model_config=model_config,
        tables={},
        card=Card(tasks=describe_tasks(NETWORK), data={}),
    )
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.model_config == model_config
    candidates = _log(0).select(["item", "age"])
    scores = Scorer(bundle).score(candidates)
    assert Scorer(loaded).score(candidates).equals(scores)
    alone = Scorer(loaded).score(candidates.slice(33, 1))
    for task in TASKS:  # the same bits, since all widths are multiples of 16
        assert alone[PREFIX + task][0].as_py() == scores[PREFIX + task][33].as_py()


def test_the_costs_of_its_parts_add_up(case: tuple[str, Mapping[str, Any]]) -> None:
    model_config = _run_config(case).model
    with torch.device("meta"):
        model = RankingModel(NETWORK, _encoders().layout, model_config, seed=1)
    network = explain_model(model, _encoders(), model_config)
    assert network.total == cost_of(model) == cost_of(_model(case)[0])
    names = [block.name for block in network.blocks]
    assert (f"transfer {case[0]}" in names) == (model.transfer is not None)
    for block in network.blocks:
        if block.parts:
            assert sum(p.cost.parameters for p in block.parts) == block.cost.parameters
            assert sum(p.cost.multiply_adds for p in block.parts) == block.cost.multiply_adds


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"), _log(0), _log(1), NETWORK)


def test_a_resumed_run_ends_with_the_same_bits(
    case: tuple[str, Mapping[str, Any]],
    log: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    run = _run_config(case, batch_size=60, epochs=2, checkpoint={"every": 2, "keep": 1})
    whole = train(run, log, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, log, tmp_path / "stopped", observer=Bomb())
    resumed = train(run, log, tmp_path / "stopped", resume="strict")
    assert whole.steps == 6
    assert digest(resumed.model) == digest(whole.model)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
