"""The MMoE paper's synthetic experiment: does a mixture bear unrelated tasks better than a trunk?

    python benchmarks/mmoe_synthetic.py --work build/mmoe_synthetic --runs 50

Two regressions of chosen correlation p (section 3.2 of the paper, PLE's constants), four models of
13,056 weights, a fresh pair of tasks a run and the same pair for every model and p. The learning
rate of each model is the best of a grid on other seeds. A run that was cut goes on where it was.
The table goes to benchmarks/results/mmoe_synthetic.md, the figure beside it.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quality import jobs
from synthetic import claims, figure
from synthetic.training import BATCH, EVERY, MODELS, STEPS, Network, Run, curve

HERE = Path(__file__).resolve().parent
CORRELATIONS = (0.5, 0.75, 0.9, 1.0)
RATES = (1e-3, 3e-3, 1e-2)
TUNING_SEEDS = range(100_000, 100_005)
TUNING_CORRELATION = 0.75
Cell = tuple[str, float]
"""Model, and correlation or learning rate."""
Curve = list[float]


def work(run: Run, file: Path) -> None:
    """Train and keep the curve."""
    np.savez(file, curve=curve(run))


def curves_of(
    runs: Mapping[Cell, list[Run]], folder: Path, workers: int
) -> dict[Cell, list[Curve]]:
    """The curve of every run; those that are missing are trained and kept."""
    files = {run: folder / f"{run.name()}.npz" for cell in runs.values() for run in cell}
    jobs.fill(work, files, workers)
    return {
        cell: [np.load(files[run])["curve"].tolist() for run in row] for cell, row in runs.items()
    }


def best_rates(folder: Path, workers: int) -> dict[str, float]:
    """The learning rate of each model with the lowest mean final loss."""
    runs = {
        (model, rate): [
            Run(model=model, correlation=TUNING_CORRELATION, seed=seed, learning_rate=rate)
            for seed in TUNING_SEEDS
        ]
        for model in MODELS
        for rate in RATES
    }
    found = curves_of(runs, folder, workers)
    mean = {key: np.mean([curve[-1] for curve in curves]) for key, curves in found.items()}
    return {model: min(RATES, key=lambda rate: mean[model, rate]) for model in MODELS}


def report(curves: figure.Curves, rates: dict[str, float], num_runs: int) -> list[str]:
    """The tables in Markdown."""
    final = {key: np.array([run[-1] for run in runs]) for key, runs in curves.items()}
    lines = [
        "| p | " + " | ".join(MODELS) + " | shared-bottom less MMoE | OMoE less MMoE |",
        "|---|" + "---|" * (len(MODELS) + 2),
    ]
    for p in CORRELATIONS:
        cells = [
            f"{final[model, p].mean():.4f} (sd {final[model, p].std():.4f})" for model in MODELS
        ]
        gaps = [str(claims.gap(final, worse, "MMoE", p)) for worse in ("shared-bottom", "OMoE")]
        lines.append(f"| {p:g} | " + " | ".join([*cells, *gaps]) + " |")
    lines += ["", "| claim of the paper | found | holds |", "|---|---|---|"]
    for claim in claims.claims(final, CORRELATIONS):
        lines.append(f"| {claim.sentence} | {claim.found} | {'yes' if claim.holds else '**no**'} |")
    weights = ", ".join(
        f"{name} {Network(config).num_weights():,}" for name, config in MODELS.items()
    )
    chosen = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
    head = [
        f"# The synthetic experiment of the MMoE paper, {datetime.date.today()}",
        "",
        f"`python benchmarks/mmoe_synthetic.py --runs {num_runs}`; {num_runs} runs a cell, "
        f"{STEPS:,} steps of {BATCH} fresh rows, Adam. Weights: {weights}. Learning rates, the "
        f"best of {', '.join(f'{rate:g}' for rate in RATES)} at p = {TUNING_CORRELATION:g} on "
        f"{len(TUNING_SEEDS)} other seeds: {chosen}.",
        "",
        "Each cell: mean squared error on held-out rows after the last step (noise alone is 0.01), "
        "mean over runs; differences pair the same tasks, with 95 % bootstrap intervals over runs.",
        "",
        "![Loss curves and final losses](mmoe_synthetic.png)",
        "",
    ]
    return head + lines


def main() -> None:
    """Tune, train what is missing, write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="keeps the curves")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    rates = best_rates(given.work, given.workers)
    cells = {
        (model, p): [
            Run(model=model, correlation=p, seed=seed, learning_rate=rates[model])
            for seed in range(given.runs)
        ]
        for model in MODELS
        for p in CORRELATIONS
    }
    curves = curves_of(cells, given.work, given.workers)
    lines = report(curves, rates, given.runs)
    (HERE / "results" / "mmoe_synthetic.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figure.draw(curves, EVERY, HERE / "results" / "mmoe_synthetic.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
