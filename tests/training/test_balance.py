"""What a balancing method decides is what the network gets.

Oracle: the gradient of each task's loss alone, from a backward pass of its own, put together with
the method's weights outside of the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from polyrank.balancing import Evidence, GradientWeighting, Moment, Weighting
from polyrank.balancing.base import At
from polyrank.data import Batch
from polyrank.layers import pieces
from polyrank.model import RankingModel
from polyrank.training import Prepared
from polyrank.training.balance import GRAMIAN_EVERY, Balance, Balanced, Losses
from polyrank.training.fork import fork_of
from polyrank.training.processes import Processes
from polyrank.training.step import denominators_of
from tests.contract.test_sharings_contract import CASES, kind_of, settings_of
from tests.training.runs import SCHEMA, config, prepared
from tests.training.test_faults import stepper

TASKS = SCHEMA.task_names
WEIGHTS = {"click": 0.5, "like": 3.0, "watch": -1.0}
NOW = Moment(step=0, steps_per_epoch=10)
FORKED = [case for case in CASES if kind_of(case, TASKS) != "single_task"]


class Given(GradientWeighting):
    """Always the same weights; remembers what it was shown."""

    def forward(self, evidence: Evidence) -> Tensor:
        self.seen = evidence
        return torch.tensor([WEIGHTS[task] for task in evidence.tasks], dtype=torch.float64)


class Halves(Weighting):
    """Weight .5 for everyone."""

    def forward(self, losses: Mapping[str, Tensor], moment: Moment) -> dict[str, Tensor]:
        del moment
        return dict.fromkeys(losses, torch.tensor(0.5))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def batch(log: Prepared) -> Batch:
    return next(iter(log.train.batches(batch_size=64, seed=0, epoch=0)))


def build(log: Prepared, case: str) -> RankingModel:
    settings = {**settings_of(case, TASKS), "kind": kind_of(case, TASKS)}
    if settings["kind"] == "pepnet":
        settings |= {"domain": ["tags"], "priors": ["user", "item"]}
    run = config(model={"sharing": settings, "towers": {"widths": [8]}, "embedding_dropout": 0.0})
    model = RankingModel(SCHEMA, log.encoders.layout, run.model, seed=0)
    return model.train()


def losses_of(model: RankingModel, batch: Batch, log: Prepared) -> Losses:
    torch.manual_seed(3)
    forward = model(batch)
    objective = model.objective
    denominators = dict(zip(TASKS, denominators_of(objective, batch).tolist(), strict=True))
    step = stepper(log)
    object.__setattr__(step, "model", model)
    shares = step.losses(forward, batch, denominators)
    return Losses(
        shares=shares,
        totals={task: share.detach() for task, share in shares.items()},
        penalty=forward.shared.penalty,
        fork=fork_of(forward.shared),
    )


def balance_of(
    model: RankingModel, method: Weighting | GradientWeighting, **settings: Any
) -> Balance:
    tables = {id(p) for table in model.tables() for p in table.parameters()}
    dense = tuple(p for p in model.parameters() if id(p) not in tables)
    return Balance(method=method, processes=Processes(), dense=dense, **settings)


def by_hand(model: RankingModel, losses: Losses) -> dict[str, dict[str, Tensor]]:
    """By loss and piece: its gradient alone; the penalty's under "penalty"."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    alone = dict(losses.shares)
    if losses.penalty is not None and losses.penalty.requires_grad:
        alone["penalty"] = losses.penalty
    found = {}
    for name, loss in alone.items():
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        dense = {
            key: torch.zeros_like(own) if grad is None else grad.to_dense()
            for key, own, grad in zip(names, parameters, grads, strict=True)
        }
        found[name] = pieces(model, model.owners, dense)
    return found


def given(model: RankingModel) -> dict[str, Tensor]:
    """By piece, what stands in ``.grad``."""
    dense = {
        name: torch.zeros_like(own) if own.grad is None else own.grad.to_dense()
        for name, own in model.named_parameters()
    }
    return pieces(model, model.owners, dense)


def total(
    alone: Mapping[str, Mapping[str, Tensor]], piece: str, weigh: Callable[[str], float]
) -> Tensor:
    return torch.stack([weigh(name) * grads[piece] for name, grads in alone.items()]).sum(0)


def users(alone: Mapping[str, Mapping[str, Tensor]], piece: str) -> list[str]:
    return [task for task in TASKS if bool(alone[task][piece].abs().sum() > 0)]


@pytest.mark.parametrize("at", ["fork", "shared_parameters"])
@pytest.mark.parametrize("case", FORKED)
def test_the_block_gets_the_weighted_sum_and_a_tower_the_gradient_of_its_loss(
    log: Prepared, batch: Batch, case: str, at: At
) -> None:
    model = build(log, case)
    losses = losses_of(model, batch, log)
    alone = by_hand(model, losses)
    method = Given(TASKS)
    balanced = balance_of(model, method, at=at).backward(losses, NOW)
    assert balanced.weights == WEIGHTS
    shared = 0
    for piece, grad in given(model).items():
        using = users(alone, piece)
        plain = total(alone, piece, lambda _: 1.0)
        weighted = total(alone, piece, lambda name: WEIGHTS.get(name, 1.0))
        expected = plain if piece.startswith("towers") else weighted
        assert torch.allclose(grad, expected, rtol=1e-3, atol=1e-5), piece
        shared += len(using) > 1
    assert shared


