"""torch-rechub's MMOE through its own trainer's predict."""

import tempfile

from common import made_up, settings
from timing import tell, timed
from torch.utils.data import DataLoader
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import PredictDataset
from torch_rechub_model import TYPES, mmoe

_, sizes = settings()
model = mmoe(sizes)
found = {}
with tempfile.TemporaryDirectory() as folder:
    trainer = MTLTrainer(model, TYPES, n_epoch=1, model_path=folder)
    for count, turns, inputs in made_up(sizes):

        def predict(x=inputs, count=count):
            """As a caller would: a loader of the rows, then the prediction."""
            return trainer.predict(model, DataLoader(PredictDataset(x), batch_size=count))

        found[count] = timed(predict, turns)
tell(found)
