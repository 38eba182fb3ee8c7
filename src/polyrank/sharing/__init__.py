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

from polyrank.sharing.adatt import AdaTT
from polyrank.sharing.base import Shared, Sharing, SharingConfig
from polyrank.sharing.cgc import CGC
from polyrank.sharing.cross_stitch import CrossStitch
from polyrank.sharing.dselect_k import DSelectK
from polyrank.sharing.groups import Groups
from polyrank.sharing.home import HoME
from polyrank.sharing.mmoe import MMoE
from polyrank.sharing.omoe import OMoE
from polyrank.sharing.pepnet import PEPNet
from polyrank.sharing.ple import PLE
from polyrank.sharing.shared_bottom import SharedBottom
from polyrank.sharing.single_task import SingleTask
from polyrank.sharing.snr import SNR
from polyrank.sharing.stem import STEM

AnySharing = Annotated[
    AdaTT
    | CGC
    | CrossStitch
    | DSelectK
    | Groups
    | HoME
    | MMoE
    | OMoE
    | PEPNet
    | PLE
    | SNR
    | STEM
    | SharedBottom
    | SingleTask,
    Field(discriminator="kind"),
]
Groups.model_rebuild()  # it holds any other sharing

SHARINGS: Mapping[str, type[SharingConfig]] = MappingProxyType(
    {
        "adatt": AdaTT,
        "cgc": CGC,
        "cross_stitch": CrossStitch,
        "dselect_k": DSelectK,
        "groups": Groups,
        "home": HoME,
        "mmoe": MMoE,
        "omoe": OMoE,
        "pepnet": PEPNet,
        "ple": PLE,
        "shared_bottom": SharedBottom,
        "single_task": SingleTask,
        "snr": SNR,
        "stem": STEM,
    }
)
"""By ``kind``."""

__all__ = [
    "CGC",
    "PLE",
    "SHARINGS",
    "SNR",
    "STEM",
    "AdaTT",
    "AnySharing",
    "CrossStitch",
    "DSelectK",
    "Groups",
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
