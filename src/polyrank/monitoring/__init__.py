"""What a log of served predictions says: drift of inputs and scores, calibration, alarms.

>>> import numpy as np
>>> import pyarrow as pa
>>> from polyrank.monitoring import watch
>>> random = np.random.default_rng(0)
>>> before = pa.table({"hour": random.normal(12, 3, 4000), "predicted_click": random.random(4000)})
>>> after = pa.table({"hour": random.normal(16, 3, 1000), "predicted_click": random.random(1000)})
>>> found = watch(after, reference=before)
>>> [(each.level, each.what, each.name) for each in found.findings]
[('alarm', 'drift', 'hour')]
>>> watch(before.slice(0, 2000), reference=before.slice(2000)).level
'quiet'
"""

from polyrank.monitoring.drift import Drift, Rise
from polyrank.monitoring.labels import join_labels
from polyrank.monitoring.thresholds import LEVELS, Level, Thresholds
from polyrank.monitoring.volume import Served, Volume
from polyrank.monitoring.watch import check_reference, watch
from polyrank.monitoring.watched import Calibrated, Finding, Watched

__all__ = [
    "LEVELS",
    "Calibrated",
    "Drift",
    "Finding",
    "Level",
    "Rise",
    "Served",
    "Thresholds",
    "Volume",
    "Watched",
    "check_reference",
    "join_labels",
    "watch",
]
