"""Cross-stitch: a trunk a task, mixed after every layer (Misra et al., CVPR 2016, eq. 1).

Shapes: B rows, D input width, T tasks, H width of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrank.layers import InputSpec, PackedExperts, ParallelLayers, mix
from polyrank.sharing.base import Shared, Sharing, SharingConfig


class Stitch(nn.Module):
    """x̃_t = Σ_s A_ts x_s, the same A for every row."""

    def __init__(self, tasks: Sequence[str], width: int, own: float) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        count = len(self._tasks)
        others = (1.0 - own) / (count - 1) if count > 1 else 0.0
        start_TT = torch.full((count, count), others)
        start_TT.fill_diagonal_(own if count > 1 else 1.0)
        self.weights = nn.Parameter(start_TT.flatten())
        """Row by row. Flat, as each weight multiplies a whole layer and not one unit."""
        self.extra_multiply_adds = count * count * width

    def extra_repr(self) -> str:
        """From how many trunks to how many tasks."""
        return f"{len(self._tasks)} × {len(self._tasks)}"

    def matrix(self) -> Tensor:
        """(T, T): row t is what task t takes from each trunk."""
        return self.weights.view(len(self._tasks), -1)

    def forward(self, x_BTH: Tensor) -> dict[str, Tensor]:
        """(B, H) by task."""
        rows = self.matrix().expand(x_BTH.shape[0], -1, -1).unbind(1)
        return mix(x_BTH, dict(zip(self._tasks, rows, strict=True)))


class CrossStitchBlock(Sharing):
    """T trunks with a stitch after every layer; the last stitch reads the fork."""

    def __init__(self, width: int, tasks: Sequence[str], config: CrossStitch) -> None:
        super().__init__()
        self.first = PackedExperts(width, config.widths[:1], len(tasks))
        self.layers = nn.ModuleList(
            ParallelLayers(len(tasks), before, after) for before, after in pairwise(config.widths)
        )
        self.stitches = nn.ModuleList(Stitch(tasks, size, config.own) for size in config.widths)
        self.out_width = config.widths[-1]
        self._banks = tuple(f"{level} trunks" for level in range(1, len(config.widths)))
        self.expert_names = {
            **{
                bank: tuple(f"{level} {task} trunk" for task in tasks)
                for level, bank in enumerate(self._banks, start=1)
            },
            "trunks": tuple(f"{task} trunk" for task in tasks),
        }
        self._tasks, self._num_levels = tuple(tasks), len(config.widths)
        self.owners = _owners(tasks, len(config.widths))

    def taken_from(self, tasks: Sequence[str]) -> dict[str, frozenset[str]]:
        """Their weights in the stitches of all others."""
        others = [task for task in self._tasks if task not in tasks]
        tasks = [task for task in tasks if task in self._tasks]
        pairs = [(task, source) for task in others for source in tasks]
        levels = range(self._num_levels)
        return {
            f"stitches.{place}": frozenset(_stitch(place, len(levels), *pair) for pair in pairs)
            for place in levels
        }

    def forward(self, views: Sequence[Tensor]) -> Shared:
        """Each task's trunk after the last stitch; the trunks before it are the fork."""
        layer_BTH = self.first(views[0])
        banks: dict[str, Tensor] = {}
        for bank, stitch, layer in zip(self._banks, self.stitches, self.layers, strict=False):
            banks[bank] = layer_BTH
            layer_BTH = layer(torch.stack(tuple(stitch(layer_BTH).values()), dim=1))
        tasks = self.stitches[-1](layer_BTH)
        return Shared(tasks=tasks, fork=(layer_BTH,), experts={**banks, "trunks": layer_BTH})


def _owners(tasks: Sequence[str], num_levels: int) -> dict[str, tuple[str, ...]]:
    trunks = tuple(f"trunk of {task}" for task in tasks)
    owners = {"first": trunks, **{f"layers.{place}": trunks for place in range(num_levels - 1)}}
    for place in range(num_levels):
        owners[f"stitches.{place}"] = tuple(
            _stitch(place, num_levels, task, source) for task in tasks for source in tasks
        )
    return owners


def _stitch(place: int, num_levels: int, task: str, source: str) -> str:
    level = "" if place == num_levels - 1 else f"{place + 1} "
    return f"{level}{task} from {source}"


class CrossStitch(SharingConfig):
    """A trunk a task; after every layer a task takes a learned share of each trunk, the same for
    every row and unit."""

    kind: Literal["cross_stitch"] = "cross_stitch"
    widths: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Hidden layers of each trunk, ReLU and a stitch after every one."""
    own: Annotated[float, Field(gt=0, le=1)] = 0.9
    """What a task starts to take from its own trunk; the others share the rest equally."""

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> CrossStitchBlock:
        """The trunks and stitches."""
        return CrossStitchBlock(inputs.width, tasks, self)
