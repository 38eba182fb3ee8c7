"""DeepCTR-Torch's MMOE through its own fit."""

import numpy as np
from common import BATCH, BINARY, IDS, NUMERICS, TASKS, Clock, columns, settings
from deepctr_torch_model import mmoe

path, sizes = settings()
clock = Clock()
log = columns(path)
model = mmoe(sizes)
model.compile("adam", loss=["binary_crossentropy"] * len(BINARY) + ["mse"])
labels = np.stack([log[task] for task in TASKS], 1).astype(np.float32)
inputs = {name: log[name] for name in [*IDS, *NUMERICS]}
model.fit(inputs, labels, batch_size=BATCH, epochs=1, verbose=0)
clock.report(len(labels))
