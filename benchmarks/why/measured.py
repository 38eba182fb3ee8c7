"""One training run and its metrics, kept in a file; the logs it may use.

A twin of a task is the same network with that task alone: its own table, trunk and tower.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from polyrank.evaluation import evaluate
from polyrank.schema import Task
from polyrank.simulation import Feed, FeedConfig, feed_schema
from quality import jobs
from quality.runs import Part, Study, run
from quality.seeds import Estimate, over_seeds

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
METRICS = {"binary": ["auc", "log_loss"], "duration": ["mae", "xauc"]}
FEED_ROWS = 100_000
SEEDS = 5
SHARINGS: Mapping[str, dict[str, Any]] = {
    "single-task": {"kind": "single_task", "widths": [64, 32]},
    "shared-bottom": {"kind": "shared_bottom", "widths": [256, 32]},
    "MMoE": {"kind": "mmoe", "num_experts": 4, "widths": [64, 32]},
    "PLE": {"kind": "ple", "widths": [32]},
}
BUDGET = 106_000
Numbers = dict[tuple[str, str, str], float]
"""By part, task and metric."""


@dataclass(frozen=True)
class Job:
    """A training run; ``feed`` is null on KuaiRand, else the feed's clickbait strength."""

    label: str
    seed: int
    settings: tuple[str, ...]
    parts: tuple[Part, ...]
    feed: float | None = None


def sharing(name: str) -> str:
    """The setting of an architecture within the budget."""
    return f"model.sharing={json.dumps({**SHARINGS[name], 'budget': BUDGET})}"


def alone(study: Study, task: str, metric: str) -> tuple[str, ...]:
    """The settings of a task's twin, chosen by its own metric; what it lies within masks it."""
    tasks = {one.name: one.model_dump(mode="json") for one in study.schema.tasks}
    declared = tasks[task]
    outer = declared.pop("within")
    if outer is not None:
        assert declared["mask"] is None, "a twin has one mask"
        declared["mask"] = tasks[outer]["label"]
    return (
        f"schema.tasks={json.dumps([declared])}",
        "balance={kind: static}",
        *chosen_by(task, metric),
        sharing("shared-bottom"),
    )


def chosen_by(task: str, metric: str) -> tuple[str, ...]:
    """Early stopping and the checkpoint look at this metric alone."""
    return (f"training.select.metrics={json.dumps({f'{task}.{metric}': 1})}",)


def kuairand(root: Path) -> Study:
    """The example."""
    return Study(EXAMPLES / "kuairand.yaml", root)


def feed(folder: Path, clickbait: float, rows: int = FEED_ROWS) -> Study:
    """A simulated feed, written once; its last day is the test, the one before validation."""
    config = FeedConfig(seed=1, clickbait_strength=clickbait)
    name = f"feed-{clickbait:g}-{rows}"
    path = folder / f"{name}.parquet"
    if not path.exists():
        Feed(config).write(path, rows)
    days = [config.start + datetime.timedelta(days=config.days - back) for back in (2, 1)]
    from_ms = [
        int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()) * 1000
        for day in days
    ]
    tree = {
        "schema": feed_schema(config.embedding_dim).model_dump(mode="json"),
        "data": {
            "log": path.name,
            "split": {"kind": "time", "validation_from": from_ms[0], "test_from": from_ms[1]},
        },
        "model": {"embedding_dim": 8, "towers": {"widths": [32], "dropout": 0.1}},
        "training": {
            "epochs": 4,
            "batch_size": 1024,
            "schedule": "cosine",
            "threads": 1,
            "precision": "fp32",
        },
    }
    yaml = folder / f"{name}.yaml"
    yaml.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    return Study(yaml, folder)


def measure(root: Path, job: Job, file: Path) -> None:
    """Train, and keep every metric of the wanted parts."""
    study = kuairand(root) if job.feed is None else feed(file.parent, job.feed)
    # Of the study itself, since they may name another log.
    study = replace(study, settings=(*study.settings, *job.settings))
    cache = file.parent / f"encoded-{os.getpid()}"
    trained = run(study, f"seed={job.seed}", cache=cache)
    tasks: tuple[Task, ...] = trained.schema.tasks
    found: dict[str, float] = {}
    for part in job.parts:
        seen = trained.observe(study.rows(part))
        for task in tasks:
            names = METRICS[task.kind]
            values = evaluate(seen, [task], metrics=names, resamples=0)
            found |= {f"{part} {task.name} {name}": values.value(task.name, name) for name in names}
    np.savez(file, **{key: np.array(value) for key, value in found.items()})


def fill(wanted: Iterable[Job], root: Path, folder: Path, workers: int) -> dict[Job, Numbers]:
    """The numbers of every job; what is missing is trained."""
    files = {job: folder / f"{job.label}-seed{job.seed}.npz" for job in wanted}
    jobs.fill(partial(measure, root), files, workers)
    return {job: _numbers(file) for job, file in files.items()}


def _numbers(file: Path) -> Numbers:
    with np.load(file) as kept:
        found: Numbers = {}
        for key in kept:
            part, task, metric = key.split(" ")
            found[part, task, metric] = float(kept[key])
        return found


def paired(model: Sequence[float], twin: Sequence[float]) -> Estimate:
    """The difference of paired seeds."""
    return over_seeds([a - b for a, b in zip(model, twin, strict=True)])
