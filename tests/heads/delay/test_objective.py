"""Corrections in a network: what they leave alone, what they refuse, saved, resumed and scored."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyrank.bundle import Bundle, Card, describe_tasks, load_bundle, save_bundle
from polyrank.config import RunConfig
from polyrank.data import Encoders
from polyrank.data.layout import TargetStats
from polyrank.errors import ConfigError
from polyrank.heads.delay import DelayObjective
from polyrank.heads.funnels import MaskedObjective, Objective
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import (
    Binary,
    Categorical,
    Duration,
    Keys,
    Maturity,
    Numeric,
    Schema,
)
from polyrank.scoring import PREFIX, Scorer
from polyrank.training import Prepared, train
from polyrank.training.step import denominators_of
from tests.heads.delay.late_rows import CASES, TASK, batch_of, correction, every_row, head
from tests.heads.funnel_rows import total, totals
from tests.training.runs import Bomb, Stopped, config, digest, lines, prepared

ROWS = 240
KINDS = sorted({str(case["kind"]) for case in CASES.values()})


def schema_of(until: float, **buy: Any) -> Schema:
    maturity = Maturity(window=10, event_time="paid", observed_until=int(until))
    return Schema(
        features=(Categorical(name="item", min_frequency=1), Numeric(name="age", side="user")),
        tasks=(
            Binary(name="click"),
            Binary(name="buy", within="click", **{"maturity": maturity, **buy}),
            Duration(name="watch", within="click"),
        ),
        keys=Keys(time="t"),
    )


SCHEMA = schema_of(until=40)
PLAIN = schema_of(until=40, maturity=None)
LATER = schema_of(until=10_000)
"""All rows are mature."""


@cache
def log(seed: int = 0) -> pa.Table:
    """Shown from 0 to 40, an event within the window or none."""
    rng = np.random.default_rng(seed)
    shown = np.sort(rng.integers(0, 40, ROWS))
    click = rng.random(ROWS) < 0.7
    buy = click & (rng.random(ROWS) < 0.4)
    paid = shown + rng.integers(0, 11, ROWS)
    return pa.table(
        {
            "item": rng.integers(0, 12, ROWS),
            "age": rng.normal(35, 10, ROWS),
            "t": shown,
            "click": click.astype(float),
            "buy": pa.array(buy.astype(float), mask=~click),
            "paid": pa.array(paid, mask=~buy),
            "watch": rng.integers(1, 60, ROWS).astype(float),
        }
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_of(delay: Mapping[str, Any], schema: Schema = SCHEMA, **settings: Any) -> RunConfig:
    network = {
        "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16]},
        "towers": {"widths": [16]},
        "delay": delay,
        **settings.pop("model", {}),
    }
    return config(schema, model=network, **settings)


def model_of(delay: Mapping[str, Any], schema: Schema = SCHEMA) -> tuple[RankingModel, ModelConfig]:
    run = run_of(delay, schema)
    encoders = Encoders.fit(schema, [log()])
    return RankingModel(schema, encoders.layout, run.model, seed=1), run.model


# The objective by itself.


@pytest.fixture(params=sorted(CASES))
def chosen(request: pytest.FixtureRequest) -> Objective:
    own = {"buy": correction(request.param)}
    return DelayObjective(MaskedObjective({"buy": head()}), own)


def test_parts_and_towers_of_the_task_stand_in_its_place(chosen: Objective) -> None:
    assert chosen.parts[0].name == chosen.outputs[0].name == "buy"
    assert all(part.task == "buy" for part in chosen.parts)
    assert not list(chosen.parameters())
    assert not chosen.state_dict()
    masks = chosen.masks(batch_of(every_row()))
    assert masks.shape == (len(every_row().delay_B), len(chosen.parts))


def test_weight_two_is_a_row_repeated_and_weight_zero_a_row_removed(chosen: Objective) -> None:
    batch = batch_of(every_row())
    weight_B = torch.tensor([float(row % 3) for row in range(len(batch))])
    rows = torch.repeat_interleave(torch.arange(len(batch)), weight_B.long())
    generator = torch.Generator().manual_seed(0)
    logits = {
        output.name: torch.randn(len(batch), 1, generator=generator) for output in chosen.outputs
    }
    moved = {name: logit[rows] for name, logit in logits.items()}
    repeated = dataclasses.replace(batch.take(rows), weight_B=torch.ones(len(rows)))
    weighted = dataclasses.replace(batch, weight_B=weight_B)
    there = totals(chosen, moved, repeated)
    for part, value in totals(chosen, logits, weighted).items():
        assert value.item() == pytest.approx(there[part].item(), rel=1e-5)


def test_rows_without_a_sample_give_no_part_and_no_gradient(chosen: Objective) -> None:
    times = every_row()
    hidden = batch_of(times._replace(delay_B=torch.full_like(times.delay_B, torch.nan)))
    assert denominators_of(chosen, hidden).tolist() == [0.0] * len(chosen.parts)
    batch = batch_of(times)
    logits = {
        output.name: torch.zeros(len(batch), 1, requires_grad=True) for output in chosen.outputs
    }
    total(chosen, logits, batch).backward()
    none_B = ~chosen.masks(batch).any(1)
    assert none_B.any()
    for logit in logits.values():
        assert logit.grad is not None
        assert (logit.grad[none_B] == 0).all()
        assert logit.grad.abs().sum() > 0


def test_parts_that_are_not_asked_for_are_not_computed(chosen: Objective) -> None:
    batch = batch_of(every_row())
    for part in chosen.parts:
        logits = {o.name: torch.zeros(len(batch), 1, requires_grad=True) for o in chosen.outputs}
        losses = chosen.losses(logits, batch, [part.name])
        assert set(losses) == {part.name}
        losses[part.name].sum().backward()
        assert [name for name, z in logits.items() if z.grad is not None] == [part.name]


# In a network.


@pytest.mark.parametrize("kind", KINDS)
def test_other_tasks_lose_what_they_did(kind: str) -> None:
    """The same logits, the same losses and masks, and the same predictions."""
    model, _ = model_of({"buy": {"kind": kind}})
    masked, _ = model_of({})
    batch = Encoders.fit(SCHEMA, [log()]).encode(log())
    logits = {name: x.detach() for name, x in model.eval()(batch).logits.items()}
    here = totals(model.objective, logits, batch)
    there = totals(masked.objective, logits, batch)
    for task in ("click", "watch"):
        assert here[task].item() == there[task].item()
    assert here["buy"].item() != there["buy"].item()
    found, wanted = (one.objective.predict(logits) for one in (model, masked))
    assert all(torch.equal(found[task], wanted[task]) for task in SCHEMA.task_names)


def digest_after_training(schema: Schema, delay: Mapping[str, Any], folder: Path) -> str:
    ready = prepared(folder / "log", log(0), log(1), schema)
    return digest(train(run_of(delay, schema, epochs=1), ready, folder / "run").model)


def test_where_all_rows_are_mature_nothing_changes_to_the_last_bit(tmp_path: Path) -> None:
    """Masked or naive; and a window that lets rows wait does change it."""
    plain = digest_after_training(PLAIN, {}, tmp_path / "plain")
    assert digest_after_training(LATER, {}, tmp_path / "masked") == plain
    naive = {"buy": {"kind": "naive"}}
    assert digest_after_training(LATER, naive, tmp_path / "naive") == plain
    assert digest_after_training(SCHEMA, {}, tmp_path / "young") != plain


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_the_network_learns(kind: str) -> None:
    model, _ = model_of({"buy": {"kind": kind}})
    batch = Encoders.fit(SCHEMA, [log()]).encode(log())
    total(model.objective, model(batch).logits, batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        gradient = parameter.grad.to_dense()
        assert gradient.isfinite().all(), name
        assert gradient.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_scores_the_same_without_times_or_labels(kind: str, tmp_path: Path) -> None:
    model, network = model_of({"buy": {"kind": kind}})
    bundle = Bundle(
        schema=SCHEMA,
        encoders=Encoders.fit(SCHEMA, [log()]),
        model=model.eval(),
        model_config=network,
        tables={},
        card=Card(tasks=describe_tasks(SCHEMA), data={}),
    )
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.model_config == network
    assert loaded.schema == SCHEMA
    candidates = log().select(["item", "age"])
    scores = Scorer(bundle).score(candidates)
    assert Scorer(loaded).score(candidates).equals(scores)
    assert set(scores.column_names) >= {PREFIX + task for task in SCHEMA.task_names}
    assert not any(".delayed" in name for name in scores.column_names)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_same_bits(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    ready: Prepared = prepared(tmp_path / "log", log(0), log(1), SCHEMA)
    delay = {"buy": {"kind": kind}}
    run = run_of(delay, batch_size=90, epochs=2, checkpoint={"every": 2, "keep": 1})
    whole = train(run, ready, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, ready, tmp_path / "stopped", observer=Bomb())
    resumed = train(run, ready, tmp_path / "stopped", resume="strict")
    assert whole.steps == 6
    assert digest(resumed.model) == digest(whole.model)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


# What is refused.


@pytest.mark.parametrize(
    ("delay", "schema", "network", "message"),
    [
        ({"byu": {}}, SCHEMA, {}, "given to 'byu', which is no task. Did you mean 'buy'?"),
        ({"watch": {}}, SCHEMA, {}, "a label that becomes 1, and 'watch' is duration. Leave"),
        ({"click": {}}, SCHEMA, {}, "'click' has no `maturity`. Declare it, or leave"),
        (
            {"buy": {}},
            schema_of(until=40, keep_rate=0.5),
            {},
            "'buy' has a `keep_rate` of 0.5: a row dropped as a negative may have become a",
        ),
        (
            {"buy": {}},
            Schema(
                features=SCHEMA.features,
                keys=SCHEMA.keys,
                tasks=(
                    Binary(name="click", maturity=TASK.maturity),
                    TASK.model_copy(update={"within": "click"}),
                ),
            ),
            {},
            "'buy' lies within 'click', which has a `maturity` of its own: its young rows are not",
        ),
        (
            {"buy": {}},
            SCHEMA,
            {"funnel": {"kind": "esmm"}},
            "funnel 'esmm' decides what 'buy' learns from. Choose funnel 'masked', or",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    delay: Mapping[str, Any], schema: Schema, network: Mapping[str, Any], message: str
) -> None:
    given = {task: {"kind": "fnw", **settings} for task, settings in delay.items()}
    with pytest.raises(ConfigError) as caught:
        run_of(given, schema, model=network)
    assert caught.value.where == f"model.delay.{next(iter(delay))}"
    assert message in caught.value.message


def test_a_head_without_a_probability_is_refused() -> None:
    """Beside what else is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        run_of({"buy": {"kind": "fnw"}}, model={"heads": {"buy": {"kind": "huber"}}})
    assert (
        "model.delay.buy: a delay correction weighs head 'cross_entropy', and 'buy' has 'huber'"
        in (str(caught.value))
    )


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_a_wait_is_a_part_of_the_window(wait: float) -> None:
    with pytest.raises(ConfigError, match=r"model\.delay\.buy\.wait: Input should be"):
        run_of({"buy": {"kind": "es_dfm", "wait": wait}})


@pytest.mark.parametrize("case", [case for case in sorted(CASES) if case != "naive"])
def test_training_rows_of_one_window_or_less_are_refused(case: str) -> None:
    for ages in ((0.0, 1.0), (0.5, 0.9), (2.0, 2.4)):
        with pytest.raises(ConfigError) as caught:
            correction(case, ages)
        assert caught.value.where == "model.delay.buy"
        told = (
            f"the oldest is {ages[1]:.2f} windows before `observed_until`, the newest {ages[0]:.2f}"
        )
        assert told in caught.value.message
    assert correction(case, (0.0, 1.01)).parts
    assert TargetStats(mean=0.3, std=0.5, count=1).ages is None
