"""Two processes give the weights of one on their rows together, however balanced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyrank.balancing import GRADIENT_BALANCERS, SCALARIZERS
from tests.training.balancers_worker import weights_by_record, work
from tests.training.forkserver import ForkServer
from tests.training.runs import prepared, table
from tests.training.test_scalarizers import SETTINGS

BALANCES = {
    **{
        kind: {"kind": kind, **SETTINGS.get(kind, {})}
        for kind in (*SCALARIZERS, *GRADIENT_BALANCERS)
    },
    "upgrad at shared parameters": {"kind": "upgrad", "at": "shared_parameters"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, server: ForkServer) -> Path:
    found = tmp_path_factory.mktemp("balancers")
    rows = table(138, 0)
    # The last batch has 10 rows, and one task no label in some batches.
    like = pa.array(rows["like"].to_numpy(), mask=np.arange(138) % 60 > 0)
    prepared(
        found / "cache",
        rows.set_column(rows.column_names.index("like"), "like", like),
        table(31, 1),
    )
    work(str(found), BALANCES)
    order = server.order(
        found / "errors",
        call="tests.training.balancers_worker:work",
        arguments=[str(found), BALANCES],
    )
    told = server.wait_all(server.start_many(order, 2))
    assert told == [0, 0], [path.read_text() for path in (found / "errors").iterdir()]
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BALANCES)
def test_two_processes_learn_as_one(folder: Path, name: str) -> None:
    alone, both = folder / "1" / name, folder / "2" / name
    expected = json.loads((alone / "result-0.json").read_text())
    found = json.loads((both / "result-0.json").read_text())
    assert found == json.loads((both / "result-1.json").read_text())
    for key, weights in expected.items():
        np.testing.assert_allclose(found[key], weights, rtol=0, atol=1e-5, err_msg=key)
    for ours, theirs in zip(weights_by_record(both), weights_by_record(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_ways_of_balancing_differ(folder: Path) -> None:
    weights = {name: (folder / "1" / name / "result-0.json").read_text() for name in BALANCES}
    assert len(set(weights.values())) >= len(weights) - 1
