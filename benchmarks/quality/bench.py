"""One comparison: polyrank's architectures against boosted trees on the same rows, several seeds.

Every prediction is kept as an .npz in the work folder, so a run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.data import Encoders
from polyrank.evaluation import Observations, evaluate
from polyrank.schema import Binary, Task
from quality import cells, intervals, trees
from quality.flags import add_data_root
from quality.runs import Part, Study, beside_labels, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODELS: Mapping[str, Sequence[str]] = {
    "MMoE": [],
    "shared-bottom": ["model.sharing={kind: shared_bottom, widths: [256, 32]}"],
    "single-task": ["model.sharing={kind: single_task, widths: [64, 32]}"],
}
METRICS = {"binary": ["auc", "gauc", "log_loss"], "duration": ["mae", "xauc"]}
TREES = "LightGBM"
RESAMPLES = 500
FINALISTS, TUNING_SEEDS = 6, 3


@dataclass
class Bench:
    """What is compared, and where.

    Args:
        study: The example configuration and the data.
        models: Settings over the example, by name.
        tuned: Settings of the trees by task, from ``tune``.
        work: Folder of predictions and of the encoded log.
        seeds: Every model is trained with each.
        metrics: Names by kind of task.
    """

    study: Study
    models: Mapping[str, Sequence[str]]
    tuned: Mapping[str, trees.Settings]
    work: Path
    seeds: int = 5
    metrics: Mapping[str, Sequence[str]] = field(default_factory=lambda: METRICS)
    _rows: dict[str, pa.Table] = field(default_factory=dict)

    def rows(self, part: Part) -> pa.Table:
        """The rows of a part, read once."""
        if part not in self._rows:
            self._rows[part] = self.study.rows(part)
        return self._rows[part]

    @cached_property
    def encoders(self) -> Encoders:
        """Fitted on the training part; here only for its labels."""
        return Encoders.fit(self.study.schema, [self.rows("train").combine_chunks()], seed=0)

    @cached_property
    def matrix(self) -> trees.Matrix:
        """The features as trees take them."""
        return trees.Matrix(self.study.schema, self.rows("train"))

    def labelled(self, part: Part) -> trees.Labelled:
        """Trees' features with the labels."""
        rows = self.rows(part)
        none = {task: np.zeros(rows.num_rows) for task in self.study.schema.task_names}
        seen = beside_labels(self.encoders, rows, none)
        return trees.Labelled(self.matrix.of(rows), seen.labels, seen.masks)

    def tune(self) -> dict[str, trees.Settings]:
        """The best settings of each task on validation: AUC + GAUC, or MAE; prints every try.

        The grid with one seed, then its best ``FINALISTS`` with ``TUNING_SEEDS``: one seed is luck.
        """
        train, held = self.labelled("train"), self.labelled("validation")
        best: dict[str, trees.Settings] = {}
        for task in self.study.schema.tasks:
            tries = trees.grid(task, has_ids=bool(self.matrix.ids))
            scores = [self._try(task, settings, train, held, seed=0) for settings in tries]
            leaders = [tries[place] for place in np.argsort(scores)[::-1][:FINALISTS]]
            means = [
                np.mean([self._try(task, one, train, held, seed=s) for s in range(TUNING_SEEDS)])
                for one in leaders
            ]
            best[task.name] = leaders[int(np.argmax(means))]
        return best

    def _try(
        self,
        task: Task,
        settings: trees.Settings,
        train: trees.Labelled,
        held: trees.Labelled,
        *,
        seed: int,
    ) -> float:
        booster, columns = trees.fit(task, settings, self.matrix, train, held, seed=seed)
        predictions = {task.name: trees.predict(task, booster, columns, held.x_NC)}
        seen = self._beside("validation", predictions)
        names = list(self.metrics[task.kind])
        found = evaluate(seen, [task], metrics=names, resamples=0)
        values = {name: found.value(task.name, name) for name in names}
        print(json.dumps({"task": task.name, "seed": seed, **settings, **values}), flush=True)
        if isinstance(task, Binary):
            return values["auc"] + values.get("gauc", 0.0)
        return -values["mae"]

    def fill(self, parts: Sequence[Part], only: Sequence[str]) -> None:
        """Train what is missing and keep its predictions of ``parts``."""
        for seed in range(self.seeds):
            for name in [TREES, *self.models]:
                missing = [part for part in parts if not self._file(name, seed, part).exists()]
                if missing and (not only or name in only):
                    print(f"{datetime.datetime.now():%H:%M:%S} {name}, seed {seed}", flush=True)
                    self._fill_one(name, seed, missing)

    def _fill_one(self, name: str, seed: int, parts: Sequence[Part]) -> None:
        if name == TREES:
            found = self._trees(seed, parts)
        else:
            trained = run(
                self.study,
                *self.models[name],
                f"seed={seed}",
                cache=self.work / f"encoded-{os.getpid()}",
            )
            found = {part: dict(trained.observe(self.rows(part)).predictions) for part in parts}
        for part, predictions in found.items():
            path = self._file(name, seed, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **predictions)

    def _trees(self, seed: int, parts: Sequence[Part]) -> dict[Part, dict[str, Any]]:
        train, held = self.labelled("train"), self.labelled("validation")
        features = {part: self.matrix.of(self.rows(part)) for part in parts}
        found: dict[Part, dict[str, Any]] = {part: {} for part in parts}
        for task in self.study.schema.tasks:
            settings = self.tuned[task.name]
            booster, columns = trees.fit(task, settings, self.matrix, train, held, seed=seed)
            for part, x_NC in features.items():
                found[part][task.name] = trees.predict(task, booster, columns, x_NC)
        return found

    def _file(self, name: str, seed: int, part: Part) -> Path:
        return self.work / f"{name}-{seed}-{part}.npz".replace(" ", "_")

    def _beside(self, part: Part, predictions: dict[str, Any]) -> Observations:
        rows = self.rows(part)
        return beside_labels(self.encoders, rows, predictions)

    def report(self, part: Part) -> list[str]:
        """The table of a part: means over seeds and paired differences to the trees."""
        replicates = {}
        for name in [TREES, *self.models]:
            seen = []
            for seed in range(self.seeds):
                with np.load(self._file(name, seed, part)) as kept:
                    seen.append({task: kept[task] for task in self.study.schema.task_names})
            replicates[name] = self._replicate(part, seen)
        lines = [
            f"| task, metric | {TREES} | " + " | ".join(self.models) + " |",
            "|---|---|" + "---|" * len(self.models),
        ]
        for key in replicates[TREES].points:
            row = [cells.value(replicates[TREES].points[key].mean(), key[1])]
            for name in self.models:
                found = intervals.difference(replicates[name], replicates[TREES], key)
                row.append(_cell(replicates[name].points[key], found, key[1]))
            lines.append(f"| {key[0]}, {key[1]} | " + " | ".join(row) + " |")
        return lines

    def _replicate(self, part: Part, seen: list[dict[str, Any]]) -> intervals.Replicates:
        # Tasks may be masked apart, so the labels of one seed serve for all.
        observations = [self._beside(part, predictions) for predictions in seen]
        return intervals.replicate(
            observations, self.study.schema.tasks, self.metrics, resamples=RESAMPLES
        )


