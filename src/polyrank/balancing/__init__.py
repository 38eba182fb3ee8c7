"""How the losses of several tasks become one.

>>> import torch
>>> from polyrank.balancing import Static
>>> weighting = Static(like=2.0).build(["click", "like"])
>>> losses = {"click": torch.tensor(0.7), "like": torch.tensor(0.1)}
>>> {task: weight.item() for task, weight in weighting(losses).items()}
{'click': 1.0, 'like': 2.0}
"""

from collections.abc import Mapping
from types import MappingProxyType

from polyrank.balancing.base import Scalarizer, Weighting
from polyrank.balancing.static import Static, StaticWeighting

AnyScalarizer = Static

SCALARIZERS: Mapping[str, type[Scalarizer]] = MappingProxyType({"static": Static})

__all__ = [
    "SCALARIZERS",
    "AnyScalarizer",
    "Scalarizer",
    "Static",
    "StaticWeighting",
    "Weighting",
]
