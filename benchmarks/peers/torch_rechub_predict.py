"""torch-rechub's MMOE through its own trainer's predict."""

import sys
import tempfile

import numpy as np
from common import BINARY, DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER, settings
from timing import tell, timed
from torch.utils.data import DataLoader
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import PredictDataset

_, sizes = settings()
turns = int(sys.argv[4])
features = [
    SparseFeature(name, vocab_size=size, embed_dim=DIM)
    for name, size in zip(IDS, sizes, strict=True)
]
features += [DenseFeature(name) for name in NUMERICS]
types = ["classification"] * len(BINARY) + ["regression"]
model = MMOE(
    features,
    types,
    EXPERTS,
    {"dims": list(EXPERT_WIDTHS)},
    [{"dims": list(TOWER)} for _ in TASKS],
)
rng = np.random.default_rng(0)
found = {}
with tempfile.TemporaryDirectory() as folder:
    trainer = MTLTrainer(model, types, n_epoch=1, model_path=folder)
    for count in map(int, sys.argv[5:]):
        x = {name: rng.integers(0, size, count) for name, size in zip(IDS, sizes, strict=True)}
        x |= {name: rng.normal(size=count).astype(np.float32) for name in NUMERICS}

        def predict(x=x, count=count):
            """As a caller would: a loader of the rows, then the prediction."""
            return trainer.predict(model, DataLoader(PredictDataset(x), batch_size=count))

        found[count] = timed(predict, turns)
tell(found)
