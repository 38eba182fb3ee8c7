"""Layers side by side.

Shapes: B rows, N layers, I and O width of a layer's input and output.
"""

from __future__ import annotations

import pytest
import torch

from polyrank.errors import ConfigError
from polyrank.layers import ParallelLayers, cost_of, pad_rows
from polyrank.layers.parts import part_of


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_each_input_goes_through_its_own_layer(rows: int) -> None:
    torch.manual_seed(0)
    layers = ParallelLayers(3, 5, 4)
    torch.nn.init.normal_(layers.bias)
    x_BNI = torch.randn(rows, 3, 5)
    found_BNO = layers(x_BNI)
    assert found_BNO.shape == (rows, 3, 4)
    for place in range(3):
        bias_O = layers.bias[place * 4 :][:4]
        for row in range(rows):
            expected_O = (layers.weight[place].t() @ x_BNI[row, place] + bias_O).clamp_min(0)
            assert torch.allclose(found_BNO[row, place], expected_O, atol=1e-6)


def test_it_starts_with_the_variance_that_relu_keeps() -> None:
    torch.manual_seed(0)
    layers = ParallelLayers(4, 200, 100)
    assert layers.weight.std().item() == pytest.approx(0.1, rel=0.02)
    assert layers.bias.abs().sum() == 0


def test_the_cost_counts_each_weight_once_a_row() -> None:
    assert cost_of(ParallelLayers(3, 5, 4)).multiply_adds == 3 * 5 * 4


def test_a_row_has_the_same_bits_in_any_batch() -> None:
    torch.manual_seed(0)
    layers, x_BNI = ParallelLayers(3, 32, 16), torch.randn(160, 3, 32)
    with torch.no_grad():
        whole = layers(x_BNI)
        for start, stop in ((0, 32), (5, 6), (40, 57), (100, 160)):
            part = pad_rows(x_BNI[start:stop].flatten(1)).unflatten(1, (3, 32))
            assert torch.equal(layers(part)[: stop - start], whole[start:stop])


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_are_at_least_one(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        ParallelLayers(*sizes)


def test_it_is_told_by_its_widths() -> None:
    assert part_of("layers", ParallelLayers(3, 5, 4)).shape == "3 × (5 → 4)"
