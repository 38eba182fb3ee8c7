"""Products are cut where their result is, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

from polyrank.scoring.export.cutting import cut_products

# torch copies a graph by a class that it warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

aten = torch.ops.aten
Make = Callable[[nn.Linear, Tensor], list[Tensor]]


class _Cut(nn.Module):
    def __init__(self, make: Make, *, bias: bool = True) -> None:
        super().__init__()
        self.make, self.layer = make, nn.Linear(5, 12, bias=bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.make(self.layer, x)


def _traced(module: nn.Module, x: Tensor) -> ExportedProgram:
    with torch.no_grad():
        program: ExportedProgram = export(module.eval(), (x,), strict=False)
        functional: ExportedProgram = program.run_decompositions({})
    return functional


def _twice(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    both = layer(x).relu()
    return [*both.split(4, 1), both.sum(1)]


def _joined(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    return [torch.cat([layer(x), layer(x + 1)], 1).relu()]


CASES: dict[str, tuple[Make, int, int]] = {
    "even pieces": (lambda layer, x: [*layer(x).relu().split(4, 1)], 3, 0),
    "uneven pieces": (lambda layer, x: [*layer(x).sigmoid().split([8, 4], 1)], 2, 0),
    "of no activation": (lambda layer, x: [*layer(x).split(6, -1)], 2, 0),
    "some unused": (lambda layer, x: [layer(x).tanh().split(4, 1)[1]], 1, 0),
    "too narrow": (lambda layer, x: [*layer(x).relu().split(3, 1)], 1, 1),
    "by rows": (lambda layer, x: [*layer(x).relu().split(4, 0)], 1, 1),
    "read whole, too": (_twice, 1, 1),
    "side by side": (_joined, 2, 0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_pieces_are_what_they_were(case: str, bias: bool) -> None:
    make, products, splits = CASES[case]
    torch.manual_seed(0)
    module, x = _Cut(make, bias=bias), torch.randn(8, 5)
    program = cut_products(_traced(module, x), least=4)
    counts = Counter(node.target for node in program.graph_module.graph.nodes)
    assert counts[aten.linear.default] == products
    found = counts[aten.split.Tensor] + counts[aten.split_with_sizes.default]
    assert (found > 0) == bool(splits)
    with torch.no_grad():
        for got, want in zip(program.module()(x), module(x), strict=True):
            assert torch.allclose(got, want, atol=1e-6)
