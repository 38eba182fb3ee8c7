"""Latency of scoring one user's candidates, against deepctr-torch, torch-rechub and NextRec.

Each peer predicts through its own ``predict``, in an environment of its own; polyrank's engines and
the peers take turns, in one run on one machine.

    python benchmarks/scoring_latency.py --turns 60 --rounds 3

The result goes to benchmarks/results/scoring_latency.md, or to --out. Where others use the machine
the clock tells about them; the time that the process computed tells more, and both are written
down.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import speed_log
from polyrank.scoring.engines.graphs import FORMAT_VERSION
from training_speed import PEERS, environment

HERE = Path(__file__).resolve().parent
ENGINES = (
    ("eager", "fp32"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("onnx", "int8_tables"),
    ("compiled", "fp32"),
    ("compiled", "bf16"),
)
SIZES = (200, 1000)
WANTED = {"fp32": 3.0, "least": 8.0}
"""How many times faster than the fastest peer, exact and in the fastest precision."""
SHARED_MACS = (432 - 217) * (2048 + 24)
MACS = 432 * (2048 + 24) + 8 * 256 * 128 + 3 * 8 * 128 + 3 * (128 * 64 + 64)
"""Multiply-adds a row; those of the user's 215 columns are made once a request."""
Times = dict[str, Any]


def run(python: str | Path, arguments: list[str], threads: int) -> Times | None:
    """The last line of a program's output, or null and its error on the screen."""
    done = subprocess.run(
        [str(python), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=HERE,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE)},
    )
    if done.returncode:
        print(f"{arguments[0]} failed:\n{done.stderr[-800:]}", flush=True)
        return None
    found: Times = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(options: argparse.Namespace, threads: int) -> dict[str, list[Times]]:
    """Every program, in turns."""
    cardinalities = json.dumps(speed_log.cardinalities())
    counts = [str(size) for size in SIZES]
    found: dict[str, list[Times]] = {}
    graph = Path(options.graph)
    for _ in range(options.rounds):
        for name in options.peers:
            program = f"peers/{PEERS[name][0].replace('_fit', '_predict')}"
            python = options.python or environment(options.environments, name)
            arguments = [program, "-", cardinalities, str(threads), str(options.turns), *counts]
            _keep(found, name, run(python, arguments, threads))
        for engine, precision in ENGINES:
            if f"{engine}-{precision}" in options.engines:
                own = [engine, precision, str(graph), str(threads), str(options.turns), *counts]
                arguments = ["polyrank_predict.py", *own]
                name = f"polyrank {engine} {precision}"
                _keep(found, name, run(sys.executable, arguments, threads))
    return found


def _keep(found: dict[str, list[Times]], name: str, times: Times | None) -> None:
    if times is not None:
        found.setdefault(name, []).append(times)
        print(name, {size: round(float(np.median(times[str(size)]["cpu"])), 1) for size in SIZES})


def quantiles(runs: list[Times], size: int, clock: str) -> tuple[float, float, float]:
    """p50, p99 and the least, in ms, over all runs."""
    values = np.concatenate([each[str(size)][clock] for each in runs])
    return float(np.median(values)), float(np.quantile(values, 0.99)), float(values.min())


