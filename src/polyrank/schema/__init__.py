"""What a log means: features, tasks, keys and side tables.

>>> from polyrank.schema import Binary, Categorical, Keys, Schema
>>> schema = Schema(
...     features=(Categorical(name="item_id", side="item"),),
...     tasks=(Binary(name="click"), Binary(name="purchase", within="click")),
...     keys=Keys(user="user_id"),
... )
>>> schema.space("purchase")
('click',)
"""

from polyrank.schema.features import (
    Bag,
    Categorical,
    Deduplicate,
    Embedding,
    Feature,
    Keys,
    Numeric,
    Sequence,
    Side,
    SideTable,
)
from polyrank.schema.model import Declared
from polyrank.schema.parse import parse, suggest
from polyrank.schema.schema import Schema
from polyrank.schema.tasks import Binary, Duration, Regression, Task

__all__ = [
    "Bag",
    "Binary",
    "Categorical",
    "Declared",
    "Deduplicate",
    "Duration",
    "Embedding",
    "Feature",
    "Keys",
    "Numeric",
    "Regression",
    "Schema",
    "Sequence",
    "Side",
    "SideTable",
    "Task",
    "parse",
    "suggest",
]
