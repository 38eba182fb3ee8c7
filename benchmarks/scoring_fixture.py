"""The network of the scoring benchmark: that of the training benchmark, with untrained weights.

Half of the features are the user's, every other one, so that both sides have small and large
vocabularies.
"""

from __future__ import annotations

import numpy as np
import torch

import speed_log
from polyrank.data import Batch
from polyrank.data.layout import IdColumn, Layout, NumericColumn, TargetStats
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Binary, Categorical, Numeric, Regression, Schema, Side
from polyrank.sharing import MMoE

SIDES: tuple[Side, ...] = ("user", "item")
TASKS = ("click", "like", "watch")


def model() -> RankingModel:
    """8 experts 256-128, towers 64, 26 id columns, 13 numbers."""
    ids = [(f"c{place}", SIDES[place % 2]) for place in range(speed_log.NUM_IDS)]
    numbers = [(f"n{place}", SIDES[place % 2]) for place in range(speed_log.NUM_NUMERICS)]
    schema = Schema(
        features=(
            *(Categorical(name=name, side=side, min_frequency=1) for name, side in ids),
            *(Numeric(name=name, side=side) for name, side in numbers),
        ),
        tasks=(Binary(name="click"), Binary(name="like"), Regression(name="watch")),
    )
    layout = Layout(
        ids=tuple(IdColumn(name=name, side=side) for name, side in ids),
        numerics=tuple(NumericColumn(name=name, side=side) for name, side in numbers),
        ragged=(),
        vectors=(),
        tasks=TASKS,
        num_rows=sum(speed_log.cardinalities()),
        targets={task: TargetStats(mean=0.1, std=0.3, count=9) for task in TASKS},
    )
    config = ModelConfig(
        embedding_dim=16,
        sharing=MMoE(num_experts=8, widths=(256, 128)),
        towers=Towers(widths=(64,)),
    )
    made = RankingModel(schema, layout, config, seed=0).eval().requires_grad_(requires_grad=False)
    drawn = torch.Generator().manual_seed(0)
    for table in made.tables_of_inputs():
        table.normal_(0, 0.3, generator=drawn)  # as wide as after training
    return made


def rows(num_rows: int, seed: int = 0) -> Batch:
    """Zipf ids and normal numbers."""
    rng = np.random.default_rng(seed)
    sizes = speed_log.cardinalities()
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ids = [
        (size ** rng.random(num_rows)).astype(np.int64) - 1 + start
        for size, start in zip(sizes, starts, strict=True)
    ]
    numbers = rng.normal(size=(num_rows, speed_log.NUM_NUMERICS)).astype(np.float32)
    return Batch(
        ids_BF=torch.from_numpy(np.stack(ids, 1)),
        numeric_BN=torch.from_numpy(numbers),
        ragged={},
        vectors={},
    )
