"""One file an interaction of features, between the input representation and sharing.

>>> import torch
>>> from polyrank.interactions import DCNv2
>>> from polyrank.layers import InputSpec
>>> DCNv2(num_layers=1).build(InputSpec(width=32))(torch.randn(7, 32)).shape
torch.Size([7, 32])
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.interactions.base import Interaction, InteractionConfig
from polyrank.interactions.dcn_v2 import DCNv2
from polyrank.interactions.masknet import MaskNet
from polyrank.interactions.none import NoInteraction
from polyrank.interactions.transformer import Transformer

AnyInteraction = Annotated[
    NoInteraction | DCNv2 | MaskNet | Transformer, Field(discriminator="kind")
]

INTERACTIONS: Mapping[str, type[InteractionConfig]] = MappingProxyType(
    {"none": NoInteraction, "dcn_v2": DCNv2, "masknet": MaskNet, "transformer": Transformer}
)
"""By ``kind``."""

__all__ = [
    "INTERACTIONS",
    "AnyInteraction",
    "DCNv2",
    "Interaction",
    "InteractionConfig",
    "MaskNet",
    "NoInteraction",
    "Transformer",
]
