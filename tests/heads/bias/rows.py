"""A log whose clicks depend on item, position and device, and networks on it.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.config import RunConfig
from polyrank.data import Encoders
from polyrank.model import RankingModel
from polyrank.schema import Binary, Categorical, Keys, Numeric, Regression, Schema
from tests.training.runs import config

ROWS = 160
SHOWN = ("place", "device")
SCHEMA = Schema(
    features=(
        Categorical(name="place", column="position", side="bias", min_frequency=1),
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="device", side="bias", min_frequency=1),
        Numeric(name="age", side="user"),
    ),
    tasks=(
        Binary(name="click"),
        Binary(name="buy", within="click"),
        Regression(name="stars"),
    ),
    keys=Keys(item="item", position="position", propensity="propensity"),
)
PLAIN = SCHEMA.model_copy(
    update={"features": tuple(f for f in SCHEMA.features if f.side != "bias")}
)
"""Without features on the side ``bias``."""
EXAMINED = PLAIN.model_copy(
    update={"tasks": (Binary(name="click", examined_by="position"), *PLAIN.tasks[1:])}
)
"""With an examination curve of click."""
KINDS: Mapping[str, Mapping[str, Any]] = {
    "shallow_tower": {"kind": "shallow_tower", "dropout": 0.5},
    "pal": {"kind": "pal"},
    "ipw logged": {"kind": "ipw", "source": "logged"},
    "ipw position": {"kind": "ipw", "source": "position"},
}


@cache
def log(seed: int = 0, rows: int = ROWS) -> pa.Table:
    rng = np.random.default_rng(seed)
    position, item = rng.integers(1, 5, rows), rng.integers(0, 12, rows)
    click = rng.random(rows) < (item + 3) / 15 / position**0.5
    return pa.table(
        {
            "position": position,
            "item": item,
            "device": rng.choice(["tv", "phone"], rows),
            "age": rng.normal(35, 10, rows),
            "click": pa.array(click.astype(float), mask=rng.random(rows) < 0.1),
            "buy": (rng.random(rows) < 0.4).astype(float),
            "stars": rng.normal(3, 1, rows),
            "propensity": rng.uniform(0.02, 1.0, rows),
        }
    )


def schema_of(bias: Mapping[str, Any]) -> Schema:
    if bias["kind"] != "ipw":
        return SCHEMA
    return EXAMINED if bias["source"] == "position" else PLAIN


def run_config(bias: Mapping[str, Any], **settings: Any) -> RunConfig:
    network = {
        "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16]},
        "towers": {"widths": [16]},
        "bias": {"click": dict(bias)},
        **settings.pop("model", {}),
    }
    return config(settings.pop("schema", schema_of(bias)), model=network, **settings)


@cache
def encoders(schema: Schema) -> Encoders:
    return Encoders.fit(schema, [log()])


def model_of(run: RunConfig, seed: int = 1) -> RankingModel:
    layout = encoders(run.schema_).layout
    return RankingModel(run.schema_, layout, run.model, seed=seed)
