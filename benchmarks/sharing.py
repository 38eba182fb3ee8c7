"""Every way to share against single-task twins, on KuaiRand and on two task pairs of Census-Income.

    python benchmarks/sharing.py --data-root ../shared/data --work build/sharing kuairand

Every architecture but HoME gets the same budget of parameters for its sharing block, and each the
same grid of settings tried on validation with a seed of its own, and five seeds; then the test part
is reported, which nothing was chosen on. A run that was cut goes on where it was. The result goes
to benchmarks/results/sharing_<study>.md.

Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al., CIKM 2022); Census-Income, UCI, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.data import Encoders
from quality import cells, intervals, jobs
from quality.flags import add_data_root
from quality.runs import Run, Study, beside_labels, run

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
TWIN = "single-task"
RESAMPLES, TUNING_SEED, SEEDS = 500, 1000, 5
RATES = {"training.learning_rate": ("0.0005", "0.001", "0.002")}
GRADUATES = [
    "Associates degree-academic program",
    "Associates degree-occup /vocational",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
]


@dataclass(frozen=True)
class Comparison:
    """A log, its task groups and the columns that gates may read."""

    example: str
    settings: tuple[str, ...]
    groups: Mapping[str, list[str]]
    domain: list[str]
    priors: list[str]
    metrics: Mapping[str, list[str]]
    grid: Mapping[str, tuple[str, ...]]
    """What is tried on validation, for every architecture alike."""
    budget: int = 106_000
    """Parameters of each sharing block: about what the example's MMoE has."""

    def study(self, root: Path) -> Study:
        """The example with these settings."""
        return Study(EXAMPLES / self.example, root, self.settings)


BINARY_PAIR = {"binary": ["auc", "log_loss"]}
STUDIES = {
    "kuairand": Comparison(
        example="kuairand.yaml",
        settings=(),
        groups={"watch": ["click", "long_view", "play_time"], "inter": ["like", "profile_enter"]},
        domain=["tab"],
        priors=["user_active_degree", "video"],
        metrics={"binary": ["auc", "gauc"], "duration": ["mae", "xauc"]},
        grid={**RATES, "model.towers.dropout": ("0.1", "0.3")},
    ),
    "census_income": Comparison(
        example="census.yaml",
        settings=(),
        groups={"money": ["income"], "family": ["never_married"]},
        domain=["class_worker"],
        priors=["age_exact", "sex"],
        metrics=BINARY_PAIR,
        grid=RATES,
    ),
    "census_education": Comparison(
        example="census.yaml",
        settings=(
            "schema.tasks="
            + json.dumps(
                [
                    {
                        "kind": "binary",
                        "name": "graduate",
                        "label": "education",
                        "positive": GRADUATES,
                    },
                    {
                        "kind": "binary",
                        "name": "never_married",
                        "label": "marital_stat",
                        "positive": ["Never married"],
                    },
                ]
            ),
            "balance={kind: static}",
        ),
        groups={"school": ["graduate"], "family": ["never_married"]},
        domain=["class_worker"],
        priors=["age_exact", "sex"],
        metrics=BINARY_PAIR,
        grid=RATES,
    ),
}


def architectures(chosen: Comparison) -> dict[str, dict[str, Any]]:
    """``model.sharing`` by name, each built for the budget but HoME, whose feature gates alone need
    several times as much, however narrow its experts: it is as small as its experts' widths make
    it."""
    found: dict[str, dict[str, Any]] = {
        TWIN: {"kind": "single_task", "widths": [64, 32]},
        "shared-bottom": {"kind": "shared_bottom", "widths": [256, 32]},
        "OMoE": {"kind": "omoe", "num_experts": 4, "widths": [64, 32]},
        "MMoE": {"kind": "mmoe", "num_experts": 4, "widths": [64, 32]},
        "DSelect-k": {"kind": "dselect_k", "num_experts": 4, "widths": [64, 32]},
        "CGC": {"kind": "cgc", "widths": [64, 32]},
        "PLE": {"kind": "ple", "widths": [32]},
        "cross-stitch": {"kind": "cross_stitch", "widths": [64, 32]},
        "SNR": {"kind": "snr", "widths": [64, 32]},
        "AdaTT": {"kind": "adatt", "widths": [64, 32]},
        "STEM": {"kind": "stem", "widths": [64, 32]},
        "HoME": {
            "kind": "home",
            "groups": chosen.groups,
            "meta_widths": [64],
            "widths": [32],
            "budget": None,
        },
        "PEPNet": {"kind": "pepnet", "domain": chosen.domain, "priors": chosen.priors},
        "groups of MMoE": {
            "kind": "groups",
            "groups": chosen.groups,
            "sharing": {"kind": "mmoe", "num_experts": 4, "widths": [64, 32]},
        },
    }
    return {name: {"budget": chosen.budget, **sharing} for name, sharing in found.items()}


