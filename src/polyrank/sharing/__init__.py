"""One file an architecture: from the input representation to one representation a task.

>>> import torch
>>> from polyrank.layers import InputSpec
>>> from polyrank.sharing import MMoE
>>> block = MMoE(num_experts=4, widths=(16,)).build(InputSpec(width=32), ["click", "like"])
>>> shared = block([torch.randn(7, 32)])
>>> shared.tasks["like"].shape, shared.gates["like"].shape
(torch.Size([7, 16]), torch.Size([7, 4]))
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.sharing.base import Shared, Sharing, SharingConfig
from polyrank.sharing.cgc import CGC
from polyrank.sharing.dselect_k import DSelectK
from polyrank.sharing.home import HoME
from polyrank.sharing.mmoe import MMoE
from polyrank.sharing.omoe import OMoE
from polyrank.sharing.pepnet import PEPNet
from polyrank.sharing.ple import PLE
from polyrank.sharing.shared_bottom import SharedBottom
from polyrank.sharing.single_task import SingleTask
from polyrank.sharing.stem import STEM

AnySharing = Annotated[
    CGC | DSelectK | HoME | MMoE | OMoE | PEPNet | PLE | SharedBottom | SingleTask | STEM,
    Field(discriminator="kind"),
]

SHARINGS: Mapping[str, type[SharingConfig]] = MappingProxyType(
    {
        "cgc": CGC,
        "dselect_k": DSelectK,
        "home": HoME,
        "mmoe": MMoE,
        "omoe": OMoE,
        "pepnet": PEPNet,
        "ple": PLE,
        "shared_bottom": SharedBottom,
        "single_task": SingleTask,
        "stem": STEM,
    }
)
"""By ``kind``."""

__all__ = [
    "CGC",
    "PLE",
    "SHARINGS",
    "STEM",
    "AnySharing",
    "DSelectK",
    "HoME",
    "MMoE",
    "OMoE",
    "PEPNet",
    "Shared",
    "SharedBottom",
    "Sharing",
    "SharingConfig",
    "SingleTask",
]
