"""MLP, tower and cross layers against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers import MLP, CrossLayers, Tower


def gradcheck(module: nn.Module, x_BD: Tensor) -> bool:
    names = [name for name, _ in module.named_parameters()]

    def call(x_BD: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), (x_BD,)
        )
        return result

    return torch.autograd.gradcheck(call, (x_BD, *module.parameters()))


def linear(layer: nn.Module) -> nn.Linear:
    assert isinstance(layer, nn.Linear)
    return layer


def x(rows: int = 5, width: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("last", [False, True])
def test_mlp_is_linear_and_relu_in_turn(last: bool) -> None:
    torch.manual_seed(0)
    mlp = MLP(4, (6, 3), linear_last=last).double()
    first, second = (linear(layer) for layer in mlp.layers)
    wanted = torch.relu(x() @ first.weight.T) @ second.weight.T
    torch.testing.assert_close(mlp(x()), wanted if last else torch.relu(wanted))
    assert (wanted < 0).any()
    assert mlp.out_width == 3


def test_no_widths_leave_the_input_as_it_is() -> None:
    mlp = MLP(4, ())
    assert torch.equal(mlp(x()), x())
    assert mlp.out_width == 4


def test_dropout_acts_in_training_only_and_after_the_last_layer() -> None:
    torch.manual_seed(0)
    mlp = MLP(4, (64,), dropout=0.5)
    x_BD = x(200).float()
    alive = mlp.eval()(x_BD) > 0
    assert torch.equal(mlp(x_BD) > 0, alive)
    dropped = alive & (mlp.train()(x_BD) == 0)
    assert float(dropped.sum() / alive.sum()) == pytest.approx(0.5, abs=0.05)


def test_the_last_linear_layer_is_not_dropped() -> None:
    torch.manual_seed(0)
    mlp = MLP(4, (64,), dropout=0.5, linear_last=True).train()
    assert (mlp(x(50).float()) != 0).all()


@pytest.mark.parametrize("logits", [1, 3])
def test_a_tower_is_an_mlp_and_a_linear_layer(logits: int) -> None:
    torch.manual_seed(0)
    tower = Tower(4, (6,), logits, bias=torch.arange(1.0, 1.0 + logits)).double()
    hidden = linear(tower.hidden.layers[0])
    wanted = torch.relu(x() @ hidden.weight.T) @ tower.weight.T + tower.bias
    assert tower(x()).shape == (5, logits)
    torch.testing.assert_close(tower(x()), wanted)
    assert tower.bias.tolist() == [float(1 + place) for place in range(logits)]


def test_a_tower_without_layers_is_linear() -> None:
    tower = Tower(4, ()).double()
    torch.testing.assert_close(tower(x()), x() @ tower.weight.T)
    assert tower.bias.tolist() == [0.0]


def test_logits_are_float32_under_autocast() -> None:
    torch.manual_seed(0)
    tower = Tower(16, (32,))
    with torch.autocast("cpu", torch.bfloat16):
        logits = tower(x(8, 16).bfloat16())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, tower(x(8, 16).float()), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("rank", [None, 2])
def test_cross_layers_follow_the_formula(rank: int | None) -> None:
    torch.manual_seed(0)
    cross = CrossLayers(4, 3, rank=rank).double()
    state = x()
    for layer in cross.layers:
        if rank is None:
            product = state @ linear(layer).weight.T + linear(layer).bias
        else:
            down, up = (linear(part) for part in layer.children())
            assert not list(down.parameters())[1:]
            assert down.weight.shape == (2, 4)
            product = state @ (up.weight @ down.weight).T + up.bias
        state = x() * product + state
    torch.testing.assert_close(cross(x()), state)
    assert cross.out_width == 4


def test_cross_layers_sum_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    cross = CrossLayers(16, 2)
    x_BD = x(8, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        crossed = cross(x_BD.bfloat16())
    assert crossed.dtype == torch.float32
    torch.testing.assert_close(crossed, cross(x_BD.bfloat16().float()), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    "module",
    [
        MLP(4, (3, 2)),
        Tower(4, (3,)),
        Tower(4, (), 2),
        CrossLayers(4, 2),
        CrossLayers(4, 2, rank=2),
    ],
    ids=["mlp", "tower", "linear tower", "cross", "low-rank cross"],
)
def test_gradients_are_those_of_finite_differences(module: nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    assert gradcheck(module.double(), x(3).requires_grad_())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: MLP(0, (4,)), "in_width"),
        (lambda: MLP(4, (4, 0)), r"widths\[1\]"),
        (lambda: MLP(4, (4,), dropout=1.0), "dropout"),
        (lambda: Tower(4, (), 0), "num_logits"),
        (lambda: CrossLayers(0), "width"),
        (lambda: CrossLayers(4, 0), "num_layers"),
        (lambda: CrossLayers(4, 2, rank=0), "rank"),
    ],
)
def test_impossible_shapes_are_refused(call: type, named: str) -> None:
    with pytest.raises(ConfigError, match=f"`{named}` must .*, got"):
        call()
