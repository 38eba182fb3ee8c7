"""Tiny bundles without training, and what may be done to them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polyrank.bundle import Bundle, Card, describe_tasks, save_bundle
from polyrank.data import Encoders
from polyrank.fusion import WeightedSum
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Binary, Categorical, Duration, Numeric, Regression, Schema
from polyrank.scoring import Engine, TorchEngine
from polyrank.serving.models import CatalogSettings, GateSettings
from polyrank.sharing import SharedBottom
from polyrank.storage import commit_directory, open_committed

AT_ONCE = CatalogSettings(gate=GateSettings(nice=0))
"""Trials that give way to nobody: a test waits for them."""
CONFIG = ModelConfig(embedding_dim=4, sharing=SharedBottom(widths=(8,)), towers=Towers(widths=(4,)))
FEATURES = (
    Categorical(name="item", min_frequency=1),
    Categorical(name="tag", min_frequency=1),
    Numeric(name="age", scaling="standard"),
)
MIXED = Schema(
    features=FEATURES, tasks=(Binary(name="click"), Binary(name="like"), Duration(name="watch"))
)
LEVELS = Schema(features=FEATURES, tasks=tuple(Regression(name=name) for name in "abc"))
"""Labels of mean 0 and deviation 1: a head's bias is what it predicts, exactly."""


def rows(size: int = 40) -> pa.Table:
    """Candidates, without labels."""
    places = np.arange(size)
    return pa.table(
        {
            "item": places % 7,
            "tag": pa.array([f"t{place % 5}" for place in places]),
            "age": (places % 11).astype(np.float64),
            "age2": (places % 3).astype(np.float64),
        }
    )


@cache
def _encoders(schema: Schema) -> Encoders:
    table = rows()
    sign_N = np.where(np.arange(table.num_rows) % 2 == 0, 1.0, -1.0)
    for task in schema.tasks:
        label_N = sign_N if isinstance(task, Regression) else (sign_N > 0).astype(np.float64)
        table = table.append_column(task.name, pa.array(label_N))
    return Encoders.fit(schema, [table])


def bundle(schema: Schema = MIXED, seed: int = 1) -> Bundle:
    """Random weights."""
    encoders = _encoders(schema)
    return Bundle(
        schema=schema,
        encoders=encoders,
        model=RankingModel(schema, encoders.layout, CONFIG, seed=seed).eval(),
        model_config=CONFIG,
        tables={},
        card=Card(tasks=describe_tasks(schema), data={}),
    )


def level(k: int) -> Bundle:
    """Every task predicts k for whatever row, and is weighed by k: a third of each score is k k."""
    found = bundle(LEVELS)
    with torch.no_grad():
        for name, value in found.model.named_parameters():
            if name.startswith("towers"):
                value.fill_(float(k) if name.count(".") == 2 and name.endswith("bias") else 0.0)
    terms = dict.fromkeys(LEVELS.task_names, float(k))
    return found.with_value_model(WeightedSum(terms=terms))


def save(found: Bundle, path: Path) -> Path:
    """Saved, in place of what is there."""
    save_bundle(found, path, replace=True)
    return path


def sealed(source: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A bundle with files that somebody changed, under a manifest that fits them."""
    with open_committed(source, kind="bundle", supported_versions={1}) as committed:
        files: dict[str, Any] = {name: committed.read(name) for name in committed.names}
        extra = dict(committed.manifest.extra)
    version = change(files)
    commit_directory(
        target,
        files,
        kind="bundle",
        format_version=version if isinstance(version, int) else 1,
        extra=extra,
        replace=True,
    )
    return target


def edited(name: str, change: Callable[[Any], object]) -> Callable[[dict[str, Any]], object]:
    """A change of a JSON file in place."""

    def apply(files: dict[str, Any]) -> None:
        tree = json.loads(files[name])
        change(tree)
        files[name] = json.dumps(tree).encode()

    return apply


def odd(found: Bundle, how: str, good: str) -> Engine:
    """Eager torch for the bundle of content ``good``; of any other one, something goes wrong."""
    if found.version == good:
        return TorchEngine(found.model)
    if how == "sleeps":
        time.sleep(60.0)
    elif how == "runs on":
        while True:
            pass
    elif how == "is greedy":
        np.empty(1 << 33, dtype=np.uint8)
    elif how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "is broken":
        raise NotImplementedError("no such thing")
    return TorchEngine(found.model)


def straining(found: Bundle, how: str, good: str) -> Engine:
    """As ``odd``; something takes much."""
    if found.version != good and how == "memory":
        held = [np.ones(1 << 24, dtype=np.uint8) for _ in range(1 << 6)]
        time.sleep(60.0)
        del held
    elif found.version != good:  # stacks of threads are address space, and hardly memory
        over = threading.Event()
        for _ in range(64):
            threading.Thread(target=over.wait, daemon=True).start()
        over.set()
    return TorchEngine(found.model)


def swapping(found: Bundle, good: str, path: str, other: str) -> Engine:
    """Eager torch; of any bundle but ``good``, another one lies at its path afterwards."""
    if found.version != good and Path(other).exists():
        Path(path).rename(f"{path}-before")
        Path(other).rename(path)
    return TorchEngine(found.model)
