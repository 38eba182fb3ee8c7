"""Does a sparse task lose less of its labels when it shares? Labels thinned, model against twin."""

from __future__ import annotations

from pathlib import Path

from quality.runs import Study
from why.measured import SEEDS, Job, alone, chosen_by, feed, fill, kuairand, paired, sharing
from why.outcome import Outcome, Point, written

SHARES = (1.0, 0.3, 0.1, 0.03)
TASKS = {"kuairand": "like", "feed": "purchase"}
MODELS = ("shared-bottom", "MMoE", "PLE")
TWIN, CLICKBAIT = "twin", 0.5


def thinned(study: Study, task: str, share: float) -> tuple[str, ...]:
    """Settings: of the training part, only this share of the task's labels is observed."""
    config = study.config()
    split = config.data.split
    assert split is not None
    assert split.kind == "time"
    label = next(one for one in config.schema_.tasks if one.name == task).label
    time, item = split.column or config.schema_.keys.time, config.schema_.keys.item
    kept = f"{time} >= {split.validation_from} OR hash({time}, {item}) % 1000 < {share * 1000:.0f}"
    column = f"CASE WHEN {kept} THEN {label} END AS {label}"
    query = f"SELECT * REPLACE ({column}) FROM '{config.data.log}'"  # noqa: S608 - our own words
    return ("data.log=null", f'data.query="{query}"')


def wanted(root: Path, folder: Path) -> dict[tuple[str, float, str, int], Job]:
    """Every run, by log, share, model and seed."""
    found = {}
    for log, task in TASKS.items():
        source = kuairand(root) if log == "kuairand" else feed(folder, CLICKBAIT)
        networks = {name: (sharing(name), *chosen_by(task, "auc")) for name in MODELS}
        networks[TWIN] = alone(source, task, "auc")
        for share in SHARES:
            for name, settings in networks.items():
                for seed in range(SEEDS):
                    found[log, share, name, seed] = Job(
                        label=f"thin-{log}-{share:g}-{name}",
                        seed=seed,
                        settings=(*thinned(source, task, share), *settings),
                        parts=("test",),
                        feed=None if log == "kuairand" else CLICKBAIT,
                    )
    return found


def study(root: Path, folder: Path, workers: int) -> Outcome:
    """A table a log: the sparse task's test AUC less its twin's, by share of labels kept."""
    runs = wanted(root, folder)
    numbers = fill(runs.values(), root, folder, workers)

    def auc(log: str, share: float, name: str) -> list[float]:
        row = [numbers[runs[log, share, name, seed]] for seed in range(SEEDS)]
        return [one["test", TASKS[log], "auc"] for one in row]

    lines: list[str] = []
    points: list[Point] = []
    for log, task in TASKS.items():
        lines += [
            f"{log}, {task}: test AUC of the twin, and of each model less the twin's",
            "",
            "| labels kept | twin | " + " | ".join(MODELS) + " |",
            "|---|" + "---|" * (len(MODELS) + 1),
        ]
        for share in SHARES:
            twin = auc(log, share, TWIN)
            less = {name: paired(auc(log, share, name), twin) for name in MODELS}
            cells = [f"{sum(twin) / SEEDS:.4f}", *map(written, less.values())]
            lines.append(f"| {share:.0%} | " + " | ".join(cells) + " |")
            panel = f"{log}, {task}"
            points += [Point(f"{share:.0%}", name, panel, *less[name]) for name in MODELS]
        lines.append("")
    return Outcome(lines, points, "labels kept", "test AUC less the twin's")
