"""The network as a whole.

Shapes: B rows.
"""

from __future__ import annotations

import pytest
import torch

from polyrank.data import Batch, Reader, open_log
from polyrank.heads import build_head, masked_mean
from polyrank.interactions import AnyInteraction, DCNv2, NoInteraction
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.sharing import AnySharing, MMoE, SharedBottom, SingleTask
from tests import feeds

SHARINGS: list[AnySharing] = [
    MMoE(num_experts=3, widths=(16,)),
    SharedBottom(widths=(16,)),
    SingleTask(widths=(16,)),
]


def _model(
    sharing: AnySharing,
    seed: int = 0,
    *,
    interaction: AnyInteraction | None = None,
    embedding_dropout: float = 0.0,
    seed_offset: int = 0,
) -> RankingModel:
    config = ModelConfig(
        embedding_dim=4,
        embedding_dropout=embedding_dropout,
        interaction=interaction or NoInteraction(),
        sharing=sharing,
        towers=Towers(widths=(8,)),
        seed_offset=seed_offset,
    )
    bundle = feeds.bundle()
    return RankingModel(bundle.schema, bundle.encoders.layout, config, seed=seed)


def _batch(rows: int = 64) -> Batch:
    bundle = feeds.bundle()
    table = next(Reader(open_log(feeds.log()), bundle.schema).chunks("all"))
    return bundle.encoders.encode(table.slice(0, rows))


@pytest.fixture(params=SHARINGS, ids=lambda sharing: sharing.kind)
def sharing(request: pytest.FixtureRequest) -> AnySharing:
    found: AnySharing = request.param
    return found


def test_every_task_has_logits_and_predictions_for_every_row(sharing: AnySharing) -> None:
    model, batch = _model(sharing), _batch()
    forward = model(batch)
    assert tuple(forward.logits) == feeds.schema().task_names
    assert all(logits.shape == (64, 1) for logits in forward.logits.values())
    assert all(value.shape == (64,) for value in model.predict(batch).values())


def test_an_untrained_network_predicts_about_the_training_mean(sharing: AnySharing) -> None:
    model, batch = _model(sharing), _batch(1000)
    layout = feeds.bundle().encoders.layout
    for task in feeds.schema().tasks:
        head = build_head(task, layout.targets[task.name])
        start = head.predict(head.initial_logits()[None]).item()
        assert model.predict(batch)[task.name].median().item() == pytest.approx(start, rel=0.8)


@pytest.mark.parametrize("interaction", [None, DCNv2(), DCNv2(rank=4)])
def test_every_parameter_learns_and_table_gradients_are_sparse(
    sharing: AnySharing, interaction: DCNv2 | None
) -> None:
    model, batch = _model(sharing, interaction=interaction).train(), _batch(2000)
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.weight_B is not None
    forward = model(batch)
    total = torch.zeros(())
    for place, (task, head) in enumerate(model.heads.items()):
        loss_B = head.loss(forward.logits[task], batch.labels_BT[:, place])
        total = total + masked_mean(
            loss_B, batch.observed_BT[:, place], batch.weight_B, torch.tensor(100.0)
        )
    total.backward()
    tables = {id(table.weight) for table in model.tables()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.is_sparse == (id(parameter) in tables), name
        values = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        assert values.isfinite().all(), name
        assert values.abs().sum() > 0, name


def test_the_seed_decides_the_weights_and_nothing_outside(sharing: AnySharing) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = _model(sharing, seed=1)
    assert torch.equal(torch.rand(3), expected)
    same, other = _model(sharing, seed=1), _model(sharing, seed=2)
    assert all(
        torch.equal(one, two)
        for one, two in zip(first.parameters(), same.parameters(), strict=True)
    )
    offset = _model(sharing, seed=1, seed_offset=1)
    assert all(
        torch.equal(one, two)
        for one, two in zip(other.parameters(), offset.parameters(), strict=True)
    )


def test_input_dropout_acts_in_training_only() -> None:
    model, batch = _model(SharedBottom(widths=(16,)), embedding_dropout=0.5), _batch()
    torch.manual_seed(0)
    noisy = [model.train()(batch).logits["click"] for _ in range(2)]
    quiet = [model.eval()(batch).logits["click"] for _ in range(2)]
    assert not torch.equal(*noisy)
    assert torch.equal(*quiet)
