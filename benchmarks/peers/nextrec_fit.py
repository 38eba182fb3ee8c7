"""NextRec's MMOE through its own fit."""

import os
import tempfile
from pathlib import Path

import pandas as pd
from common import (
    BATCH,
    BINARY,
    DIM,
    EXPERT_WIDTHS,
    EXPERTS,
    IDS,
    NUMERICS,
    REGRESSION,
    TASKS,
    TOWER,
    TYPES,
    Clock,
    settings,
)
from nextrec.basic.features import DenseFeature, SparseFeature
from nextrec.models.multitask.mmoe import MMOE

path, sizes = settings()
path = Path(path).resolve()
os.chdir(tempfile.mkdtemp())
clock = Clock()
log = pd.read_parquet(path)
model = MMOE(
    dense_features=[DenseFeature(name) for name in NUMERICS],
    sparse_features=[
        SparseFeature(name, vocab_size=size, embedding_dim=DIM)
        for name, size in zip(IDS, sizes, strict=True)
    ],
    expert_mlp_params={"hidden_dims": list(EXPERT_WIDTHS), "activation": "relu"},
    num_experts=EXPERTS,
    tower_mlp_params_list=[{"hidden_dims": list(TOWER)} for _ in TASKS],
    target=TASKS,
    task=TYPES,
    device="cpu",
)
model.compile(
    optimizer="adam",
    optimizer_params={"lr": 1e-3},
    loss=["bce"] * len(BINARY) + ["mse"],
)
metrics = {task: ["logloss"] for task in BINARY} | {REGRESSION: ["mse"]}
model.fit(
    train_data=log,
    metrics=metrics,
    epochs=1,
    batch_size=BATCH,
    shuffle=True,
    use_tensorboard=False,
)
clock.report(len(log))
