"""How weights are searched: one file a search."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.fusion.tuning.searches.base import Problem, Search, Told
from polyrank.fusion.tuning.searches.cem import CEM
from polyrank.fusion.tuning.searches.nsga2 import NSGA2
from polyrank.fusion.tuning.searches.random import Random
from polyrank.fusion.tuning.searches.tpe import TPE

AnySearch = Annotated[CEM | NSGA2 | Random | TPE, Field(discriminator="kind")]

SEARCHES: Mapping[str, type[Search]] = MappingProxyType(
    {"cem": CEM, "nsga2": NSGA2, "random": Random, "tpe": TPE}
)

__all__ = ["CEM", "NSGA2", "SEARCHES", "TPE", "AnySearch", "Problem", "Random", "Search", "Told"]
