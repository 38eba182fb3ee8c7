"""What a search raises and holds: one file an objective."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.fusion.tuning.objectives.base import Objective
from polyrank.fusion.tuning.objectives.gauc import GAUC
from polyrank.fusion.tuning.objectives.ndcg import NDCG
from polyrank.fusion.tuning.objectives.value import Value
from polyrank.fusion.tuning.objectives.weighted_recall import WeightedRecall

AnyObjective = Annotated[GAUC | NDCG | Value | WeightedRecall, Field(discriminator="kind")]

OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {"gauc": GAUC, "ndcg": NDCG, "value": Value, "weighted_recall": WeightedRecall}
)

__all__ = ["GAUC", "NDCG", "OBJECTIVES", "AnyObjective", "Objective", "Value", "WeightedRecall"]
