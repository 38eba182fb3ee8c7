"""One training step, taken apart: rows a second, where the time goes, and how near the floor it is.

    python benchmarks/training_step.py

Synthetic batches, encoded already: 26 ids (Zipf, 3 million rows of table, width 16), 13 numbers,
MMoE with 8 experts 256-128, towers of 64, two binary tasks and one regression, batch 4096, bf16.
Each number of threads runs in a process of its own. Judge by rows per CPU-second on one thread
where others use the machine; the floor is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyrank.data.batch import Batch
from polyrank.data.layout import IdColumn, Layout, NumericColumn, TargetStats
from polyrank.layers import Gates, InputLayer, PackedExperts, Tower, mix
from polyrank.training.malloc import tune_allocator
from polyrank.training.rowwise import RowwiseAdagrad, coalesce

NUM_IDS, NUM_NUMBERS, NUM_ROWS, DIM, BATCH = 26, 13, 3_000_000, 16, 4096
EXPERTS, WIDTHS, TOWER = 8, (256, 128), 64
TASKS = ("click", "like", "watch")
STAGES = ("gather", "forward", "backward", "table update", "dense update")
Clock = dict[str, list[float]]


class Network(nn.Module):
    """MMoE on the input layer."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.inputs = InputLayer(layout, DIM)
        width = self.inputs.width
        self.experts = PackedExperts(width, WIDTHS, EXPERTS)
        self.gates = Gates(width, TASKS, EXPERTS)
        self.towers = nn.ModuleDict({task: Tower(WIDTHS[-1], (TOWER,)) for task in TASKS})

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Logits by task, from the input layer's output."""
        mixed = mix(self.experts(x_BD), self.gates(x_BD))
        return {task: self.towers[task](mixed[task])[:, 0] for task in TASKS}

    def product_flop(self, rows: int) -> float:
        """Floating-point operations of all matrix products of one step."""
        weights = sum(p.numel() for name, p in self.named_parameters() if p.ndim > 1)
        weights -= self.inputs.table.weight.numel()
        return 6.0 * rows * weights


def layout() -> Layout:
    """26 ids and 13 numbers on the context side."""
    return Layout(
        ids=tuple(IdColumn(name=f"id{i}", side="context") for i in range(NUM_IDS)),
        numerics=tuple(NumericColumn(name=f"n{i}", side="context") for i in range(NUM_NUMBERS)),
        ragged=(),
        vectors=(),
        tasks=TASKS,
        num_rows=NUM_ROWS,
        targets={task: TargetStats(mean=0.5, std=1.0, count=1) for task in TASKS},
    )


def batches(count: int) -> list[Batch]:
    """Batches whose ids follow Zipf's law (exponent 1.05) in vocabularies of 10 to 1 M."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(10), np.log(1e6), NUM_IDS))
    sizes = np.maximum(2, sizes * (NUM_ROWS / sizes.sum())).astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    return [_batch(rng, sizes, starts) for _ in range(count)]


def _batch(rng: np.random.Generator, sizes: np.ndarray, starts: np.ndarray) -> Batch:
    power = -0.05
    uniform_BF = rng.random((BATCH, NUM_IDS))
    rank_BF = ((sizes**power - 1) * uniform_BF + 1) ** (1 / power)
    ids_BF = starts + np.minimum(rank_BF.astype(np.int64) - 1, sizes - 1)
    labels_BT = (rng.random((BATCH, len(TASKS))) < 0.3).astype(np.float32)
    return Batch(
        ids_BF=torch.from_numpy(np.minimum(ids_BF, NUM_ROWS - 1)),
        numeric_BN=torch.from_numpy(rng.standard_normal((BATCH, NUM_NUMBERS), dtype=np.float32)),
        ragged={},
        vectors={},
        labels_BT=torch.from_numpy(labels_BT),
        observed_BT=torch.ones(BATCH, len(TASKS), dtype=torch.bool),
        weight_B=torch.ones(BATCH),
    )


@contextmanager
def timed(clock: Clock, stage: str) -> Iterator[None]:
    """Add the CPU time of the block to ``stage``."""
    start = time.process_time()
    yield
    clock[stage].append(time.process_time() - start)


class Step:
    """Network, optimizers and the clock of each stage."""

    def __init__(self, precision: str) -> None:
        torch.manual_seed(0)
        self.network = Network(layout())
        self.table = self.network.inputs.table.weight
        dense = [p for p in self.network.parameters() if p is not self.table]
        self.dense = torch.optim.AdamW(dense, lr=1e-3, fused=True)
        self.rowwise = RowwiseAdagrad([self.table], lr=0.02)
        self.precision = precision
        self.clock: Clock = defaultdict(list)

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 or none."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast("cpu", torch.bfloat16)

    def __call__(self, batch: Batch) -> None:
        """One step."""
        with timed(self.clock, "gather"), self.autocast():
            x_BD = self.network.inputs(batch)
        with timed(self.clock, "forward"), self.autocast():
            loss = _loss(self.network(x_BD), batch)
        with timed(self.clock, "backward"):
            loss.backward()
        with timed(self.clock, "table update"):
            coalesce(self.table)
            self.rowwise.step()
            self.table.grad = None
        with timed(self.clock, "dense update"):
            self.dense.step()
            self.dense.zero_grad(set_to_none=True)


def _loss(logits: dict[str, Tensor], batch: Batch) -> Tensor:
    assert batch.labels_BT is not None
    click_B, like_B, watch_B = batch.labels_BT.unbind(1)
    return (
        F.binary_cross_entropy_with_logits(logits["click"], click_B)
        + F.binary_cross_entropy_with_logits(logits["like"], like_B)
        + F.huber_loss(logits["watch"], watch_B)
    )


class Products:
    """The first layer's three matrix products alone: what the arithmetic costs at best."""

    def __init__(self, dtype: torch.dtype) -> None:
        width, after = 432, EXPERTS * WIDTHS[0]
        self._x_BD = torch.randn(BATCH, width).to(dtype)
        self._weight = torch.randn(after, width).to(dtype)
        self._grad = torch.randn(BATCH, after).to(dtype)
        self._gigaflop = 6e-9 * BATCH * width * after
        self.rates: list[float] = []

    def __call__(self) -> None:
        """Do them once; keep GFLOP per CPU-second."""
        start = time.process_time()
        torch.mm(self._x_BD, self._weight.t())
        torch.mm(self._grad, self._weight)
        torch.mm(self._grad.t(), self._x_BD)
        self.rates.append(self._gigaflop / (time.process_time() - start))


