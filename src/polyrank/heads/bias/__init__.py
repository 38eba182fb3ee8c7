"""One file a bias model: what rows show because of how they were shown, and not for what they are.

>>> from polyrank.heads.bias import BIASES
>>> BIASES["shallow_tower"](features=("position", "device")).dropout
0.1
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.data import Layout
from polyrank.heads.bias.base import Adjustment, BiasConfig
from polyrank.heads.bias.faults import bias_faults
from polyrank.heads.bias.ipw import IPW
from polyrank.heads.bias.objective import BiasObjective
from polyrank.heads.bias.pal import PAL
from polyrank.heads.bias.shallow_tower import ShallowTower
from polyrank.heads.bias.tower import BiasTower, BiasTowers
from polyrank.schema import Schema

AnyBias = Annotated[IPW | PAL | ShallowTower, Field(discriminator="kind")]

BIASES: Mapping[str, type[BiasConfig]] = MappingProxyType(
    {"ipw": IPW, "pal": PAL, "shallow_tower": ShallowTower}
)
"""By ``kind``."""


def build_towers(
    bias: Mapping[str, BiasConfig], schema: Schema, layout: Layout
) -> BiasTowers | None:
    """The bias towers of all tasks that have one; null if none has."""
    built = {name: config.tower(schema, layout) for name, config in bias.items()}
    towers = {name: tower for name, tower in built.items() if tower is not None}
    return BiasTowers(towers) if towers else None


__all__ = [
    "BIASES",
    "IPW",
    "PAL",
    "Adjustment",
    "AnyBias",
    "BiasConfig",
    "BiasObjective",
    "BiasTower",
    "BiasTowers",
    "ShallowTower",
    "bias_faults",
    "build_towers",
]
