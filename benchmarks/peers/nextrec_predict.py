"""NextRec's MMOE through its own predict."""

import pandas as pd
from common import made_up, settings
from nextrec_model import mmoe
from timing import tell, timed

_, sizes = settings()
model = mmoe(sizes)
found = {}
for count, turns, inputs in made_up(sizes):
    frame = pd.DataFrame(inputs)
    found[count] = timed(lambda x=frame, n=count: model.predict(x, batch_size=n), turns)
tell(found)
