"""DeepCTR-Torch's MMOE through its own fit."""

import numpy as np
from common import (
    BATCH,
    BINARY,
    DIM,
    EXPERT_WIDTHS,
    EXPERTS,
    IDS,
    NUMERICS,
    TASKS,
    TOWER,
    TYPES,
    Clock,
    columns,
    settings,
)
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import MMOE

path, sizes = settings()
clock = Clock()
log = columns(path)
features = [SparseFeat(name, size, DIM) for name, size in zip(IDS, sizes, strict=True)]
features += [DenseFeat(name, 1) for name in NUMERICS]
model = MMOE(
    features,
    num_experts=EXPERTS,
    expert_dnn_hidden_units=EXPERT_WIDTHS,
    gate_dnn_hidden_units=(),
    tower_dnn_hidden_units=TOWER,
    l2_reg_embedding=0,
    l2_reg_linear=0,
    task_types=TYPES,
    task_names=TASKS,
)
model.compile("adam", loss=["binary_crossentropy"] * len(BINARY) + ["mse"])
labels = np.stack([log[task] for task in TASKS], 1).astype(np.float32)
inputs = {name: log[name] for name in [*IDS, *NUMERICS]}
model.fit(inputs, labels, batch_size=BATCH, epochs=1, verbose=0)
clock.report(len(labels))
