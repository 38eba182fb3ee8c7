"""Profiles: how inputs and predictions of some rows are spread, in a few kilobytes.

>>> import pyarrow as pa
>>> from polyrank.schema import Binary, Numeric, Schema
>>> from polyrank.scoring.profiles import profile_of
>>> schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"),))
>>> rows = pa.table({"age": [20.0, 30.0, 40.0, None]})
>>> (age,) = profile_of(rows, schema, on="four rows").distributions
>>> age.edges, age.counts, age.missing.share
((20.0, 30.0, 40.0), (1, 1, 1, 0), 0.25)
"""

from polyrank.scoring.profiles.counting import (
    NUM_GROUPS,
    Columns,
    Groups,
    counted_by,
    distribution_of,
    group_of,
)
from polyrank.scoring.profiles.profile import MOST_ROWS, profile_of, profile_rows, unseen_of
from polyrank.scoring.profiles.thinning import Thinned
from polyrank.scoring.profiles.values import Values, inputs_of, outputs_of

__all__ = [
    "MOST_ROWS",
    "NUM_GROUPS",
    "Columns",
    "Groups",
    "Thinned",
    "Values",
    "counted_by",
    "distribution_of",
    "group_of",
    "inputs_of",
    "outputs_of",
    "profile_of",
    "profile_rows",
    "unseen_of",
]
