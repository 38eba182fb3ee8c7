"""Bias models in a network: nothing shared reads how a row was shown, nor does a prediction.

Shapes: B rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from polyrank.bundle import Bundle, Card, describe_tasks, load_bundle, save_bundle
from polyrank.cli.app import app
from polyrank.config import TrainingConfig
from polyrank.data import Batch
from polyrank.errors import ConfigError
from polyrank.explain import explain_model
from polyrank.heads import Masked, build_head
from polyrank.heads.bias import PAL, BiasObjective, build_towers
from polyrank.interactions import INTERACTIONS
from polyrank.layers import cost_of
from polyrank.model import ModelConfig, RankingModel
from polyrank.ranker import Ranker
from polyrank.schema import Categorical, parse
from polyrank.scoring import PREFIX, Scorer
from polyrank.sharing import SHARINGS
from polyrank.training import Prepared, train
from polyrank.training.step import denominators_of
from tests.contract.test_sharings_contract import CASES
from tests.heads.bias.rows import KINDS, SCHEMA, encoders, log, model_of, run_config
from tests.heads.funnel_rows import total
from tests.training.runs import Bomb, Stopped, digest, lines, prepared

TOWERS = ("pal", "shallow_tower")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def whole(name: str) -> Batch:
    return encoders(run_config(KINDS[name]).schema_).encode(log())


def shuffled(batch: Batch) -> Batch:
    """The same rows, shown in other ways."""
    layout = encoders(SCHEMA).layout
    ids_BF = batch.ids_BF.clone()
    for place, column in enumerate(layout.ids):
        if column.name in layout.bias_rows:
            ids_BF[:, place] = ids_BF[:, place].roll(7)
    return dataclasses.replace(batch, ids_BF=ids_BF)


def bundle_of(name: str) -> Bundle:
    run = run_config(KINDS[name])
    return Bundle(
        schema=run.schema_,
        encoders=encoders(run.schema_),
        model=model_of(run).eval(),
        model_config=run.model,
        tables={},
        card=Card(tasks=describe_tasks(run.schema_, run.model.seen_tasks), data={}),
    )


def networks() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in sorted(SHARINGS):
        yield f"sharing {kind}", {"sharing": _sharing(kind)}
    for kind in sorted(INTERACTIONS):
        yield f"interaction {kind}", {"interaction": {"kind": kind}}


def _sharing(kind: str) -> dict[str, Any]:
    """Small, for these tasks and features."""
    found = CASES[kind]
    settings = found(SCHEMA.task_names) if callable(found) else dict(found)
    if kind == "pepnet":
        settings |= {"domain": ["age"], "priors": ["item"]}
    return {"kind": kind, **settings}


NETWORKS = dict(networks())


def test_a_gate_cannot_name_a_feature_that_is_not_known_when_scoring() -> None:
    sharing = {**NETWORKS["sharing pepnet"]["sharing"], "priors": ["place"]}
    with pytest.raises(ConfigError, match="must name features of the schema, got 'place'"):
        run_config(KINDS["pal"], model={"sharing": sharing})


@cache
def built(network: str, name: str) -> RankingModel:
    return model_of(run_config(KINDS[name], model=NETWORKS[network]))


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_shared_does_not_depend_on_how_a_row_was_shown(network: str) -> None:
    """In training, where bias logits do."""
    model, batch = built(network, "shallow_tower").train(), whole("shallow_tower")
    for parameter in model.parameters():
        assert not parameter.is_meta
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = []
    for given in (batch, shuffled(batch)):
        model.load_state_dict(state)  # running statistics move in a pass
        torch.manual_seed(4)
        found.append(model(given))
    model.load_state_dict(state)
    first, second = found
    for task in SCHEMA.task_names:
        assert torch.equal(first.logits[task], second.logits[task])
        assert torch.equal(first.shared.tasks[task], second.shared.tasks[task])
    assert not torch.equal(first.logits["click.bias"], second.logits["click.bias"])
    names = {block.name for layer in model.inputs for block in layer.blocks}  # type: ignore[union-attr]
    assert names == {"item", "age"}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", TOWERS)
def test_predictions_do_not_depend_on_how_a_row_was_shown(network: str, name: str) -> None:
    model, batch = built(network, name).eval(), whole(name)
    first, second = model.predict(batch), model.predict(shuffled(batch))
    for task, value_B in first.items():
        assert torch.equal(value_B, second[task])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", KINDS)
def test_all_of_it_learns(network: str, name: str) -> None:
    model, batch = built(network, name).train(), whole(name)
    model.zero_grad()
    torch.manual_seed(0)
    total(model.objective, model(batch).logits, batch).backward()
    learners = {k: p for k, p in model.named_parameters() if k.startswith(("bias.", "inputs."))}
    assert any(k.startswith("bias.") for k in learners) == (name in TOWERS)
    for key, parameter in learners.items():
        assert parameter.grad is not None, key
        assert parameter.grad.to_dense().isfinite().all(), key
        assert parameter.grad.to_dense().abs().sum() > 0, key
    tables = {id(table.weight) for table in model.tables()}
    for key, parameter in learners.items():
        assert parameter.grad is not None
        assert parameter.grad.is_sparse == (id(parameter) in tables), key


@pytest.mark.parametrize("name", TOWERS)
def test_the_rest_starts_from_the_same_weights_with_and_without(name: str) -> None:
    run = run_config(KINDS[name])
    bare = run.model.model_copy(update={"bias": {}})
    layout = encoders(run.schema_).layout
    weights = model_of(run).state_dict()
    for key, value in RankingModel(run.schema_, layout, bare, seed=1).state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_a_batch_without_a_known_bias_is_skipped() -> None:
    """The part has no row; no NaN."""
    model, batch = model_of(run_config(KINDS["ipw position"])).train(), whole("ipw position")
    unknown = {name: torch.full_like(value, torch.nan) for name, value in batch.extras.items()}
    hidden = dataclasses.replace(batch, extras=unknown)
    sums = dict(
        zip(
            (part.name for part in model.objective.parts),
            denominators_of(model.objective, hidden).tolist(),
            strict=True,
        )
    )
    assert sums["click"] == 0
    assert sums["buy"] > 0
    assert total(model.objective, model(hidden).logits, hidden).isfinite()


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_network_scores_the_same_alone_after_loading_and_wherever_it_stands(
    name: str, tmp_path: Path
) -> None:
    bundle = bundle_of(name)
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.model_config == bundle.model_config
    candidates = log().select(["item", "age"])
    scores = Scorer(bundle).score(candidates)
    assert Scorer(loaded).score(candidates).equals(scores)
    for position in (1, 4, 99, None):
        placed = candidates.append_column(
            "position", pa.array([position] * candidates.num_rows, pa.int64())
        ).append_column("device", pa.array(["phone"] * candidates.num_rows))
        again = Scorer(loaded).score(placed)
        assert again.select(scores.column_names).equals(scores)
    alone = Scorer(loaded).score(candidates.slice(33, 1))
    for task in SCHEMA.task_names:
        assert alone[PREFIX + task][0].as_py() == scores[PREFIX + task][33].as_py()
    told = scores.schema.field(PREFIX + "click").metadata[b"quantity"].decode()
    seen = name in ("pal", "ipw position")
    assert told == ("P(click = 1 | seen)" if seen else "P(click = 1)")
    assert loaded.card.tasks["click"].endswith(told)


@pytest.mark.parametrize("name", TOWERS)
def test_columns_that_are_given_and_ignored_are_told_once(name: str, tmp_path: Path) -> None:
    save_bundle(bundle_of(name), tmp_path / "bundle")
    bare, given = log().select(["item", "age"]), log()
    scorer = Scorer(load_bundle(tmp_path / "bundle"))
    assert scorer.notices(bare) == ()
    (told,) = scorer.notices(given)
    assert told == "given and ignored: position, device, since only training reads `side: bias`"
    pq.write_table(given, tmp_path / "log.parquet")
    paths = [str(tmp_path / part) for part in ("bundle", "log.parquet", "out.parquet")]
    result = CliRunner().invoke(app, ["score", *paths])
    assert result.exit_code == 0, result.output
    assert result.output.count("given and ignored") == 1


def test_a_column_that_a_feature_reads_too_is_not_ignored() -> None:
    bundle = bundle_of("pal")
    features = (*SCHEMA.features, Categorical(name="screen", column="device", side="context"))
    both = dataclasses.replace(bundle, schema=SCHEMA.model_copy(update={"features": features}))
    assert Scorer(both).notices(log())[0].startswith("given and ignored: position,")


def test_a_ranker_takes_them_by_task() -> None:
    training = TrainingConfig(epochs=1, device="cpu", precision="fp32")
    ranker = Ranker(SCHEMA, bias={"click": PAL()}, training=training)
    ranker.fit(log(), log(1))
    scores = ranker.score(log().select(["item", "age"]))
    assert scores.schema.field(PREFIX + "click").metadata == {b"quantity": b"P(click = 1 | seen)"}
    assert "P(click = 1 | seen)" in ranker.bundle.card.tasks["click"]


@pytest.mark.parametrize("name", KINDS)
def test_the_costs_of_its_parts_add_up(name: str) -> None:
    run = run_config(KINDS[name])
    with torch.device("meta"):
        model = model_of(run)
    network = explain_model(model, encoders(run.schema_), run.model)
    assert network.total == cost_of(model) == cost_of(model_of(run))
    blocks = {block.name: block for block in network.blocks}
    assert ("bias" in blocks) == (name in TOWERS)
    assert blocks["input"].shape.startswith("2 features → ")
    if name in TOWERS:
        assert [part.name for part in blocks["bias"].parts] == [f"{name} of click"]
        assert blocks["bias"].parts[0].cost == blocks["bias"].cost
    assert set(network.vocabularies) == {"item"}
    assert sum(network.vocabularies.values()) == encoders(run.schema_).layout.num_rows


@cache
def _prepared(name: str, folder: Path) -> Prepared:
    return prepared(folder, log(), log(1), run_config(KINDS[name]).schema_)


@pytest.mark.parametrize("name", KINDS)
def test_a_resumed_run_ends_with_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    rows = _prepared(name, tmp_path / "log")
    run = run_config(KINDS[name], batch_size=60, epochs=2, checkpoint={"every": 2, "keep": 1})
    done = train(run, rows, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, rows, tmp_path / "stopped", observer=Bomb())
    resumed = train(run, rows, tmp_path / "stopped", resume="strict")
    assert done.steps == 6
    assert digest(resumed.model) == digest(done.model)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


def _every_row() -> tuple[Batch, list[int], list[float]]:
    """Each item at each position, clicked or not, weighing as often as that happens; by item its
    relevance. Items stand high for another trait than relevance."""
    weights: list[float] = []
    rows: list[dict[str, float]] = []
    relevance = [(item % 4 + 1) / 5 for item in range(12)]
    for item, position in itertools.product(range(12), range(1, 5)):
        near = [math.exp(-2 * abs(k - (1 + 1.5 * (item // 4)))) for k in range(1, 5)]
        clicked = relevance[item] / position
        for label, share in ((0.0, 1 - clicked), (1.0, clicked)):
            weights.append(near[position - 1] / sum(near) * share)
            rows.append({"item": item, "position": position, "click": label})
    table = pa.Table.from_pylist(rows)
    for column in ("device", "age", "buy", "stars", "propensity"):
        table = table.append_column(column, pa.array(log()[column][:1].to_pylist() * len(rows)))
    batch = encoders(SCHEMA).encode(table)
    theta_B = torch.tensor([1 / row["position"] for row in rows])
    weighted = dataclasses.replace(
        batch,
        weight_B=torch.tensor(weights),
        extras={"click.examination": theta_B, "propensity": torch.ones(len(rows))},
    )
    return weighted, [int(row["item"]) for row in rows], relevance


def _told(name: str) -> float:
    """Correlation with relevance of what is learned, given a free logit for each item."""
    batch, items, relevance = _every_row()
    layout = encoders(SCHEMA).layout
    torch.manual_seed(0)
    settings = {key: value for key, value in KINDS[name].items() if key != "dropout"}
    chosen = parse(ModelConfig, {"bias": {"click": settings}}).bias
    inner = Masked().build(
        SCHEMA, {task.name: build_head(task, layout.targets[task.name]) for task in SCHEMA.tasks}
    )
    objective = BiasObjective(inner, chosen, SCHEMA)
    towers = build_towers(chosen, SCHEMA, layout)
    free_I = torch.zeros(12, requires_grad=True)
    dense = [
        value
        for key, value in (towers.named_parameters() if towers is not None else ())
        if "table" not in key  # the embeddings stay as they started
    ]
    optimizer = torch.optim.Adam([free_I, *dense], lr=0.03)
    for _ in range(500):
        optimizer.zero_grad()
        logits = {output.name: free_I[items][:, None] for output in objective.outputs}
        if towers is not None:
            logits |= towers.train()(batch)
        part = objective.losses(logits, batch, ["click"])["click"]
        (part * batch.weight_B).sum().backward()  # type: ignore[operator]
        optimizer.step()
    return float(np.corrcoef(torch.sigmoid(free_I.detach()).numpy(), relevance)[0, 1])


def test_relevance_is_told_from_position() -> None:
    """What the rates of clicks mix up; the shallow tower is no product, so it comes near."""
    assert _told("ipw logged") < 0.8  # all propensities 1: nothing is corrected
    assert _told("ipw position") > 0.999
    assert _told("pal") > 0.99
    assert _told("shallow_tower") > 0.9
