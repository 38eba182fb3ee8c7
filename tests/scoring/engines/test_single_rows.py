"""A row alone has the bits that it has among others, whatever the architecture multiplies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polyrank.data import Batch
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.scoring.engines import OnnxEngine, UserRows
from polyrank.scoring.export.onnx_file import graph_of
from tests.contract.test_sharings_contract import config_of
from tests.scoring.export.test_once import INPUTS, LAYOUT, SCHEMA, TASKS


@pytest.mark.nightly
def test_one_row_of_units_that_are_mixed() -> None:
    """A product by a weight that is no constant: for one row it is one by a vector."""
    sharing: Any = config_of("cross_stitch", TASKS)
    config = ModelConfig(sharing=sharing, towers=Towers(widths=(8,)))
    model = RankingModel(SCHEMA, LAYOUT, config, seed=0).eval().requires_grad_(requires_grad=False)
    drawn = torch.Generator().manual_seed(0)
    for table in model.tables_of_inputs():
        table.normal_(0, 0.3, generator=drawn)
    batch = Batch(
        ids_BF=torch.randint(0, 40, (60, 3), generator=drawn),
        numeric_BN=torch.randn(60, 2, generator=drawn),
        ragged={},
        vectors={},
    )
    engine = OnnxEngine(model, INPUTS, graph_of(model, INPUTS), threads=1)
    whole = engine.predict(batch)
    for place in range(20):
        row = batch.slice(place, place + 1)
        for users in (None, UserRows.shared(row, 1)):
            found = engine.predict(row, users=users)
            for task, value in whole.items():
                assert np.array_equal(found[task], value[place : place + 1])
