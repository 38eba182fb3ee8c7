"""The prediction log: answered requests as Parquet files that every other verb can read.

>>> import tempfile
>>> from datetime import UTC, datetime
>>> from pathlib import Path
>>> import numpy as np
>>> import pyarrow as pa
>>> import pyarrow.parquet as pq
>>> from polyrank.schema import Binary, Categorical, Keys, Schema
>>> from polyrank.serving.predictions import Answer, PredictionLog
>>> schema = Schema(
...     features=(Categorical(name="item"),),
...     tasks=(Binary(name="click"),),
...     keys=Keys(request="request", item="item"),
... )
>>> answer = Answer(
...     request="r-1",
...     at=datetime.now(UTC),
...     model="feed",
...     version="3f2a",
...     schema=schema,
...     rows=pa.table({"item": [7, 9]}),
...     predictions={"click": np.array([0.1, 0.3])},
...     score_N=np.array([0.1, 0.3]),
...     position_N=np.array([2, 1]),
... )
>>> with tempfile.TemporaryDirectory() as folder:
...     log = PredictionLog(Path(folder))
...     log.append(answer), log.close()
...     pq.read_table(log.folder_of("feed"))["predicted_click"].to_pylist()
(True, True)
[0.1, 0.3]
"""

from polyrank.serving.predictions.answer import Answer
from polyrank.serving.predictions.columns import check_logged, input_columns
from polyrank.serving.predictions.counts import Counted
from polyrank.serving.predictions.declared import types_of
from polyrank.serving.predictions.folder import check_folder
from polyrank.serving.predictions.log import PredictionLog
from polyrank.serving.predictions.settings import PredictionLogSettings

__all__ = [
    "Answer",
    "Counted",
    "PredictionLog",
    "PredictionLogSettings",
    "check_folder",
    "check_logged",
    "input_columns",
    "types_of",
]
