"""Every sharing architecture under every head, as one network: training, saving and resuming.

Shapes: B rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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
from polyrank.heads import HEADS, masked_mean
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Categorical, Keys, Numeric, Schema
from polyrank.scoring import Scorer
from polyrank.training import Prepared, train
from tests.contract.owners import owner, pieces
from tests.contract.test_heads_contract import CASES as HEAD_CASES
from tests.contract.test_sharings_contract import CASES, config_of
from tests.training.runs import Bomb, Stopped, config, digest, lines, prepared

TASKS = {
    f"{kind}_task": (task, labels) for kind, (task, _, labels, _) in sorted(HEAD_CASES.items())
}
SCHEMA = Schema(
    features=(  # not in the order of the sides
        Categorical(name="hour", side="context", min_frequency=1),
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="user", side="user", min_frequency=1),
        Numeric(name="age", side="user"),
    ),
    tasks=tuple(
        task.model_copy(update={"name": name, "label": name}) for name, (task, _) in TASKS.items()
    ),
    keys=Keys(user="user"),
)
ROWS = 96


def test_every_head_is_here() -> None:
    assert set(SCHEMA.task_names) == {f"{kind}_task" for kind in HEADS}
    assert len(SCHEMA.tasks) > 1


@cache
def _log(seed: int) -> pa.Table:
    """Every label that its head's contract calls valid; one in ten is not observed."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.integers(0, 12, ROWS) for name in ("user", "item", "hour")}
    labels = {
        name: pa.array(rng.choice(valid, ROWS), mask=rng.random(ROWS) < 0.1)
        for name, (_, valid) in TASKS.items()
    }
    columns["age"] = rng.normal(35, 10, ROWS)
    columns["length"] = pa.array(rng.uniform(1e4, 1e5, ROWS), mask=rng.random(ROWS) < 0.1)
    columns["cut"] = rng.integers(0, 2, ROWS)
    return pa.table({**columns, **labels})


@cache
def _encoders() -> Encoders:
    return Encoders.fit(SCHEMA, [_log(0)])


def _model_config(case: str) -> ModelConfig:
    sharing: Any = config_of(case, SCHEMA.task_names)
    heads: Any = {f"{kind}_task": {"kind": kind} for kind in HEADS}
    return ModelConfig(embedding_dim=4, sharing=sharing, towers=Towers(widths=(8,)), heads=heads)


def _model(case: str) -> RankingModel:
    return RankingModel(SCHEMA, _encoders().layout, _model_config(case), seed=1)


def _losses(model: RankingModel, batch: Batch, masked: str = "") -> Tensor:
    """The sum of all tasks' losses and the penalty; no label of ``masked`` is observed."""
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    forward = model(batch)
    total = torch.zeros(()) if forward.shared.penalty is None else forward.shared.penalty
    if masked:
        total = torch.zeros(())
    for place, (task, head) in enumerate(model.heads.items()):
        observed_B = batch.observed_BT[:, place] & (task != masked)
        loss_B = head.loss(forward.logits[task], batch.labels_BT[:, place])
        assert loss_B.isfinite().all(), task
        denominator = (observed_B * batch.weight_B).sum()
        total = total + masked_mean(loss_B, observed_B, batch.weight_B, denominator)
    return total


def _gradients(model: RankingModel) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.to_dense()
        for name, parameter in model.named_parameters()
    }


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # Some blocks draw in training.
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 7])
def test_losses_and_gradients_are_finite(case: str, rows: int) -> None:
    model = _model(case).train()
    loss = _losses(model, _encoders().encode(_log(0).slice(0, rows)))
    loss.backward()
    assert loss.isfinite()
    gradients = _gradients(model)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.abs().sum() > 0 for gradient in gradients.values())


def test_a_task_without_labels_gives_no_gradient_to_what_it_owns(case: str) -> None:
    model = _model(case).train()
    for place, masked in enumerate(model.heads):
        model.zero_grad()
        _losses(model, _encoders().encode(_log(0)), masked).backward()
        gradients = _gradients(model)
        for name, gradient in gradients.items():
            if name.startswith("towers."):
                own = name.startswith(f"towers.{place}.")
                assert bool(gradient.abs().sum() > 0) != own, (masked, name)
        shared = {
            name.removeprefix("sharing."): gradient
            for name, gradient in gradients.items()
            if name.startswith("sharing.")
        }
        for piece, gradient in pieces(model.sharing, shared).items():
            if owner(piece, SCHEMA.task_names) == masked:
                assert (gradient == 0).all(), (masked, piece)


def test_a_loaded_bundle_scores_as_the_saved_one(case: str, tmp_path: Path) -> None:
    model_config = _model_config(case)
    model = _model(case).train()
    model(_encoders().encode(_log(1)))  # moves running statistics from where they start
    bundle = Bundle(
        schema=SCHEMA,
        encoders=_encoders(),
        model=model.eval(),
        model_config=model_config,
        tables={},
        card=Card(tasks=describe_tasks(SCHEMA), data={}),
    )
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.model_config == model_config
    candidates = _log(0).slice(0, 40).drop_columns(list(TASKS))
    scores = Scorer(bundle).score(candidates)
    assert Scorer(loaded).score(candidates).equals(scores)
    alone = Scorer(loaded).score(candidates.slice(33, 1))
    for column in alone.column_names:
        if column.startswith("predicted"):
            assert alone[column][0].as_py() == pytest.approx(scores[column][33].as_py(), rel=1e-6)


# Resuming.


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"), _log(0), _log(1), SCHEMA)


def _run_config(case: str) -> RunConfig:
    network = {
        "sharing": config_of(case, SCHEMA.task_names).model_dump(mode="json"),
        "heads": {f"{kind}_task": {"kind": kind} for kind in HEADS},
    }
    return config(
        SCHEMA,
        model=network,
        batch_size=32,
        epochs=2,
        checkpoint={"every": 2, "keep": 1},
        select={"patience": 0},
    )


def test_a_resumed_run_ends_with_the_same_bits(
    case: str, log: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    run = _run_config(case)
    whole = train(run, log, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, log, tmp_path / "stopped", observer=Bomb())
    resumed = train(run, log, tmp_path / "stopped", resume="strict")
    assert whole.steps == 6
    assert digest(resumed.model) == digest(whole.model)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
