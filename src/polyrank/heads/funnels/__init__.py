"""One file a funnel: how tasks that follow each other (impression, click, conversion) learn.

>>> from polyrank.heads.funnels import FUNNELS
>>> FUNNELS["escm2"](estimator="dr").risk_weight
0.1
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.heads.funnels.aitm import AITM
from polyrank.heads.funnels.base import FunnelConfig, Logits, Objective, Output, Part
from polyrank.heads.funnels.escm2 import ESCM2
from polyrank.heads.funnels.esm2 import ESM2
from polyrank.heads.funnels.esmm import ESMM
from polyrank.heads.funnels.masked import Masked, MaskedObjective
from polyrank.heads.funnels.quantity import quantity, quantity_beside

AnyFunnel = Annotated[AITM | ESCM2 | ESM2 | ESMM | Masked, Field(discriminator="kind")]

FUNNELS: Mapping[str, type[FunnelConfig]] = MappingProxyType(
    {"aitm": AITM, "escm2": ESCM2, "esm2": ESM2, "esmm": ESMM, "masked": Masked}
)
"""By ``kind``."""

__all__ = [
    "AITM",
    "ESCM2",
    "ESM2",
    "ESMM",
    "FUNNELS",
    "AnyFunnel",
    "FunnelConfig",
    "Logits",
    "Masked",
    "MaskedObjective",
    "Objective",
    "Output",
    "Part",
    "quantity",
    "quantity_beside",
]
