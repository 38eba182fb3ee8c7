"""Does sharing regularise? Log loss on validation less that on the training rows."""

from __future__ import annotations

from pathlib import Path

from why.measured import SEEDS, Job, fill, kuairand, paired, sharing
from why.outcome import Outcome, Point, written

TWINS = "single-task"
MODELS = ("shared-bottom", "MMoE", "PLE")


def study(root: Path, folder: Path, workers: int) -> Outcome:
    """A row a task: the twins' gap, and each model's gap less the twins'."""
    runs = {
        (name, seed): Job(f"gap-{name}", seed, (sharing(name),), ("train", "validation"))
        for name in (TWINS, *MODELS)
        for seed in range(SEEDS)
    }
    numbers = fill(runs.values(), root, folder, workers)

    def gaps(name: str, task: str) -> list[float]:
        row = [numbers[runs[name, seed]] for seed in range(SEEDS)]
        return [one["validation", task, "log_loss"] - one["train", task, "log_loss"] for one in row]

    lines = ["| task | twins | " + " | ".join(MODELS) + " |", "|---|" + "---|" * (len(MODELS) + 1)]
    points: list[Point] = []
    for task in (task.name for task in kuairand(root).schema.tasks if task.kind == "binary"):
        twins = gaps(TWINS, task)
        less = {name: paired(gaps(name, task), twins) for name in MODELS}
        cells = [f"{sum(twins) / SEEDS:.4f}", *map(written, less.values())]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
        points += [Point(task, name, "KuaiRand", *less[name]) for name in MODELS]
    return Outcome(lines, points, "task", "gap of log loss, less the twins'")
