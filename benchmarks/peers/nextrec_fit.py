"""NextRec's MMOE through its own fit."""

import pandas as pd
from common import BATCH, BINARY, REGRESSION, Clock, settings
from nextrec_model import mmoe

path, sizes = settings()
clock = Clock()
log = pd.read_parquet(path)
model = mmoe(sizes)
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
