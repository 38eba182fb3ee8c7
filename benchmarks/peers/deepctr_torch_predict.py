"""DeepCTR-Torch's MMOE through its own predict."""

from common import made_up, settings
from deepctr_torch_model import mmoe
from timing import tell, timed

_, sizes = settings()
model = mmoe(sizes)
found = {}
for count, turns, inputs in made_up(sizes):
    found[count] = timed(lambda x=inputs, n=count: model.predict(x, batch_size=n), turns)
tell(found)
