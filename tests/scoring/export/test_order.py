"""Every architecture under every head, with lists: what torch predicts, in the order it gives.

T21: probabilities within 1e-6, other predictions within what an export may differ by, and two rows
change places only where they lie less than 2 ULP of float32 apart.

Shapes: N rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from polyrank.data import Batch, Encoders
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Bag, Categorical, Duration, Embedding, Numeric, Schema, Sequence
from polyrank.scoring.engines import TorchEngine
from polyrank.scoring.engines.onnx import session_of
from polyrank.scoring.export.made_up import made_up
from polyrank.scoring.export.network import Inputs
from polyrank.scoring.export.onnx_file import onnx_of
from polyrank.scoring.export.program import program_of
from polyrank.scoring.export.write import TOLERANCE
from tests.contract.test_sharings_contract import CASES, config_of
from tests.contract.test_sharings_with_heads import TASKS as HEAD_TASKS

N, TOP = 400, 100
CLOSE, ULP = 1e-6, 2.0
FEATURES = (
    Categorical(name="hour", side="context", min_frequency=1),
    Categorical(name="item", side="item", min_frequency=1),
    Categorical(name="user", side="user", min_frequency=1),
    Numeric(name="age", side="user"),
    Sequence(name="seen", side="user", shares="item", max_length=30),
    Bag(name="tags", side="item", min_frequency=1),
    Sequence(name="liked", side="user", shares="item", pooling="attention", max_length=20),
    Embedding(name="picture", side="item", dim=4),
)


@cache
def world(every_head: bool) -> tuple[Schema, Encoders]:
    """A task of every head, or one of few features, since each operation takes time to export; the
    log is there to fit encoders."""
    rng, rows = np.random.default_rng(0), 96
    known = [(name, *own) for name, own in HEAD_TASKS.items()]
    if not every_head:
        known = [each for each in known if each[0] == "cross_entropy_task"]
    columns: dict[str, Any] = {name: rng.integers(0, 12, rows) for name in ("user", "item", "hour")}
    for name in ("tags", "seen", "liked"):
        columns[name] = [rng.integers(0, 12, rng.integers(0, 9)).tolist() for _ in range(rows)]
    columns["age"] = rng.normal(35, 10, rows)
    columns["picture"] = rng.normal(size=(rows, 4)).astype("f4").tolist()
    columns["length"] = rng.uniform(1e4, 1e5, rows)
    columns["cut"] = rng.integers(0, 2, rows)
    for name, task, valid in known:
        timed = isinstance(task, Duration)  # else heads answer with a day or nothing
        columns[name] = rng.uniform(1e3, 1e5, rows) if timed else rng.choice(valid, rows)
    tasks = [task.model_copy(update={"name": name, "label": name}) for name, task, _ in known]
    features = FEATURES if every_head else FEATURES[:5]
    schema = Schema(features=features, tasks=tuple(tasks))
    return schema, Encoders.fit(schema, [pa.table(columns)])


def model_of(case: str, every_head: bool) -> tuple[RankingModel, Inputs, Batch]:
    """A network whose biases are not 0, what it reads, and rows."""
    schema, encoders = world(every_head)
    heads: Any = {name: {"kind": name.removesuffix("_task")} for name in schema.task_names}
    sharing: Any = config_of(case, schema.task_names)
    config = ModelConfig(embedding_dim=8, sharing=sharing, towers=Towers(widths=(8,)), heads=heads)
    model = RankingModel(schema, encoders.layout, config, seed=1).eval().requires_grad_(False)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    timed = [name for name in schema.task_names if config.heads[name].reads_length]
    return model, Inputs(encoders.layout, timed), made_up(encoders, N)


def inverted_ulp(reference_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> float:
    """The widest gap between rows of ``reference_N`` that stand the other way round in ``found_N``
    and of which one is among the best, in ULP of float32 at the largest value; 0 where none do."""
    best = np.argsort(-reference_N, kind="stable")
    ulp, widest = float(np.spacing(np.float32(np.abs(reference_N).max()))), 0.0
    for at, row in enumerate(best[:TOP]):
        after = best[at + 1 :]
        behind = after[found_N[after] > found_N[row]]
        if len(behind):
            widest = max(widest, float(reference_N[row] - reference_N[behind].min()) / ulp)
    return widest


def test_what_is_called_inverted() -> None:
    ulp = float(np.spacing(np.float32(1)))
    reference: NDArray[np.float64] = 1.0 + np.arange(8.0)[::-1] * ulp
    assert inverted_ulp(reference, reference) == 0
    assert inverted_ulp(reference, reference[[0, 2, 1, 3, 4, 5, 6, 7]]) == 1
    assert inverted_ulp(reference, reference[[5, 1, 2, 3, 4, 0, 6, 7]]) == 5


def check(case: str, *, every_head: bool) -> None:
    """The exported file in ONNX Runtime beside eager torch."""
    model, inputs, rows = model_of(case, every_head)
    want = TorchEngine(model).predict(rows)
    program = program_of(model, inputs, "predictions")
    session = session_of(onnx_of(program, {}).SerializeToString(), 1)
    given = inputs.of(rows, None)
    feed = {each.name: given[each.name].numpy() for each in session.get_inputs()}
    for task, found in zip(program.outputs, session.run(list(program.outputs), feed), strict=True):
        reference = want[task]
        assert len(np.unique(reference)) > 9, task
        largest = max(1.0, float(np.abs(reference).max()))
        apart = float(np.abs(found - reference).max()) / largest
        assert apart <= (CLOSE if largest == 1.0 else TOLERANCE), (task, apart)
        assert inverted_ulp(reference, found) < ULP, task


def test_the_order_is_kept() -> None:
    check("shared_bottom", every_head=False)


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES)
def test_every_architecture_under_every_head_keeps_the_order(case: str) -> None:
    check(case, every_head=True)
