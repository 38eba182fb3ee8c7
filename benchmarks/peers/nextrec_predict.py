"""NextRec's MMOE through its own predict."""

import os
import sys
import tempfile

import numpy as np
import pandas as pd
from common import BINARY, DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER, TYPES, settings
from nextrec.basic.features import DenseFeature, SparseFeature
from nextrec.models.multitask.mmoe import MMOE
from timing import tell, timed

_, sizes = settings()
turns = int(sys.argv[4])
os.chdir(tempfile.mkdtemp())
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
model.compile(optimizer="adam", loss=["bce"] * len(BINARY) + ["mse"])
rng = np.random.default_rng(0)
found = {}
for count in map(int, sys.argv[5:]):
    x = {name: rng.integers(0, size, count) for name, size in zip(IDS, sizes, strict=True)}
    x |= {name: rng.normal(size=count).astype(np.float32) for name in NUMERICS}
    frame = pd.DataFrame(x)
    found[count] = timed(lambda x=frame, n=count: model.predict(x, batch_size=n), turns)
tell(found)