@dataclass(frozen=True)
class Job:
    """One training run."""

    study: str
    name: str
    seed: int
    settings: tuple[str, ...]
    test: bool
    """Whether the test part's predictions are wanted."""


def work(root: Path, job: Job, file: Path) -> None:
    """Train and keep the score on validation, and perhaps the predictions on the test part."""
    chosen = STUDIES[job.study]
    study = chosen.study(root)
    sharing = architectures(chosen)[job.name]
    cache = file.parent / f"encoded-{os.getpid()}"
    settings = (f"model.sharing={json.dumps(sharing)}", *job.settings, f"seed={job.seed}")
    trained: Run = run(study, *settings, cache=cache)
    found: dict[str, Any] = {"score": np.array(trained.result.best_score)}
    if job.test:
        found |= trained.observe(study.rows("test")).predictions
    np.savez_compressed(file, **found)


def fill(wanted: Iterable[Job], root: Path, folder: Path, workers: int) -> dict[Job, Path]:
    """Do what is missing; where each job's numbers are."""
    files = {job: folder / f"{_slug(job)}.npz" for job in wanted}
    jobs.fill(partial(work, root), files, workers)
    return files


def _slug(job: Job) -> str:
    words = [job.name, str(job.seed), *(s.split(".", 1)[-1] for s in job.settings)]
    return "-".join(words).replace(" ", "_").replace("=", "")


def search(
    name: str, names: Iterable[str], root: Path, folder: Path, workers: int
) -> dict[str, Any]:
    """The settings of each architecture with the best score on validation."""
    grid = STUDIES[name].grid
    tries = [
        tuple(f"{key}={value}" for key, value in zip(grid, values, strict=True))
        for values in product(*grid.values())
    ]
    runs = {
        (architecture, settings): Job(name, architecture, TUNING_SEED, settings, test=False)
        for architecture in names
        for settings in tries
    }
    files = fill(runs.values(), root, folder, workers)
    scores = {key: float(np.load(files[job])["score"]) for key, job in runs.items()}
    return {one: max(tries, key=lambda settings: scores[one, settings]) for one in names}


def report(study: Study, chosen: Comparison, found: Mapping[str, list[Path]]) -> list[str]:
    """A row an architecture, a column a task and metric: the difference to the twins."""
    rows: pa.Table = study.rows("test")
    encoders = Encoders.fit(study.schema, [study.rows("train").combine_chunks()])
    replicates = {}
    for name, files in found.items():
        seen = []
        for file in files:
            with np.load(file) as kept:
                predictions = {task: kept[task] for task in study.schema.task_names}
            seen.append(beside_labels(encoders, rows, predictions))
        replicates[name] = intervals.replicate(
            seen, study.schema.tasks, chosen.metrics, resamples=RESAMPLES
        )
    keys = list(replicates[TWIN].points)
    lines = [
        "| architecture | " + " | ".join(f"{task}, {metric}" for task, metric in keys) + " |",
        "|---|" + "---|" * len(keys),
    ]
    twin = [cells.value(replicates[TWIN].points[key].mean(), key[1]) for key in keys]
    lines.append(f"| {TWIN} | " + " | ".join(twin) + " |")
    for name in found:
        if name != TWIN:
            row = [
                cells.change(intervals.difference(replicates[name], replicates[TWIN], key), key[1])
                for key in keys
            ]
            lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def main() -> None:
    """Search, train, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    add_data_root(parser)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", action="append", default=[], help="these architectures and the twins"
    )
    given = parser.parse_args()
    folder = given.work / given.study
    folder.mkdir(parents=True, exist_ok=True)
    chosen = STUDIES[given.study]
    names = [n for n in architectures(chosen) if not given.only or n in {TWIN, *given.only}]
    best = search(given.study, names, given.data_root, folder, given.workers)
    runs = {
        name: [Job(given.study, name, seed, best[name], test=True) for seed in range(SEEDS)]
        for name in names
    }
    files = fill([j for row in runs.values() for j in row], given.data_root, folder, given.workers)
    tries = math.prod(map(len, chosen.grid.values()))
    lines = [
        f"# Ways to share, {given.study}, {datetime.date.today()}",
        "",
        f"`python benchmarks/sharing.py {given.study}`; {SEEDS} seeds, {chosen.budget:,} "
        f"parameters a sharing block (HoME: more), {tries} settings tried for each on "
        "validation. Test part: the twins' value, then each architecture's "
        "difference to the twins with its 95 % interval over users (rows where there are none) and "
        "seeds.",
        "",
        *report(
            chosen.study(given.data_root),
            chosen,
            {n: [files[j] for j in row] for n, row in runs.items()},
        ),
        "",
        "Chosen: " + "; ".join(f"{name}: {', '.join(best[name])}" for name in names),
        "",
    ]
    (HERE / "results" / f"sharing_{given.study}.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
