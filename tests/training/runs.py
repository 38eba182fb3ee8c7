"""Small runs that learn something, for the tests of this room."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import nn

from polyrank.config import DataConfig, RunConfig
from polyrank.data import EncodedLog, Encoders, Ledger
from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Keys,
    Numeric,
    Schema,
    parse,
)
from polyrank.storage import (
    FileSource,
    commit_directory,
    jsonio,
    open_committed,
    save_arrays,
)
from polyrank.training.prepared import Prepared
from polyrank.training.records import Record, RunPlan

SCHEMA = Schema(
    features=(
        Categorical(name="user", side="user", min_frequency=1),
        Categorical(name="item", side="item", min_frequency=1),
        Bag(name="tags", side="item", min_frequency=1),
        Numeric(name="age", side="user"),
    ),
    tasks=(
        Binary(name="click"),
        Binary(name="like", within="click"),
        Duration(name="watch", within="click"),
    ),
    keys=Keys(user="user", weight="weight"),
)


def table(rows: int, seed: int, *, users: int = 30, items: int = 40) -> pa.Table:
    """Clicks follow user and item, likes the age; both are missing at times."""
    rng = np.random.default_rng(seed)
    taste = np.random.default_rng(99).normal(size=(users, 3))
    topic = np.random.default_rng(98).normal(size=(items, 3))
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    age = rng.normal(35, 10, rows)
    logit = 2.5 * (taste[user] * topic[item]).sum(1)
    click = rng.random(rows) < 1 / (1 + np.exp(-logit))
    like = rng.random(rows) < 1 / (1 + np.exp(-(age - 35) / 3))
    watch = np.exp(rng.normal(2 + 0.5 * topic[item, 0], 0.3))
    return pa.table(
        {
            "user": user,
            "item": item,
            "tags": [[int(i % 5), int(i % 3)] if i % 4 else [] for i in item],
            "age": age,
            "click": pa.array(click.astype(float), mask=rng.random(rows) < 0.05),
            "like": like.astype(float),
            "watch": watch,
            "weight": rng.integers(1, 3, rows).astype(float),
        }
    )


def config(schema: Schema = SCHEMA, **training: Any) -> RunConfig:
    """A small network, fp32, quick to learn; ``training`` goes over the settings."""
    network = training.pop("model", {})
    settings = {
        "batch_size": 64,
        "epochs": 2,
        "learning_rate": 0.01,
        "table_learning_rate": 0.1,
        "warmup_steps": 5,
        "precision": "fp32",
        "device": "cpu",
        "select": {"patience": 0},
        **training,
    }
    return parse(
        RunConfig,
        {
            "schema": schema.model_dump(mode="json"),
            "data": DataConfig(train="train", validation="validation").model_dump(mode="json"),
            "model": {
                "embedding_dim": 4,
                "embedding_dropout": 0.1,
                "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16]},
                "towers": {"widths": [8], "dropout": 0.1},
                **network,
            },
            "training": settings,
        },
    )


def lines(run_dir: Path) -> list[dict[str, Any]]:
    """The log of a run without the timing."""
    text = (run_dir / "log.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    return [{key: v for key, v in record.items() if key != "timing"} for record in records]


class Recorder:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.plan: RunPlan | None = None
        self.steps: list[int] = []
        self.records: list[Record] = []
        self.closed = 0

    def begin(self, plan: RunPlan) -> None:
        self.plan = plan

    def advance(self, step: int, rows: int) -> None:
        self.steps.append(step)

    def record(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed += 1

    @property
    def notices(self) -> list[str]:
        return [
            getattr(record, "message", "") for record in self.records if record.kind == "notice"
        ]


def prepared(
    folder: Path,
    train: pa.Table | None = None,
    validation: pa.Table | None = None,
    schema: Schema = SCHEMA,
) -> Prepared:
    """The encoded log of a run, in a cache under ``folder``."""
    train = table(600, 0) if train is None else train
    validation = table(300, 1) if validation is None else validation
    encoders = Encoders.fit(schema, [train])
    for part, rows in (("train", train), ("validation", validation)):
        EncodedLog.build(folder / part, encoders, [rows], fingerprint=part)
    meta, arrays = encoders.state()
    files: dict[str, FileSource] = {
        "meta.json": jsonio.dumps(meta),
        "arrays.safetensors": save_arrays(arrays),
    }
    commit_directory(folder / "encoders", files, kind="encoders", format_version=1)
    return open_prepared(folder, schema)


def open_prepared(folder: Path, schema: Schema = SCHEMA) -> Prepared:
    """What ``prepared`` made."""
    with open_committed(folder / "encoders", kind="encoders", supported_versions={1}) as found:
        meta: Any = found.json("meta.json")
        encoders = Encoders.from_state(schema, meta, found.arrays("arrays.safetensors"))
    logs = {}
    for part in ("train", "validation"):
        log = EncodedLog.open(folder / part, part, encoders.layout)
        assert log is not None
        logs[part] = log
    return Prepared(
        encoders=encoders,
        train=logs["train"],
        validation=logs["validation"],
        test=None,
        tables={},
        ledger=Ledger(),
        data_dates={},
        fingerprint=encoders.fingerprint(),
        provenance={},
    )


def digest(model: nn.Module) -> str:
    """SHA-256 of all weights."""
    total = hashlib.sha256()
    for name, value in model.state_dict().items():
        total.update(name.encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()


class Stopped(Exception):
    """The end of a process, as a test sees it."""


class Bomb(Recorder):
    """Ends the run in the middle of its fourth step of six."""

    def advance(self, step: int, rows: int) -> None:
        if step == 4:
            raise Stopped
