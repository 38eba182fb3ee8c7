"""The numerical core: from an encoded batch to the logits of every task.

>>> import torch
>>> from polyrank.layers import Gates, PackedExperts, Tower, mix
>>> _ = torch.manual_seed(0)
>>> x_BD = torch.randn(4, 32)
>>> experts_BEH = PackedExperts(32, widths=(64, 16), num_experts=3)(x_BD)
>>> gates = Gates(32, ["click", "like"], num_experts=3)(x_BD)
>>> mixed = mix(experts_BEH, gates)
>>> {task: tuple(Tower(16)(x_BH).shape) for task, x_BH in mixed.items()}
{'click': (4, 1), 'like': (4, 1)}

All layers hold float32 parameters and run as they are under ``torch.autocast``. In evaluation a
row's result does not depend on the rows beside it if the rows are padded to a multiple of 32
(``pad_rows``) and the widths are multiples of 16.
"""

from polyrank.layers.by_side import BySide, Sided
from polyrank.layers.cost import Cost, cost_of
from polyrank.layers.cross import CrossLayers
from polyrank.layers.experts import PackedExperts
from polyrank.layers.gates import Gates
from polyrank.layers.inputs import Block, InputLayer, InputSpec
from polyrank.layers.mixing import mix, weighted_sums
from polyrank.layers.mlp import MLP, Tower
from polyrank.layers.padding import ROW_MULTIPLE, WIDTH_MULTIPLE, pad_rows, padded_width
from polyrank.layers.parallel import ParallelLayers
from polyrank.layers.pieces import Owners, pieces
from polyrank.layers.pooling import TargetAttention, mean_pool
from polyrank.layers.segments import segment_sum, spread
from polyrank.layers.table import FlatTable
from polyrank.layers.undrawn import Undrawn

__all__ = [
    "MLP",
    "ROW_MULTIPLE",
    "WIDTH_MULTIPLE",
    "Block",
    "BySide",
    "Cost",
    "CrossLayers",
    "FlatTable",
    "Gates",
    "InputLayer",
    "InputSpec",
    "Owners",
    "PackedExperts",
    "ParallelLayers",
    "Sided",
    "TargetAttention",
    "Tower",
    "Undrawn",
    "cost_of",
    "mean_pool",
    "mix",
    "pad_rows",
    "padded_width",
    "pieces",
    "segment_sum",
    "spread",
    "weighted_sums",
]