def table(found: dict[str, list[Times]], size: int) -> list[str]:
    """One line a program."""
    peers = {name: runs for name, runs in found.items() if not name.startswith("polyrank")}
    best = min((quantiles(runs, size, "cpu")[0] for runs in peers.values()), default=float("nan"))
    best_wall = min(
        (quantiles(runs, size, "wall")[0] for runs in peers.values()), default=float("nan")
    )
    lines = [
        f"| {size:,} candidates | p50 ms | p99 ms | p99 / p50 | least ms | p50 CPU ms | "
        "times the fastest peer: clock, CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        wall, cpu = quantiles(runs, size, "wall"), quantiles(runs, size, "cpu")
        lines.append(
            f"| {name} | {wall[0]:.1f} | {wall[1]:.1f} | {wall[1] / wall[0]:.1f} | {wall[2]:.1f} | "
            f"{cpu[0]:.1f} | {best_wall / wall[0]:.1f}, {best / cpu[0]:.1f} |"
        )
    return [*lines, ""]


def floor(found: dict[str, list[Times]], threads: int) -> list[str]:
    """How far fp32 is from the arithmetic that is left."""
    runs = found.get("polyrank onnx fp32")
    if not runs:
        return []
    rate = max(each["gflops"] for each in runs)
    least = 2 * (MACS - SHARED_MACS) * 1000 / rate / 1e6
    clock = "cpu" if threads == 1 else "wall"
    taken = quantiles(runs, 1000, clock)[0]
    return [
        f"Floor of 1,000 candidates in fp32: {MACS - SHARED_MACS:,} of {MACS:,} multiply-adds a "
        f"row are left, {least:.1f} ms at the {rate:.0f} GFLOP/s that torch's product reached in "
        f"the same run; ONNX Runtime takes {taken / least:.1f} times that ({clock}).",
        "",
    ]


def parity(found: dict[str, list[Times]]) -> list[str]:
    """What lower precision costs, on 1,000 rows of one user."""
    lines = [
        "| against eager fp32 | largest difference | rank correlation | NDCG lost | new ties |",
        "|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        if name.startswith("polyrank") and "eager" not in name:
            for task, own in runs[-1]["parity"].items():
                lines.append(
                    f"| {name.removeprefix('polyrank ')}, {task} | {own['largest_difference']:.1e} "
                    f"| {own['rank_correlation']:.6f} | {own['ndcg_lost']:.1e} | "
                    f"{own['new_ties']} |"
                )
    return [*lines, ""]


def memory(found: dict[str, list[Times]]) -> list[str]:
    """What the embedding tables take, in the engine and in the model beside it."""
    sizes = [
        f"{name.removeprefix('polyrank ')} {runs[-1]['table_bytes'] / 2**20:.0f} MiB "
        f"(resident in all {runs[-1]['resident_bytes'] / 2**20:.0f})"
        for name, runs in found.items()
        if name.startswith("polyrank")
    ]
    return [f"Embedding tables: {', '.join(sizes)}.", ""] if sizes else []


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    parser.add_argument("--engines", nargs="*", default=["-".join(each) for each in ENGINES])
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    parser.add_argument("--python", help="one Python that has all peers, instead")
    graph = Path(tempfile.gettempdir()) / f"scoring-{FORMAT_VERSION}.onnx"
    parser.add_argument("--graph", default=str(graph), help="kept from run to run")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "scoring_latency.md")
    options = parser.parse_args()
    load = os.getloadavg()
    lines = [
        f"# Scoring latency, {datetime.date.today()}",
        "",
        "`python benchmarks/scoring_latency.py`; the network of the training benchmark (MMoE, 8 "
        "experts 256-128, towers 64, 26 id columns with 3 million rows of table, 13 numbers), "
        "untrained, every other feature the user's; one user, encoded candidates. Peers predict "
        "through their own `predict`, to which the user's columns are given for every row. "
        f"{options.rounds} rounds of {options.turns} calls each, in turns.",
        "",
    ]
    for threads in options.threads:
        found = measure(options, threads)
        lines += [f"## {threads} thread{'s' if threads > 1 else ''}", ""]
        for size in SIZES:
            lines += table(found, size)
        lines += floor(found, threads)
        last = found
    lines += ["## What precision costs", "", *parity(last), *memory(last)]
    lines += [
        "Aims at 1,000 candidates: p50 at least 3 times the fastest peer in fp32, 8 times in the "
        "fastest precision, p99 below twice p50.",
        f"Load of the machine (2 cores) before and after: {load[0]:.1f}, {os.getloadavg()[0]:.1f}. "
        "Above 2 the clock tells about others; CPU ms count what the process itself computed, "
        "which shared caches still slow down.",
        "",
    ]
    options.out.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