def measure(threads: int, steps: int, precision: str, *, tuned: bool) -> None:
    """Run in this process and print one line of JSON."""
    torch.set_num_threads(threads)
    kept = tune_allocator() if tuned else False
    step, data = Step(precision), batches(8)
    products = Products(torch.bfloat16 if precision == "bf16" else torch.float32)
    for batch in data[:4]:
        step(batch)
        products()
    step.clock.clear()
    products.rates.clear()
    walls, cpus = [], []
    for number in range(steps):
        wall, cpu = time.perf_counter(), time.process_time()
        step(data[number % len(data)])
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        products()
    cpu, rate = statistics.median(cpus), statistics.median(products.rates)
    result = {
        "threads": threads,
        "tuned": kept,
        "rows": BATCH / statistics.median(walls),
        "fastest": BATCH / min(walls),
        "cpu": BATCH / cpu,
        "stages": {stage: statistics.median(step.clock[stage]) for stage in STAGES},
        "products": rate,
        "share": step.network.product_flop(BATCH) / 1e9 / cpu / rate,
    }
    print(json.dumps(result))


def report(results: list[dict[str, object]], precision: str) -> str:
    """A Markdown table, a column a run."""
    rows: list[tuple[str, Callable[[dict[str, object]], str]]] = [
        ("malloc keeps pages", lambda r: "yes" if r["tuned"] else "no"),
        ("rows/s, median", lambda r: f"{r['rows']:,.0f}"),
        ("rows/s, fastest step", lambda r: f"{r['fastest']:,.0f}"),
        ("rows per CPU-second", lambda r: f"{r['cpu']:,.0f}"),
        *((stage, _share_of(stage)) for stage in STAGES),
        (f"{precision} products, GFLOP per CPU-second", lambda r: f"{r['products']:,.0f}"),
        ("share of them in the step", lambda r: f"{r['share']:.0%}"),
    ]
    heads = " | ".join(f"{r['threads']} thread(s)" for r in results)
    lines = [f"| {precision} | {heads} |", "|---" * (len(results) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(show(r) for r in results)} |" for name, show in rows]
    return "\n".join(lines)


def _share_of(stage: str) -> Callable[[dict[str, object]], str]:
    def show(result: dict[str, object]) -> str:
        stages = result["stages"]
        assert isinstance(stages, dict)
        return f"{stages[stage] * 1e3:.1f} ms ({stages[stage] / sum(stages.values()):.0%})"

    return show


def main() -> None:
    """One process a configuration, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--one", type=int, help="measure in this process, on so many threads")
    parser.add_argument("--untuned", action="store_true", help="leave malloc as it is")
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.steps, options.precision, tuned=not options.untuned)
        return
    results = []
    for threads, extra in ((1, []), (1, ["--untuned"]), (2, []), (2, ["--untuned"])):
        words = ["--one", str(threads), "--steps", str(options.steps)]
        words += ["--precision", options.precision, *extra]
        done = subprocess.run(
            [sys.executable, __file__, *words],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        results.append(json.loads(done.stdout.splitlines()[-1]))
    print(report(results, options.precision))


if __name__ == "__main__":
    main()
