"""Bias towers: what they read, what they drop, and what they are silent on when nothing is learned.

Shapes: B rows.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from polyrank.data import Batch
from polyrank.heads.bias import PAL, BiasTower, ShallowTower
from polyrank.heads.bias.pal import START
from polyrank.layers import cost_of
from tests.heads.bias.rows import SCHEMA, SHOWN, encoders, log

LAYOUT = encoders(SCHEMA).layout
BIG = 20_000


def tower(dropout: float = 0.0, features: tuple[str, ...] = SHOWN) -> BiasTower:
    torch.manual_seed(0)
    return BiasTower(LAYOUT, features, dim=4, widths=(8,), dropout=dropout)


def batch(rows: int = 160) -> Batch:
    return encoders(SCHEMA).encode(log(0, rows))


def test_the_logit_is_that_of_plain_loops() -> None:
    """Rows of the table by feature, side by side, one hidden layer."""
    built, given = tower(), batch()
    table = built.table.weight.detach()
    hidden = built.tower.hidden.layers[0]
    names = [column.name for column in LAYOUT.ids]
    starts = {"place": 0, "device": len(LAYOUT.bias_rows["place"])}
    found = built.train()(given).detach()[:, 0].tolist()
    for row in range(20):
        x: list[float] = []
        for name in SHOWN:
            own = int(given.ids_BF[row, names.index(name)]) - LAYOUT.bias_rows[name].start
            x += table[starts[name] + own].tolist()
        z = float(built.tower.bias.detach()[0])
        for weights, bias, last in zip(
            hidden.weight.tolist(),  # type: ignore[operator]
            hidden.bias.tolist(),  # type: ignore[operator]
            built.tower.weight[0].tolist(),
            strict=True,
        ):
            z += last * max(0.0, bias + sum(w * v for w, v in zip(weights, x, strict=True)))
        assert found[row] == pytest.approx(z, abs=1e-5)


def test_its_table_has_the_rows_of_its_features_alone() -> None:
    assert tower().table.num_rows == sum(len(LAYOUT.bias_rows[name]) for name in SHOWN)
    assert tower(features=("device",)).table.num_rows == len(LAYOUT.bias_rows["device"])


def test_outside_training_all_features_are_missing() -> None:
    built, given = tower(0.5), batch()
    quiet_B1 = built.eval()(given)
    assert quiet_B1.shape == (160, 1)
    assert quiet_B1.unique().numel() == 1
    missing = given.ids_BF.clone()
    for place, column in enumerate(LAYOUT.ids):
        if column.name in SHOWN:
            missing[:, place] = LAYOUT.bias_rows[column.name].start
    given = dataclasses.replace(given, ids_BF=missing)
    torch.testing.assert_close(tower().train()(given), quiet_B1)


def test_ids_that_pad_a_batch_are_not_looked_up_when_scoring() -> None:
    given = dataclasses.replace(
        batch(), ids_BF=torch.zeros(160, len(LAYOUT.ids), dtype=torch.int64)
    )
    assert tower().eval()(given).isfinite().all()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_that_share_of_rows_is_without_and_each_wholly(share: float) -> None:
    """Within four standard errors."""
    built, given = tower(share).train(), batch(BIG)
    missing = built.eval()(given)[:1]
    shown_B1 = tower().train()(given)
    found_B1 = built.train()(given)
    without_B1 = torch.isclose(found_B1, missing, atol=1e-6)
    torch.testing.assert_close(found_B1[~without_B1], shown_B1[~without_B1])
    error = (share * (1 - share) / BIG) ** 0.5
    assert without_B1.float().mean().item() == pytest.approx(share, abs=4 * error)
    assert not torch.equal(found_B1, built(given))


def test_starts() -> None:
    """A shallow tower about at 0, PAL about at P(seen) = .9."""
    given = batch()
    torch.manual_seed(0)
    added = ShallowTower().tower(SCHEMA, LAYOUT)(given)
    seen = torch.sigmoid(PAL().tower(SCHEMA, LAYOUT)(given))
    assert added.abs().max() < 1
    assert 0.8 < seen.min() <= seen.max() < 0.96
    assert torch.sigmoid(torch.tensor(START)).item() == pytest.approx(0.9)


def test_its_cost_is_that_of_its_layers() -> None:
    cost = cost_of(tower())
    assert cost.multiply_adds == 8 * 8 + 8
    assert cost.parameters == tower().table.num_rows * 4 + 8 * 8 + 8 + 8 + 1
