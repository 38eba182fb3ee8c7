"""Cross-stitch against plain loops written from equation 1 of the paper.

Shapes: B rows, D input width, T tasks.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyrank.layers import InputSpec, ParallelLayers
from polyrank.layers.parts import part_of
from polyrank.sharing import CrossStitch
from polyrank.sharing.cross_stitch import CrossStitchBlock, Stitch
from tests.sharing import plain
from tests.sharing.plain import Row

TASKS = ("click", "like", "watch")
WIDTH = 12
CASES = [CrossStitch(widths=(8,)), CrossStitch(widths=(8, 6)), CrossStitch(widths=(8, 8, 6))]


def _build(config: CrossStitch, tasks: tuple[str, ...] = TASKS) -> CrossStitchBlock:
    torch.manual_seed(0)
    return config.assemble(InputSpec(width=WIDTH), tasks).eval()


def _rows() -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))


def _stitches(block: CrossStitchBlock) -> list[Stitch]:
    return [stitch for stitch in block.stitches if isinstance(stitch, Stitch)]


def _stitched(trunks: list[Row], matrix: list[Row], mistake: str) -> list[Row]:
    count = range(len(trunks))
    if mistake == "transposed":
        matrix = [[matrix[s][t] for s in count] for t in count]
    if mistake == "own trunk only":
        matrix = [[matrix[t][t] if s == t else 0.0 for s in count] for t in count]
    return [plain.weighted(matrix[t], trunks) for t in count]


def oracle(block: CrossStitchBlock, x: Row, mistake: str = "") -> list[Row]:
    """x̃_t = Σ_s A_ts x_s after each layer, for one row. ``mistake`` plants one."""
    matrices = []
    for stitch in _stitches(block):
        flat = stitch.weights.tolist()
        count = round(len(flat) ** 0.5)
        matrices.append([flat[row * count :][:count] for row in range(count)])
    trunks = _stitched(plain.experts(x, block.first), matrices[0], mistake)
    for layer, matrix in zip(block.layers, matrices[1:], strict=True):
        assert isinstance(layer, ParallelLayers)
        trunks = _stitched(plain.parallel(trunks, layer), matrix, mistake)
    return trunks


def _agrees(config: CrossStitch, mistake: str = "") -> bool:
    block, x_BD = _build(config), _rows()
    for stitch in _stitches(block):
        torch.nn.init.normal_(stitch.weights)  # they start symmetric
    expected_BTH = torch.tensor([oracle(block, x, mistake) for x in x_BD.tolist()])
    found = block([x_BD]).tasks
    return all(
        torch.allclose(found[task], expected_BTH[:, place], atol=1e-5)
        for place, task in enumerate(TASKS)
    )


@pytest.mark.parametrize("config", CASES, ids=range(len(CASES)))
def test_it_is_the_papers(config: CrossStitch) -> None:
    assert _agrees(config)


@pytest.mark.parametrize("mistake", ["transposed", "own trunk only"])
@pytest.mark.parametrize("config", CASES, ids=range(len(CASES)))
def test_a_planted_mistake_is_noticed(config: CrossStitch, mistake: str) -> None:
    assert not _agrees(config, mistake)


def test_a_block_with_a_transposed_matrix_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Stitch.matrix
    monkeypatch.setattr(Stitch, "matrix", lambda self: matrix(self).t())
    assert not any(_agrees(config) for config in CASES)


@pytest.mark.parametrize(
    ("count", "own", "expected"),
    [
        (1, 0.9, [[1.0]]),
        (2, 0.9, [[0.9, 0.1], [0.1, 0.9]]),
        (3, 0.9, [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]),
        (2, 0.5, [[0.5, 0.5], [0.5, 0.5]]),
    ],
)
def test_the_start_is_mostly_ones_own(count: int, own: float, expected: list[Row]) -> None:
    block = _build(CrossStitch(widths=(8, 4), own=own), TASKS[:count])
    for stitch in _stitches(block):
        assert torch.allclose(stitch.matrix(), torch.tensor(expected))


def test_with_nothing_of_others_the_trunks_are_apart() -> None:
    block = _build(CrossStitch(widths=(8, 6), own=1.0)).train()
    block([_rows()]).tasks["like"].sum().backward()
    weight = block.first.weights[0].grad
    assert weight is not None
    touched = [bool(own.abs().sum() > 0) for own in weight]
    assert touched == [False, True, False]


def test_trunks_are_named() -> None:
    block = _build(CrossStitch(widths=(8, 6)), ("click", "like"))
    assert block.expert_names == {
        "1 trunks": ("1 click trunk", "1 like trunk"),
        "trunks": ("click trunk", "like trunk"),
    }
    shared = block([_rows()])
    assert shared.fork[0] is shared.experts["trunks"]
    assert not shared.gates


def test_a_stitch_is_told_by_its_tasks() -> None:
    (stitch,) = _stitches(_build(CASES[0]))
    assert part_of("stitch", stitch).shape == "3 × 3"
