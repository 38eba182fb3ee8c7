"""Models in memory: several, in versions that replace one another while requests are answered.

>>> from pathlib import Path
>>> from polyrank.serving.models import Catalog
>>> Catalog({"feed": Path("no-such-folder")})
Traceback (most recent call last):
polyrank.errors.ConfigError: ...: is no folder. Give a bundle, or a folder of bundles.
"""

from polyrank.serving.models.catalog import Catalog
from polyrank.serving.models.comparison import Comparison
from polyrank.serving.models.engine import EngineOf, eager
from polyrank.serving.models.failures import FAILURES, kind_of
from polyrank.serving.models.gate_process import GateProcess
from polyrank.serving.models.memory import share_one_heap
from polyrank.serving.models.rows import record_rows
from polyrank.serving.models.served import DEFAULT, Served
from polyrank.serving.models.settings import Bounds, CatalogSettings, GateSettings, ValueRules
from polyrank.serving.models.shadowing import Shadowing
from polyrank.serving.models.shelf import Reloaded

__all__ = [
    "DEFAULT",
    "FAILURES",
    "Bounds",
    "Catalog",
    "CatalogSettings",
    "Comparison",
    "EngineOf",
    "GateProcess",
    "GateSettings",
    "Reloaded",
    "Served",
    "Shadowing",
    "ValueRules",
    "eager",
    "kind_of",
    "record_rows",
    "share_one_heap",
]
