"""DeepCTR-Torch's MMOE through its own predict."""

import sys

import numpy as np
from common import DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER, TYPES, settings
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import MMOE
from timing import tell, timed

_, sizes = settings()
turns = int(sys.argv[4])
features = [SparseFeat(name, size, DIM) for name, size in zip(IDS, sizes, strict=True)]
features += [DenseFeat(name, 1) for name in NUMERICS]
model = MMOE(
    features,
    num_experts=EXPERTS,
    expert_dnn_hidden_units=EXPERT_WIDTHS,
    gate_dnn_hidden_units=(),
    tower_dnn_hidden_units=TOWER,
    task_types=TYPES,
    task_names=TASKS,
)
rng = np.random.default_rng(0)
found = {}
for count in map(int, sys.argv[5:]):
    inputs = {name: rng.integers(0, size, count) for name, size in zip(IDS, sizes, strict=True)}
    inputs |= {name: rng.normal(size=count).astype(np.float32) for name in NUMERICS}
    found[count] = timed(lambda x=inputs, n=count: model.predict(x, batch_size=n), turns)
tell(found)
