"""Single-task trunks, at full width and divided by the tasks."""

from __future__ import annotations

import pytest
import torch

from polyrank.layers import MLP, InputSpec
from polyrank.sharing import SharedBottom, SingleTask
from tests.sharing import plain

INPUTS = InputSpec(width=12)
TASKS = ("click", "like", "watch")


def test_divided_trunks_are_plain_trunks_of_a_part_of_the_width() -> None:
    torch.manual_seed(0)
    block = SingleTask(widths=(18, 11, 2), divide_width=True).assemble(INPUTS, TASKS).eval()
    views = [torch.randn(4, 12) for _ in TASKS]
    shared = block(views)
    assert block.out_width == 1
    for task, trunk, view_BD in zip(TASKS, block.trunks, views, strict=True):
        assert isinstance(trunk, MLP)
        widths = [len(bias) for name, bias in trunk.named_parameters() if name.endswith("bias")]
        assert widths == [6, 3, 1]
        expected = [plain.mlp(x, trunk) for x in view_BD.tolist()]
        assert torch.allclose(shared.tasks[task], torch.tensor(expected), atol=1e-5)


def test_a_view_of_another_task_changes_nothing() -> None:
    block = SingleTask(widths=(9,), divide_width=True).assemble(INPUTS, TASKS)
    views = [torch.randn(4, 12) for _ in TASKS]
    before = block(views).tasks
    after = block([views[0], -views[1], views[2]]).tasks
    assert torch.equal(after["click"], before["click"])
    assert torch.equal(after["watch"], before["watch"])
    assert not torch.equal(after["like"], before["like"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_trunks_together_are_as_wide_as_one(count: int) -> None:
    """The first layer costs what a shared one costs; the later ones less."""
    tasks = TASKS[:count]
    divided = SingleTask(widths=(24,), divide_width=True).cost(INPUTS, tasks)
    assert divided == SharedBottom(widths=(24,)).cost(INPUTS, tasks)
    deep = SingleTask(widths=(24, 12), divide_width=True).cost(INPUTS, tasks)
    assert deep.multiply_adds == 12 * 24 + 24 * 12 / count


def test_by_default_the_width_is_whole() -> None:
    block = SingleTask(widths=(18,)).assemble(INPUTS, TASKS)
    assert block.out_width == 18