@pytest.mark.parametrize(
    ("case", "at"),
    [
        *((case, "fork") for case in ("shared_bottom", "mmoe", "ple", "pepnet")),
        ("shared_bottom", "shared_parameters"),
    ],
)
def test_the_gramian_is_of_the_gradients_where_they_are_compared(
    log: Prepared, batch: Batch, case: str, at: At
) -> None:
    model = build(log, case)
    losses = losses_of(model, batch, log)
    alone = by_hand(model, losses)
    rows = []
    for task in TASKS:
        if at == "fork":
            found = torch.autograd.grad(losses.shares[task], losses.fork.parts, retain_graph=True)
            rows.append(torch.cat([grad.flatten() for grad in found]))
        else:
            rows.append(
                torch.cat(
                    [
                        grad.flatten()
                        for piece, grad in alone[task].items()
                        if "table" not in piece and len(users(alone, piece)) > 1
                    ]
                )
            )
    expected = torch.stack(rows).double()
    method = Given(TASKS)
    balanced = balance_of(model, method, at=at).backward(losses, NOW)
    assert method.seen.tasks == TASKS
    assert balanced.gramian_TT is not None
    assert torch.allclose(balanced.gramian_TT, expected @ expected.T, rtol=1e-4, atol=1e-9)
    assert torch.equal(balanced.gramian_TT, method.seen.gramian_TT)


@pytest.mark.parametrize("method", [Given(TASKS), Halves(TASKS)], ids=["gradients", "losses"])
@pytest.mark.parametrize("case", ["shared_bottom", "mmoe in health", "ple", "stem"])
def test_a_reader_moves_nothing_that_others_use(
    log: Prepared, batch: Batch, case: str, method: Weighting | GradientWeighting
) -> None:
    model = build(log, case)
    losses = losses_of(model, batch, log)
    alone = by_hand(model, losses)
    balance_of(model, method, readers=frozenset({"like"})).backward(losses, NOW)

    def weight(task: str) -> float:
        plain = 0.5 if isinstance(method, Halves) and task != "penalty" else 1.0
        return WEIGHTS.get(task, 1.0) if isinstance(method, Given) else plain

    learned = 0
    for piece, grad in given(model).items():
        using = users(alone, piece)
        if len(using) > 1:
            expected = total(alone, piece, lambda name: 0.0 if name == "like" else weight(name))
            assert torch.allclose(grad, expected, rtol=1e-3, atol=1e-5), piece
        learned += using == ["like"] and bool(grad.abs().sum() > 0)
    assert learned


def test_one_task_in_the_batch_is_plain_training_bit_for_bit(log: Prepared, batch: Batch) -> None:
    model, other = build(log, "mmoe in health"), build(log, "mmoe in health")
    losses, plain = losses_of(model, batch, log), losses_of(other, batch, log)
    only = Losses(
        shares={"like": losses.shares["like"]},
        totals={"like": losses.totals["like"]},
        penalty=losses.penalty,
        fork=losses.fork,
    )
    balanced = balance_of(model, Given(TASKS)).backward(only, NOW)
    assert balanced.weights == {"like": 1.0}
    assert balanced.gramian_TT is None
    assert plain.penalty is not None
    (plain.shares["like"] + plain.penalty).backward()
    for (name, ours), (_, theirs) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None and theirs.grad is not None:
            assert torch.equal(ours.grad.to_dense(), theirs.grad.to_dense()), name


def test_a_gradient_that_is_not_finite_reaches_no_method(log: Prepared, batch: Batch) -> None:
    model = build(log, "shared_bottom")
    losses = losses_of(model, batch, log)
    broken = {**losses.shares, "like": losses.shares["like"] * torch.inf}
    method = Given(TASKS)
    balanced = balance_of(model, method).backward(
        Losses(shares=broken, totals=losses.totals, penalty=None, fork=losses.fork), NOW
    )
    assert not balanced.finite
    assert not hasattr(method, "seen")
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("method", [Given(TASKS), Halves(TASKS)], ids=["gradients", "losses"])
def test_tasks_are_compared_in_the_order_of_the_schema(
    log: Prepared, batch: Batch, method: Weighting | GradientWeighting
) -> None:
    """Whatever order a funnel's parts come in."""
    model = build(log, "shared_bottom")
    losses = losses_of(model, batch, log)
    turned = {task: losses.shares[task] for task in reversed(TASKS)}
    given_ = Losses(shares=turned, totals=losses.totals, penalty=None, fork=losses.fork)
    assert balance_of(model, method).backward(given_, NOW).tasks == TASKS


def test_a_method_of_losses_looks_at_gradients_now_and_then(log: Prepared, batch: Batch) -> None:
    model = build(log, "mmoe")
    seen = []
    for step in range(2 * GRAMIAN_EVERY + 1):
        moment = Moment(step=step, steps_per_epoch=100)
        balanced = balance_of(model, Halves(TASKS)).backward(losses_of(model, batch, log), moment)
        assert balanced.weights == dict.fromkeys(TASKS, 0.5)
        if balanced.gramian_TT is not None:
            assert isinstance(balanced, Balanced)
            seen.append(step)
    assert seen == [0, GRAMIAN_EVERY, 2 * GRAMIAN_EVERY]
