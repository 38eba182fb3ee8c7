"""Audits of tasks whose relation is known: the synthetic tasks of the MMoE paper.

y_k = w_k x + sum_i sin(alpha_i w_k x + beta_i) + noise, of orthogonal or equal w_k (Ma et al., KDD
2018, section 3.2; constants of Tang et al., RecSys 2020, section 5.3). Rows are few enough and
networks small enough for a test; one task twice has noise of its own each time.

Shapes: N rows, D inputs, M sines, T tasks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.audit.config import AuditConfig
from polyrank.audit.jobs import run_job
from polyrank.audit.session import opened
from polyrank.audit.verdict import Verdict, Verdicts
from polyrank.config import RunConfig
from polyrank.schema import parse
from polyrank.training import Sources
from tests.audit.bench import training

INPUTS, SINES, NOISE = 8, 10, 0.1
ROWS = {"train": 5_000, "validation": 2_000, "test": 6_000}
MARGIN = 0.1
"""Of the twin's MAE."""
SMALL: dict[str, Any] = {"kind": "shared_bottom", "widths": [4]}
AMPLE: dict[str, Any] = {
    "kind": "cgc",
    "widths": [16],
    "num_task_experts": 4,
    "num_shared_experts": 1,
}


def rows(num_tasks: int, *, same: bool, seed: int) -> dict[str, pa.Table]:
    """The parts of a log of tasks that are one and the same, or have nothing in common."""
    rng = np.random.default_rng(seed)
    basis_DT, _ = np.linalg.qr(rng.normal(size=(INPUTS, num_tasks)))
    weights_DT = np.repeat(basis_DT[:, :1], num_tasks, axis=1) if same else basis_DT
    alpha_M, beta_M = rng.normal(size=(2, SINES))
    found = {}
    for part, count in ROWS.items():
        x_ND = rng.normal(size=(count, INPUTS))
        linear_NT = x_ND @ weights_DT
        waves_NT = np.sin(linear_NT[..., None] * alpha_M + beta_M).sum(-1)
        y_NT = linear_NT + waves_NT + NOISE * rng.normal(size=linear_NT.shape)
        columns = {f"x{place}": x_ND[:, place] for place in range(INPUTS)}
        labels = {f"task_{place}": y_NT[:, place] for place in range(num_tasks)}
        found[part] = pa.table({**columns, **labels})
    return found


def config(num_tasks: int, sharing: dict[str, Any], weight: float) -> RunConfig:
    tree = {
        "schema": {
            "features": [{"kind": "numeric", "name": f"x{place}"} for place in range(INPUTS)],
            "tasks": [
                {"kind": "regression", "name": f"task_{place}"} for place in range(num_tasks)
            ],
        },
        "data": {part: f"{part}.parquet" for part in ROWS},
        "model": {"sharing": sharing, "towers": {"widths": [8]}},
        "balance": {"kind": "static", "weights": {"task_0": weight}},
        "training": training(epochs=12, batch_size=256, learning_rate=0.01),
    }
    return parse(RunConfig, tree)


def audited(
    folder: Path,
    num_tasks: int,
    sharing: dict[str, Any],
    *,
    same: bool,
    seed: int = 0,
    weight: float = 1.0,
) -> tuple[Verdict, ...]:
    """The verdicts over five seeds of training on one draw of tasks; the first has a weight."""
    asked = AuditConfig(
        seeds=5,
        margin=MARGIN,
        transfer="none",
        evidence=False,
        baselines=False,
        remedies="never",
        output=str(folder),
    )
    log = Sources.of(**rows(num_tasks, same=same, seed=seed))
    with opened(config(num_tasks, sharing, weight), asked, log) as found:
        for place, job in enumerate(found.plan().waiting):
            found.store.write(*run_job(job, found.bench, folder / "work" / str(place)))
        judged = found.report().verdicts
    assert isinstance(judged, Verdicts)
    return judged.tasks


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_task_twice_is_never_harmed(tmp_path: Path, seed: int) -> None:
    found = audited(tmp_path, 2, SMALL, same=True, seed=seed)
    assert "harmed" not in {own.answer for own in found}


@pytest.mark.nightly
def test_what_conflicts_under_a_small_shared_bottom_is_harmed(tmp_path: Path) -> None:
    """The first task, which weighs more, takes the room that there is."""
    _, quiet = audited(tmp_path, 2, SMALL, same=False, weight=100.0)
    assert quiet.answer == "harmed"


@pytest.mark.nightly
def test_what_is_unrelated_is_unharmed_where_there_is_room(tmp_path: Path) -> None:
    found = audited(tmp_path, 2, AMPLE, same=False)
    assert {own.answer for own in found} == {"unharmed"}
