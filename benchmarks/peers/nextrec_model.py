"""NextRec's MMOE, as it is trained and asked."""

import os
import tempfile

from common import BINARY, DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER, TYPES
from nextrec.basic.features import DenseFeature, SparseFeature
from nextrec.models.multitask.mmoe import MMOE


def mmoe(sizes):
    """The network, untrained; ``sizes`` of the tables. It writes where it is: in a folder of its
    own, from here on."""
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
    model.compile(
        optimizer="adam",
        optimizer_params={"lr": 1e-3},
        loss=["bce"] * len(BINARY) + ["mse"],
    )
    return model
