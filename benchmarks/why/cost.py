"""One shared model against T separate ones: parameters, training time, scoring time.

Times are CPU-seconds of one thread on the same rows, in turns; T separate models cost T times what
one costs, which is measured for T = 1.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from polyrank.config import DataConfig, RunConfig, TrainingConfig
from polyrank.data import RandomSplit
from polyrank.model import ModelConfig, Towers
from polyrank.schema import Binary, Categorical, Numeric, Schema
from polyrank.scoring import TorchEngine
from polyrank.sharing import MMoE
from polyrank.training import Sources, prepare, train
from why.outcome import Outcome, Point

NUM_TASKS = (1, 2, 4, 8, 16)
NUM_IDS, NUM_NUMBERS, IDS, ROWS, CANDIDATES, ROUNDS = 26, 13, 20_000, 60_000, 1_000, 3


@dataclass(frozen=True)
class Cost:
    """Of one model."""

    parameters: int
    training: float
    """CPU-seconds for the rows."""
    scoring: float
    """CPU-milliseconds for the candidates."""


def log(num_rows: int) -> pa.Table:
    """Ids, numbers and sixteen labels, all random: only the time matters."""
    random = np.random.default_rng(0)
    columns = {f"c{i}": random.integers(0, IDS, num_rows) for i in range(NUM_IDS)}
    columns |= {
        f"n{i}": random.normal(size=num_rows).astype(np.float32) for i in range(NUM_NUMBERS)
    }
    columns |= {f"t{i}": random.integers(0, 2, num_rows) for i in range(max(NUM_TASKS))}
    return pa.table(columns)


def measure(table: pa.Table, num_tasks: int) -> Cost:
    """Train one model of so many tasks for an epoch, and score."""
    schema = Schema(
        features=(
            *(Categorical(name=f"c{i}", min_frequency=1) for i in range(NUM_IDS)),
            *(Numeric(name=f"n{i}", scaling="standard") for i in range(NUM_NUMBERS)),
        ),
        tasks=tuple(Binary(name=f"t{i}") for i in range(num_tasks)),
    )
    config = RunConfig(
        schema_=schema,
        data=DataConfig(log="memory", split=RandomSplit(validation=0.01)),
        model=ModelConfig(sharing=MMoE(num_experts=8, widths=(256, 128)), towers=Towers()),
        training=TrainingConfig(epochs=1, threads=1),
    )
    sources = Sources.of(train=table, validation=table.slice(0, CANDIDATES))
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(config, sources, Path(folder))
        start = time.process_time()
        result = train(config, prepared, Path(folder))
        training = time.process_time() - start
    engine = TorchEngine(result.model)
    batch = prepared.encoders.encode(table.slice(0, CANDIDATES), labels=False)
    times = []
    for _ in range(30):
        start = time.process_time()
        engine.predict(batch)
        times.append(time.process_time() - start)
    parameters = sum(parameter.numel() for parameter in result.model.parameters())
    return Cost(parameters, training, statistics.median(times) * 1e3)


def study(root: Path, folder: Path, workers: int) -> Outcome:
    """A row a number of tasks: the shared model as a multiple of one task's, beside T."""
    del root, folder, workers
    torch.set_num_threads(1)
    table = log(ROWS)
    found: dict[int, list[Cost]] = {count: [] for count in NUM_TASKS}
    for _ in range(ROUNDS):
        for count in NUM_TASKS:
            found[count].append(measure(table, count))

    def median(count: int, name: str) -> float:
        return statistics.median(getattr(cost, name) for cost in found[count])

    lines = [
        "| tasks | parameters | training, CPU-s | of T models | scoring, CPU-ms | of T models |",
        "|---|---|---|---|---|---|",
    ]
    points: list[Point] = []
    for count in NUM_TASKS:
        cells = [f"{median(count, 'parameters'):,.0f}"]
        for name in ("training", "scoring"):
            value, one = median(count, name), median(1, name)
            cells += [f"{value:.2f} ({value / one:.2f} x one task)", f"{value / (count * one):.2f}"]
            times = [getattr(cost, name) / one for cost in found[count]]
            points.append(Point(str(count), "shared", name, value / one, min(times), max(times)))
            points.append(Point(str(count), "T models", name, count, count, count))
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    how = f"Medians of {ROUNDS} rounds in turns; in the figure, from the least to the largest."
    return Outcome(lines, points, "tasks", "times of one task's model", how)
