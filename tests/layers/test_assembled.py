"""The layers put together: bits, precision, gradients and learning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polyrank.data.batch import Batch
from polyrank.layers import CrossLayers, Gates, InputLayer, PackedExperts, Tower, mix, pad_rows
from polyrank.training.rowwise import RowwiseAdagrad
from tests.layers.helpers import batch, layout, threads

TASKS = ("click", "like", "watch")


class Stack(nn.Module):
    """MMoE on cross layers: every layer of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = InputLayer(layout(), 16)
        width = self.inputs.width
        self.cross = CrossLayers(width, 1)
        self.experts = PackedExperts(width, (256, 128), 8)
        self.gates = Gates(width, TASKS, 8)
        self.towers = nn.ModuleList(Tower(128, (64,)) for _ in TASKS)

    def forward(self, rows: Batch) -> Tensor:
        x_BD = self.inputs(rows)
        if not self.training:
            x_BD = pad_rows(x_BD)
        x_BD = self.cross(x_BD)
        mixed = mix(self.experts(x_BD), self.gates(x_BD))
        logits = [tower(mixed[task]) for task, tower in zip(TASKS, self.towers, strict=True)]
        return torch.cat(logits, dim=1)[: len(rows)]


def built() -> Stack:
    torch.manual_seed(0)
    stack = Stack()
    with torch.no_grad():
        stack.inputs.table.weight.mul_(50.0)
    return stack


@pytest.mark.parametrize(("count", "sizes"), [(1, range(1, 201)), (2, range(1, 201, 66))])
def test_a_row_has_the_same_bits_in_every_batch_and_place(count: int, sizes: range) -> None:
    stack, rows = built().eval(), batch(200)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        with threads(1):
            whole = stack(rows)
        assert whole.std() > 0.01
        for size in sizes:
            chosen = torch.randperm(200, generator=generator)[:size]
            with threads(count):
                some = stack(rows.take(chosen))
            assert torch.equal(some, whole[chosen]), size


def test_padding_is_what_keeps_the_bits() -> None:
    """The positive control: one row by itself, unpadded, comes out of another kernel."""
    torch.manual_seed(0)
    stack = nn.Sequential(nn.Linear(432, 256), nn.Linear(256, 128))
    x_BD = torch.randn(200, 432)
    with threads(1), torch.no_grad():
        whole = stack(pad_rows(x_BD))[:200]
        padded = torch.cat([stack(pad_rows(x_BD[i : i + 1]))[:1] for i in range(200)])
        alone = torch.cat([stack(x_BD[i : i + 1]) for i in range(200)])
    assert torch.equal(padded, whole)
    assert not torch.equal(alone, whole)


def test_padding_adds_rows_of_zeros_up_to_a_multiple_of_32() -> None:
    for rows, wanted in ((0, 0), (1, 32), (31, 32), (32, 32), (33, 64)):
        padded = pad_rows(torch.ones(rows, 3))
        assert padded.shape == (wanted, 3)
        assert torch.equal(padded[:rows], torch.ones(rows, 3))
        assert not padded[rows:].any()


def test_every_parameter_gets_a_finite_gradient_in_both_precisions() -> None:
    exact: dict[str, Tensor] = {}
    for enabled in (False, True):
        stack = built().train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = stack(batch(300))
        assert logits.dtype == torch.float32
        logits.square().mean().backward()
        for name, parameter in stack.named_parameters():
            assert parameter.grad is not None, name
            grad = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            assert grad.dtype == torch.float32
            assert grad.isfinite().all()
            assert grad.any(), name
            if enabled:
                error = (grad - exact[name]).norm() / exact[name].norm()
                assert float(error) < 0.1, name
            exact[name] = grad


@pytest.mark.parametrize("enabled", [False, True])
def test_the_stack_learns(enabled: bool) -> None:
    stack, rows = built().train(), batch(64)
    generator = torch.Generator().manual_seed(1)
    labels_BT = (torch.rand(64, 3, generator=generator) < 0.4).float()
    table = stack.inputs.table.weight
    dense = torch.optim.AdamW([p for p in stack.parameters() if p is not table], fused=True)
    rowwise = RowwiseAdagrad([table], lr=0.1)
    losses = []
    for _ in range(15):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits_BT = stack(rows)
        loss = nn.functional.binary_cross_entropy_with_logits(logits_BT, labels_BT)
        loss.backward()
        for optimizer in (dense, rowwise):
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_training_gives_the_same_bits_twice_and_on_two_threads() -> None:
    results = []
    for count in (1, 1, 2):
        stack = built().train()
        rowwise = RowwiseAdagrad([stack.inputs.table.weight], lr=0.1)
        with threads(count):
            for seed in range(2):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = stack(batch(300, seed)).square().mean()
                loss.backward()
                rowwise.step()
                rowwise.zero_grad()
        results.append(stack.inputs.table.weight.detach())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
