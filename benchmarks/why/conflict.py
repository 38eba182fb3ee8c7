"""Where does a shared trunk begin to hurt? The feed's clickbait made stronger, step by step."""

from __future__ import annotations

from pathlib import Path

from why.measured import SEEDS, Job, feed, fill, paired, sharing
from why.outcome import Outcome, Point, written

STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
TWINS = "single-task"
MODELS = ("shared-bottom", "MMoE", "PLE")
TASKS = ("click", "long_view", "like", "purchase", "report")


def study(root: Path, folder: Path, workers: int) -> Outcome:
    """By strength: the mean over tasks of test AUC less the twins', and the worst task."""
    for strength in STRENGTHS:
        feed(folder, strength)  # Written here, once, before the processes want it.
    runs = {
        (strength, name, seed): Job(
            f"conflict-{strength:g}-{name}", seed, (sharing(name),), ("test",), strength
        )
        for strength in STRENGTHS
        for name in (TWINS, *MODELS)
        for seed in range(SEEDS)
    }
    numbers = fill(runs.values(), root, folder, workers)

    def aucs(strength: float, name: str, tasks: tuple[str, ...]) -> list[float]:
        row = [numbers[runs[strength, name, seed]] for seed in range(SEEDS)]
        return [sum(one["test", task, "auc"] for task in tasks) / len(tasks) for one in row]

    heads = [f"{name}: mean | {name}: worst task" for name in MODELS]
    lines = ["| clickbait | " + " | ".join(heads) + " |", "|---|" + "---|" * (2 * len(MODELS))]
    points: list[Point] = []
    for strength in STRENGTHS:
        cells: list[str] = []
        for name in MODELS:
            less = {
                tasks: paired(aucs(strength, name, tasks), aucs(strength, TWINS, tasks))
                for tasks in (TASKS, *((task,) for task in TASKS))
            }
            worst = min(((task,) for task in TASKS), key=lambda one: less[one][0])
            cells += [written(less[TASKS]), f"{worst[0]} {written(less[worst])}"]
            points.append(Point(f"{strength:g}", name, "mean of tasks", *less[TASKS]))
            points.append(Point(f"{strength:g}", name, "worst task", *less[worst]))
        lines.append(f"| {strength:g} | " + " | ".join(cells) + " |")
    lines += ["", "The worst task is picked after the fact: its intervals lean towards harm."]
    return Outcome(lines, points, "clickbait strength", "test AUC less the twins'")
