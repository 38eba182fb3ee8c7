"""Small logs, parents whose every weight is random, and what extends them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polyrank.bundle import Bundle, Card
from polyrank.config import DataConfig, RunConfig
from polyrank.data import Encoders
from polyrank.model import ModelConfig, RankingModel
from polyrank.run import Watcher, train_bundle
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Keys,
    Numeric,
    Regression,
    Schema,
    Task,
    parse,
)
from polyrank.scoring import Scorer
from polyrank.training import Sources
from tests.contract.test_sharings_contract import kind_of, settings_of

FEATURES = (
    Categorical(name="user", side="user", min_frequency=1),
    Categorical(name="item", side="item", min_frequency=1),
    Categorical(name="hour", min_frequency=1),
    Bag(name="tags", side="item", min_frequency=1),
    Numeric(name="age", side="user"),
)
KEYS = Keys(user="user", weight="weight")
CLICK, LIKE = Binary(name="click"), Binary(name="like", within="click")
SHARE, WATCH = Binary(name="share", within="like"), Duration(name="watch", within="click")
SPEND = Regression(name="spend")
OLD_TASKS: tuple[Task, ...] = (CLICK, LIKE)
NEW_TASKS: tuple[Task, ...] = (WATCH, LIKE, SHARE, CLICK)
"""Two further tasks, and the old ones at other places."""
NEW = ("watch", "share")


def schema_of(tasks: Iterable[Task] = OLD_TASKS) -> Schema:
    return Schema(features=FEATURES, tasks=tuple(tasks), keys=KEYS)


@cache
def log(rows: int = 320, seed: int = 0, items: int = 20) -> pa.Table:
    """Every label depends on what the row holds; items are numbered from 0."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 12, rows), rng.integers(0, items, rows)
    age = rng.normal(35, 10, rows)
    score = np.sin(user) + np.cos(3.0 * item) + 0.02 * (age - 35)
    click = rng.random(rows) < 1 / (1 + np.exp(-score))
    return pa.table(
        {
            "user": user,
            "item": item,
            "hour": rng.integers(0, 6, rows),
            "tags": [[int(i % 5), int(i % 3)] if i % 4 else [] for i in item],
            "age": pa.array(age, mask=rng.random(rows) < 0.1),
            "click": click.astype(float),
            "like": (rng.random(rows) < 0.4 + 0.3 * np.sin(user)).astype(float),
            "share": (rng.random(rows) < 0.5 + 0.4 * np.cos(item)).astype(float),
            "watch": np.exp(2 + 0.5 * np.sin(item) + rng.normal(0, 0.3, rows)),
            "spend": rng.normal(item, 1.0),
            "weight": rng.integers(1, 3, rows).astype(float),
        }
    )


def sharing_of(case: str, tasks: Sequence[str]) -> dict[str, Any]:
    """The settings of a contract case for such tasks, those with groups with one for all."""
    names = tuple(tasks)
    settings = {**settings_of(case, names), "kind": kind_of(case, names)}
    if "groups" in settings:
        settings["groups"] = {"first": list(tasks)}
    return settings


def model_of(sharing: Mapping[str, Any], **changed: Any) -> ModelConfig:
    tree = {"embedding_dim": 4, "sharing": dict(sharing), "towers": {"widths": [8]}, **changed}
    return parse(ModelConfig, tree)


def parent_of(model: ModelConfig, schema: Schema | None = None, seed: int = 0) -> Bundle:
    """A bundle with weights and running statistics that no other seed gives."""
    schema = schema or schema_of()
    encoders = Encoders.fit(schema, [log()])
    network = RankingModel(schema, encoders.layout, model, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(0.3 * torch.rand(value.shape, generator=generator))
    network.eval().requires_grad_(requires_grad=False)
    card = Card(tasks={}, data={})
    return Bundle(
        schema=schema, encoders=encoders, model=network, model_config=model, tables={}, card=card
    )


def config_of(model: ModelConfig, tasks: Iterable[Task] = NEW_TASKS, **training: Any) -> RunConfig:
    """A short run in fp32."""
    settings = {
        "batch_size": 64,
        "epochs": 1,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "table_weight_decay": 0.1,
        "table_learning_rate": 0.1,
        "warmup_steps": 1,
        "precision": "fp32",
        "device": "cpu",
        "select": {"patience": 0},
        **training,
    }
    return RunConfig(
        schema_=schema_of(tasks),
        data=DataConfig(train="train", validation="validation"),
        model=model,
        training=parse(type(RunConfig.model_fields["training"].default), settings),
        evaluation=parse(type(RunConfig.model_fields["evaluation"].default), {"resamples": 0}),
    )


def sources() -> Sources:
    """A further log: items that the parent never saw are among its own."""
    return Sources.of(train=log(320, 1, 26), validation=log(96, 2, 26), tables={})


def extend(
    parent: Bundle,
    config: RunConfig,
    run_dir: Path | None = None,
    watcher: Watcher | None = None,
    **kwargs: Any,
) -> Bundle:
    return train_bundle(config, sources(), run_dir, parent=parent, watcher=watcher, **kwargs)


def predictions(bundle: Bundle, table: pa.Table | None = None) -> dict[str, Any]:
    """Of every task, for a table with items that nobody saw among its own."""
    return Scorer(bundle).predict(log(128, 3, 30) if table is None else table)


def same_bits(a: Bundle, b: Bundle, tasks: Iterable[str] = ("click", "like")) -> bool:
    """Whether both predict the same, bit for bit."""
    left, right = predictions(a), predictions(b)
    return all(np.array_equal(left[task], right[task]) for task in tasks)


def replaced(bundle: Bundle, **changes: Any) -> Bundle:
    return dataclasses.replace(bundle, **changes)