def _cell(points: Any, found: intervals.Difference, metric: str) -> str:
    """The mean and, in brackets, the difference to the trees with its interval."""
    form = "+,.0f" if metric == "mae" else "+.4f"
    bounds = f"{found.mean:{form}}, {found.lower:{form}} to {found.upper:{form}}"
    return f"{cells.value(points.mean(), metric)} ({bounds}){cells.verdict(found, metric)}"


def _arguments(description: str) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=description)
    add_data_root(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, required=True, help="predictions and encoded logs")
    parser.add_argument("--only", action="append", default=[], help="train these models, no report")
    parser.add_argument("--tune", action="store_true", help="tune the trees on validation, no more")
    parser.add_argument("--final", action="store_true", help="report the test part, too")
    return parser.parse_args()


def main(
    description: str,
    example: str,
    tuned: Mapping[str, trees.Settings],
    metrics: Mapping[str, Sequence[str]] = METRICS,
) -> None:
    """A benchmark as its flags say: tune the trees, or train what is missing and report; prints.

    Args:
        description: Of the program.
        example: The configuration's name in ``examples``.
        tuned: Settings of the trees by task.
        metrics: Names by kind of task.
    """
    given = _arguments(description)
    study = Study(EXAMPLES / example, given.data_root)
    bench = Bench(study, MODELS, tuned, given.work, given.seeds, metrics)
    print("\n".join(_results(bench, given)))


def _results(bench: Bench, given: argparse.Namespace) -> list[str]:
    if given.tune:
        return [json.dumps(bench.tune(), indent=1)]
    parts: list[Part] = ["validation", "test"] if given.final else ["validation"]
    bench.fill(parts, given.only)
    if given.only:
        return []
    lines = [f"{datetime.date.today()}, {platform.machine()}, {bench.seeds} seeds", ""]
    for part in parts:
        lines += [f"{part}, {bench.rows(part).num_rows:,} rows", "", *bench.report(part), ""]
    return lines
