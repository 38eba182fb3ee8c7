"""One file a term that ranks the rows of a request, added to the cross-entropy of a binary task.

>>> import torch
>>> from polyrank.heads.lists import ListNet, Rows
>>> rows = Rows(
...     labels_B=torch.tensor([1.0, 0.0, 0.0]),
...     observed_B=torch.tensor([True, True, True]),
...     requests_B=torch.tensor([7, 7, 7]),
...     weight_B=torch.ones(3),
... )
>>> [round(share, 3) for share in ListNet().loss(torch.zeros(3, 1), rows).tolist()]
[1.099, 0.0, 0.0]
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.heads.lists.base import ListConfig
from polyrank.heads.lists.faults import list_faults
from polyrank.heads.lists.groups import Rows
from polyrank.heads.lists.jrc import JRC
from polyrank.heads.lists.listnet import ListNet
from polyrank.heads.lists.objective import ListObjective
from polyrank.heads.lists.ranknet import RankNet
from polyrank.heads.lists.rcr import RCR

AnyList = Annotated[JRC | ListNet | RankNet | RCR, Field(discriminator="kind")]

LISTS: Mapping[str, type[ListConfig]] = MappingProxyType(
    {"jrc": JRC, "listnet": ListNet, "ranknet": RankNet, "rcr": RCR}
)
"""By ``kind``."""

__all__ = [
    "JRC",
    "LISTS",
    "RCR",
    "AnyList",
    "ListConfig",
    "ListNet",
    "ListObjective",
    "RankNet",
    "Rows",
    "list_faults",
]
