"""What layers say they cost, by hand."""

from __future__ import annotations

import torch
from torch import nn

from polyrank.layers import Cost, FlatTable, InputLayer, TargetAttention, Tower, cost_of
from tests.layers.helpers import NUM_ROWS, layout

ENTRY = 4 * 4 * 64 + 64 * 32 + 32 + 4
"""One entry of a history 4 wide: three layers, and its place in the weighted sum."""
UNIT = 4 * 4 * 64 + 64 + 64 * 32 + 32 + 32 + 1


def test_biases_are_parameters_and_no_products() -> None:
    assert cost_of(nn.Linear(3, 2)) == Cost(parameters=8, multiply_adds=6)
    assert cost_of(Tower(4, (3,), 2)) == Cost(parameters=15 + 8, multiply_adds=12 + 6)


def test_a_look_up_multiplies_nothing() -> None:
    assert cost_of(FlatTable(10, 4)) == Cost(parameters=40, multiply_adds=0)


def test_attention_costs_as_much_as_its_longest_history() -> None:
    assert cost_of(TargetAttention(4)).multiply_adds == ENTRY
    assert cost_of(TargetAttention(4, max_length=6)) == Cost(UNIT, 6 * ENTRY)


def test_an_input_layer_costs_its_attention() -> None:
    """Two histories of at most 6 entries each; all else is looked up, averaged or copied."""
    with torch.device("meta"):
        cost = cost_of(InputLayer(layout(), 4))
    assert cost == Cost(NUM_ROWS * 4 + 2 * UNIT, 2 * 6 * ENTRY)
