"""One file a funnel: how tasks that follow each other (impression, click, conversion) learn.

>>> from polyrank.heads.funnels import FUNNELS
>>> FUNNELS["masked"]().kind
'masked'
"""

from collections.abc import Mapping
from types import MappingProxyType

from polyrank.heads.funnels.base import FunnelConfig, Logits, Objective, Output, Part
from polyrank.heads.funnels.masked import Masked, MaskedObjective

AnyFunnel = Masked

FUNNELS: Mapping[str, type[FunnelConfig]] = MappingProxyType({"masked": Masked})
"""By ``kind``."""

__all__ = [
    "FUNNELS",
    "AnyFunnel",
    "FunnelConfig",
    "Logits",
    "Masked",
    "MaskedObjective",
    "Objective",
    "Output",
    "Part",
]
