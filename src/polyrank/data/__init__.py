"""From a log to batches: sources, joins, checks, splits, encoders, the encoded cache.

>>> import pyarrow as pa
>>> from polyrank.data import Encoders, Reader, open_log
>>> from polyrank.schema import Binary, Categorical, Schema
>>> schema = Schema(
...     features=(Categorical(name="item_id", min_frequency=1),), tasks=(Binary(name="click"),)
... )
>>> log = open_log(pa.table({"item_id": [7, 7, 9], "click": [1, 0, None]}))
>>> encoders = Encoders.fit(schema, Reader(log, schema).chunks("all"))
>>> batch = encoders.encode(next(Reader(log, schema).chunks("all")))
>>> batch.ids_BF[:, 0].tolist(), batch.observed_BT[:, 0].tolist()
([2, 2, 3], [True, True, False])
"""

from polyrank.data.asked import AskedRows
from polyrank.data.batch import Batch, Ragged, stacked
from polyrank.data.cache import EncodedLog
from polyrank.data.encoders import Encoders
from polyrank.data.encoding.dwell import fit_thresholds
from polyrank.data.join import Join, load_side_table
from polyrank.data.layout import (
    IdColumn,
    Layout,
    NumericColumn,
    RaggedColumn,
    TargetStats,
    VectorColumn,
)
from polyrank.data.ledger import Ledger
from polyrank.data.observed import in_unit, label_values, observed_mask, values_observed
from polyrank.data.passes import REFUSED
from polyrank.data.quarantine import Quarantine
from polyrank.data.reader import Reader
from polyrank.data.source import Chunk, Source, open_log, open_query
from polyrank.data.split import AnySplit, RandomSplit, TimeSplit, UserSplit

__all__ = [
    "REFUSED",
    "AnySplit",
    "AskedRows",
    "Batch",
    "Chunk",
    "EncodedLog",
    "Encoders",
    "IdColumn",
    "Join",
    "Layout",
    "Ledger",
    "NumericColumn",
    "Quarantine",
    "Ragged",
    "RaggedColumn",
    "RandomSplit",
    "Reader",
    "Source",
    "TargetStats",
    "TimeSplit",
    "UserSplit",
    "VectorColumn",
    "fit_thresholds",
    "in_unit",
    "label_values",
    "load_side_table",
    "observed_mask",
    "open_log",
    "open_query",
    "stacked",
    "values_observed",
]
