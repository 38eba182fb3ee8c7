"""Training speed from Parquet, against deepctr-torch, torch-rechub and NextRec.

Each peer gets an environment of its own and trains through its usual ``fit``; polyrank and the
peers take turns on the same file, in one run. Times start after the imports and end with fit.

    python benchmarks/training_speed.py --rows 2000000 --peer-rows 500000

The result goes to benchmarks/results/training_speed.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import speed_log

HERE = Path(__file__).resolve().parent
PEERS = {
    "deepctr-torch": ("deepctr_torch_fit.py", ["deepctr-torch", "requests"]),
    "torch-rechub": ("torch_rechub_fit.py", ["torch-rechub"]),
    "nextrec": ("nextrec_fit.py", ["nextrec", "transformers"]),
}
Row = dict[str, Any]


def environment(folder: Path, name: str) -> Path:
    """The Python of a peer's own environment, made on first use."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
        packages = ["torch==2.13.0", "pyarrow", *PEERS[name][1]]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def measure(python: str | Path, program: str, log: Path, threads: int) -> Row:
    """Run one program to its end; its last line of output is the result."""
    sizes = json.dumps(speed_log.cardinalities())
    done = subprocess.run(
        [python, HERE / program, log, sizes, str(threads)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stderr[-2000:]}")
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    rate = row["rows"] / row["seconds"]
    print(f"{program}: {rate:,.0f} rows/s, {row['peak_mb']:,.0f} MB", flush=True)
    return row


def table(results: dict[str, list[Row]]) -> list[str]:
    """Medians as a Markdown table."""
    lines = [
        "| library | rows | runs | rows/s (median, min to max) | rows per CPU-second | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
        rates = [row["rows"] / row["seconds"] for row in rows]
        cpu = statistics.median(row["rows"] / row["cpu"] for row in rows)
        peak = statistics.median(row["peak_mb"] for row in rows)
        lines.append(
            f"| {name} | {rows[0]['rows']:,} | {len(rows)} | {statistics.median(rates):,.0f} "
            f"({min(rates):,.0f} to {max(rates):,.0f}) | {cpu:,.0f} | {peak:,.0f} |"
        )
    return lines


def verdict(results: dict[str, list[Row]]) -> list[str]:
    """The two targets, as ratios of medians."""
    rate = {
        name: statistics.median(row["rows"] / row["seconds"] for row in rows)
        for name, rows in results.items()
    }
    peak = {
        name: statistics.median(row["peak_mb"] for row in rows) for name, rows in results.items()
    }
    best = max((name for name in rate if name != "polyrank"), key=rate.__getitem__)
    least = min((name for name in peak if name != "polyrank"), key=peak.__getitem__)
    return [
        f"polyrank trains {rate['polyrank'] / rate[best]:.1f} times as fast as {best}, the best of "
        "the others (target: 8).",
        f"Its peak memory is {peak['polyrank'] / peak[least]:.2f} of that of {least}, the least of "
        "the others (target: 0.5).",
    ]


def main() -> None:
    """Alternate, then write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--peer-rows", type=int, default=None, help="fewer rows for the peers")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--environments", type=Path, default=HERE / ".environments")
    options = parser.parse_args()
    pythons = {name: environment(options.environments, name) for name in PEERS}
    results: dict[str, list[Row]] = {"polyrank": [], **{name: [] for name in PEERS}}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.parquet"
        speed_log.write(log, options.rows)
        peer_log = log
        if options.peer_rows is not None:
            peer_log = Path(folder) / "peer.parquet"
            speed_log.write(peer_log, options.peer_rows)
        for _ in range(options.rounds):
            for name, (program, _packages) in PEERS.items():
                ours = measure(sys.executable, "polyrank_fit.py", log, options.threads)
                results["polyrank"].append(ours)
                peer = measure(pythons[name], f"peers/{program}", peer_log, options.threads)
                results[name].append(peer)
    lines = [
        f"# Training speed, {datetime.date.today()}",
        "",
        f"`python benchmarks/training_speed.py {' '.join(sys.argv[1:])}`; MMoE, 8 experts 256-128, "
        "towers 64, 26 id columns (3 million rows of table, Zipf, width 16), 13 numbers, two "
        f"binary tasks and one regression, batch 4096, one epoch, {options.threads} threads, CPU. "
        "Alternating runs on one machine; from reading the Parquet file to the end of fit.",
        "",
        *table(results),
        "",
        *verdict(results),
        "",
    ]
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "training_speed.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
