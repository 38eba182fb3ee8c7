"""torch-rechub's MMOE through its own trainer. It insists on a validation set: 1,000 rows."""

import tempfile

import numpy as np
from common import BATCH, IDS, NUMERICS, TASKS, Clock, columns, settings
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator
from torch_rechub_model import TYPES, mmoe

path, sizes = settings()
clock = Clock()
log = columns(path)
model = mmoe(sizes)
x = {name: log[name] for name in [*IDS, *NUMERICS]}
y = np.stack([log[task] for task in TASKS], 1).astype(np.float32)
few = slice(0, 1000)
train, valid, _ = DataGenerator(x, y).generate_dataloader(
    x_val={name: column[few] for name, column in x.items()},
    y_val=y[few],
    x_test={name: column[few] for name, column in x.items()},
    y_test=y[few],
    batch_size=BATCH,
)
with tempfile.TemporaryDirectory() as folder:
    trainer = MTLTrainer(model, TYPES, n_epoch=1, model_path=folder)
    trainer.fit(train, valid)
clock.report(len(y))
