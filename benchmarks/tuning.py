"""How fast weights are searched, against random search, and whether guardrails hold a day later.

    python benchmarks/tuning.py speed
    python benchmarks/tuning.py fronts --log feed --data-root ../shared/data --keep FOLDER
    python benchmarks/tuning.py later --log feed --data-root ../shared/data --keep FOLDER
    python benchmarks/tuning.py table

Each part writes its own numbers under benchmarks/results/tuning/, and ``table`` makes
benchmarks/results/tuning.md of them. ``--keep`` holds the predictions of the trained models, so
that a second part need not train them.

The feed: 60,000 simulated rows a seed, requests of 10, trained on 40,000 and searched on the next
10,000. KuaiRand-Pure as in examples/kuairand.yaml; it has no requests, so a list is what a user saw
on a day: searched on 29 April, read once on 30 April. Every seed has its own model and search.

Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al., CIKM 2022).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank import Ranker
from polyrank.config import TrainingConfig, load_config
from polyrank.data import Layout
from polyrank.evaluation import Observations
from polyrank.fusion import Candidates, WeightedSum
from polyrank.fusion.tuning import (
    CEM,
    GAUC,
    NDCG,
    NSGA2,
    TPE,
    Hold,
    Objective,
    Random,
    Replayed,
    Search,
    Searched,
    Settings,
    Task,
    Tuned,
    check_later,
    front_of,
    hypervolume,
    search,
    told,
)
from polyrank.schema import Binary, Duration, Keys, Numeric, Schema
from polyrank.scoring import Order, Scorer, replay
from polyrank.scoring.order import default_weights, expected
from polyrank.scoring.tuning import as_replayed
from polyrank.sharing import MMoE
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed
from quality.flags import add_data_root
from quality.runs import Study, run
from quality.seeds import interval

HERE = Path(__file__).resolve().parent
OUT = HERE / "results/tuning"
SEEDS = 5
LOGS = ("kuairand", "feed")
Floats = NDArray[np.float64]
SPEED_ROWS = 100_000
LENGTHS = (10, 50, 500)
RATES = {"click": 0.2, "long_view": 0.08, "like": 0.02, "purchase": 0.01}
FRONTS: Mapping[str, tuple[Objective, ...]] = {
    "click, like": (NDCG(task="click"), NDCG(task="like")),
    "click, long_view, like": (NDCG(task="click"), NDCG(task="long_view"), NDCG(task="like")),
}
SEARCHES: Mapping[int, tuple[Search, ...]] = {
    200: (Random(trials=200), CEM(trials=200), NSGA2(trials=200), TPE(trials=200)),
    1000: (Random(trials=1000), CEM(trials=1000), NSGA2(trials=1000)),
}


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with predictions of one model, and the default weights it ranks by."""

    log: Replayed
    weights: Mapping[str, float]

    @property
    def today_N(self) -> Floats:
        """(N,) scores by the default weights."""
        order = Order(schema=self.log.schema, weights=self.weights)
        rows = self.log.rows
        return order.score(rows.predictions, self.log.candidates.request_N, {}).score_N

    def task(self, settings: Settings) -> Task:
        """Starting from equal contributions on these rows."""
        signs = {each.name: -1.0 if each.sign == "bad" else 1.0 for each in self.log.schema.tasks}
        return Task(
            log=self.log,
            model=WeightedSum.balanced(self.log.candidates, signs),
            demotion=None,
            today_N=self.today_N,
            today_weights=self.weights,
            settings=settings,
            bundle="",
        )


def part(schema: Schema, rows: Observations, layout: Layout, on: str) -> Part:
    """From predictions and labels; without requests, users are the lists."""
    groups = dict(rows.groups)
    groups.setdefault("request", groups["user"])
    rows = Observations(
        predictions=rows.predictions, labels=rows.labels, masks=rows.masks, groups=groups
    )
    return Part(replayed(schema, rows, on), default_weights(schema, layout))


# --------------------------------------------------------------------------------- trained models


def kuairand(seed: int, root: Path, keep: Path) -> dict[str, Part]:
    """29 and 30 April under one trained model."""
    study = Study(HERE.parent / "examples/kuairand.yaml", root)
    tables = {name: study.rows(name) for name in ("validation", "test")}
    trained = run(study, f"seed={seed}", cache=keep / "kuairand")
    return {
        name: part(study.schema, trained.observe(table), trained.encoders.layout, name)
        for name, table in tables.items()
    }


def feed(seed: int) -> dict[str, Part]:
    """Two parts of a simulated feed, each of 10,000 rows."""
    log = observed(pa.concat_tables(list(Feed(FeedConfig(seed=seed)).tables(60_000))))
    schema = feed_schema(8)
    ranker = Ranker(
        schema,
        sharing=MMoE(num_experts=4),
        embedding_dim=8,
        training=TrainingConfig(epochs=2, batch_size=1024, device="cpu", precision="fp32"),
        seed=seed,
    )
    ranker.fit(log.slice(0, 40_000), log.slice(40_000, 10_000))
    scorer = Scorer(ranker.bundle)
    return {
        name: Part(
            as_replayed(replay(scorer, log.slice(start, 10_000), [])),
            default_weights(schema, ranker.bundle.encoders.layout),
        )
        for name, start in (("validation", 40_000), ("test", 50_000))
    }


def parts_of(data: str, seed: int, root: Path, keep: Path) -> dict[str, Part]:
    """From ``keep``, where a model was trained before."""
    folder = keep / f"{data}-{seed}"
    if not folder.exists():
        found = feed(seed) if data == "feed" else kuairand(seed, root, keep)
        for name, each in found.items():
            store(folder, name, each)
    return {name: restored(folder, name, data) for name in ("validation", "test")}


def store(folder: Path, name: str, each: Part) -> None:
    """Predictions, labels, masks and lists."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = each.log.rows
    columns = {
        f"{kind}.{task}": np.asarray(value[task])
        for kind, value in (("p", rows.predictions), ("y", rows.labels), ("m", rows.masks))
        for task in rows.predictions
    }
    groups = {f"g.{key}": np.asarray(codes) for key, codes in rows.groups.items()}
    np.savez(folder / f"{name}.npz", **columns, **groups)
    (folder / "weights.json").write_text(json.dumps(dict(each.weights)))


def restored(folder: Path, name: str, data: str) -> Part:
    """What ``store`` kept."""
    path = HERE.parent / "examples/kuairand.yaml"
    schema = feed_schema(8) if data == "feed" else load_config(path).schema_
    held = np.load(folder / f"{name}.npz")
    column = {
        kind: {key[2:]: held[key] for key in held.files if key.startswith(f"{kind}.")}
        for kind in "pymg"
    }
    rows = Observations(
        predictions=column["p"], labels=column["y"], masks=column["m"], groups=column["g"]
    )
    weights = json.loads((folder / "weights.json").read_text())
    return Part(replayed(schema, rows, f"{data}, {name}"), weights)


def replayed(schema: Schema, rows: Observations, on: str) -> Replayed:
    """Rows as a search reads them."""
    request_N = np.asarray(rows.groups["request"])
    candidates = Candidates(predictions=expected(schema, rows.predictions), request_N=request_N)
    return Replayed(schema=schema, rows=rows, candidates=candidates, on=on)


# ------------------------------------------------------------------------------------------ speed


def speed() -> None:
    """Weight vectors a second, the search's own time included."""
    found = []
    for length in LENGTHS:
        log = speed_log(length)
        for name, objectives in speed_goals().items():
            for each in (
                CEM(trials=1000),
                Random(trials=1000),
                NSGA2(trials=500),
                TPE(trials=100),
            ):
                settings = Settings(objectives=objectives, guardrails=(), search=each)
                task = Task(
                    log=log,
                    model=WeightedSum(terms=dict.fromkeys(log.rows.predictions, 1.0)),
                    demotion=None,
                    today_N=np.zeros(SPEED_ROWS),
                    today_weights=None,
                    settings=settings,
                    bundle="",
                )
                before = time.process_time()
                seconds = search(task).seconds
                busy = time.process_time() - before
                found.append([length, name, each.kind, each.trials / seconds, busy / each.trials])
                print(found[-1], flush=True)
    write("speed", found)


def speed_goals() -> Mapping[str, tuple[Objective, ...]]:
    """What is measured of each vector."""
    return {
        "NDCG@10 of 1 task": (NDCG(task="click"),),
        "NDCG@10 of 5 tasks": tuple(NDCG(task=task) for task in (*RATES, "watch")),
        "GAUC of 4 tasks by request": tuple(GAUC(task=task, by="request") for task in RATES),
    }


def speed_log(length: int) -> Replayed:
    """100,000 rows with 5 tasks."""
    rng = np.random.default_rng(0)
    tasks = [*(Binary(name=task) for task in RATES), Duration(name="watch", unit="s")]
    schema = Schema(features=[Numeric(name="x")], tasks=tasks, keys=Keys(request="request"))
    labels = {task: (rng.random(SPEED_ROWS) < rate) * 1.0 for task, rate in RATES.items()}
    labels["watch"] = np.where(labels["click"] > 0, rng.lognormal(2, 1, SPEED_ROWS), 0.0)
    rows = Observations(
        predictions={task: rng.random(SPEED_ROWS) for task in labels},
        labels=labels,
        masks={task: np.ones(SPEED_ROWS, dtype=np.bool_) for task in labels},
        groups={"request": np.arange(SPEED_ROWS) // length},
    )
    return replayed(schema, rows, f"requests of {length}")


# ----------------------------------------------------------------------------------------- fronts


def fronts(data: str, seeds: Sequence[int], root: Path, keep: Path) -> None:
    """Every search against random search, at equal trials."""
    found = without(f"fronts_{data}", 3, seeds)
    for seed in seeds:
        log = parts_of(data, seed, root, keep)["validation"]
        for name, objectives in FRONTS.items():
            for trials, searches in SEARCHES.items():
                found += compared(log, seed, objectives, searches, [data, name, trials])
        print(data, seed, flush=True)
        write(f"fronts_{data}", found)


def compared(
    log: Part,
    seed: int,
    objectives: tuple[Objective, ...],
    searches: Sequence[Search],
    names: list[Any],
) -> list[list[Any]]:
    """Hypervolume over random's, and shares of one front that the other dominates."""
    fronts_of = {}
    for each in searches:
        settings = Settings(objectives=objectives, guardrails=(), search=each, seed=seed)
        result = told(search(log.task(settings)))
        reference = np.array(result.hypervolume.reference)
        value_PM = np.array([trial.objectives for trial in result.trials])
        fronts_of[each.kind] = value_PM[front_of(value_PM)]
    base = hypervolume(fronts_of["random"], reference)
    return [
        [
            *names,
            seed,
            kind,
            hypervolume(front, reference) / base - 1,
            dominated(fronts_of["random"], front),
            dominated(front, fronts_of["random"]),
            len(front),
        ]
        for kind, front in fronts_of.items()
    ]


def dominated(front_FM: Floats, other_FM: Floats) -> float:
    """The share of a front's points that the other front equals or dominates."""
    return float(np.mean([(other_FM >= point_M).all(axis=1).any() for point_M in front_FM]))


# ------------------------------------------------------------------------------------------ later


def later(data: str, seeds: Sequence[int], root: Path, keep: Path) -> None:
    """Raise two objectives, hold clicks; chosen on one day, read on the next."""
    found = without(f"later_{data}", 1, seeds)
    for seed in seeds:
        days = parts_of(data, seed, root, keep)
        settings = Settings(
            objectives=(NDCG(task="long_view"), NDCG(task="like")),
            guardrails=(Hold(of=NDCG(task="click"), at_least=0.99),),
            search=CEM(trials=2000),
            seed=seed,
        )
        searched = search(days["validation"].task(settings))
        found += read_later(searched, told(searched), days["test"], [data, seed])
        print(data, seed, flush=True)
        write(f"later_{data}", found)


def read_later(searched: Searched, tuned: Tuned, day: Part, names: list[Any]) -> list[list[Any]]:
    """By goal: today's and the champion's value on the day of the search and on the next."""
    there = check_later(searched, tuned, day.log, day.today_N)
    assert tuned.gains is not None
    assert there.gains is not None
    rows = []
    for here_row, there_row in zip(tuned.gains.rows, there.gains.rows, strict=True):
        rows.append(
            [
                *names,
                here_row.goal,
                here_row.today,
                here_row.picked,
                there_row.today,
                there_row.picked,
                there_row.lower,
                there_row.upper,
            ]
        )
    return rows


# ------------------------------------------------------------------------------------------ table


def write(name: str, rows: list[list[Any]]) -> None:
    """The numbers of a part."""
    OUT.mkdir(parents=True, exist_ok=True)
    told_rows = {"date": str(datetime.date.today()), "rows": rows}
    (OUT / f"{name}.json").write_text(json.dumps(told_rows, indent=1) + "\n")


def table() -> None:
    """All parts, as one page."""
    parts = [
        speed_table(read("speed")),
        fronts_table([row for data in LOGS for row in read(f"fronts_{data}")]),
        later_table([row for data in LOGS for row in read(f"later_{data}")]),
    ]
    day = json.loads((OUT / "speed.json").read_text())["date"]
    head = f"# Searching weights, {day}\n\n`python benchmarks/tuning.py speed|fronts|later|table`"
    (HERE / "results/tuning.md").write_text("\n\n".join([head, *parts]) + "\n")


def without(name: str, place: int, seeds: Sequence[int]) -> list[list[Any]]:
    """The numbers of other seeds, which stay."""
    there = (OUT / f"{name}.json").exists()
    return [row for row in read(name) if row[place] not in seeds] if there else []


def read(name: str) -> list[list[Any]]:
    """What ``write`` wrote."""
    rows: list[list[Any]] = json.loads((OUT / f"{name}.json").read_text())["rows"]
    return rows


def speed_table(rows: list[list[Any]]) -> str:
    """Vectors a second."""
    lines = [
        "## Speed",
        f"{SPEED_ROWS:,} rows, 5 weights, 2 cores; the search's own time included. Rows are "
        "compared in float32 where its rounding cannot change their order, else in float64: the "
        "numbers are float64's. Measured with nothing else running; CPU time is of all threads "
        "together. The target: 2,000 a second with 5 tasks in requests of 10.\n",
        "| rows a request | measured | search | vectors a second | CPU ms a vector |",
        "|---|---|---|---|---|",
    ]
    for length, name, kind, per_second, busy in rows:
        lines.append(f"| {length} | {name} | {kind} | {per_second:,.0f} | {busy * 1e3:.2f} |")
    return "\n".join(lines)


def fronts_table(rows: list[list[Any]]) -> str:
    """Means over seeds, and whether it was so on all of them."""
    lines = [
        "## Fronts at equal trials",
        f"{SEEDS} seeds of model and search, no guardrails, NDCG@10; hypervolume above a random "
        "order against random search's, with a 95 % t interval over seeds; share of random's front "
        "that the search's front equals or dominates, and the reverse; seeds on which it was all "
        "of random's front.\n",
        "| log | objectives | trials | search | hypervolume | of random's front | of its own | "
        "all, of seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = list(dict.fromkeys((*row[:3], row[4]) for row in rows if row[4] != "random"))
    for key in keys:
        mine = [row for row in rows if (*row[:3], row[4]) == key]
        volume = interval([row[5] for row in mine], "+.2%")
        theirs, own = (np.mean([row[place] for row in mine]) for place in (6, 7))
        full = sum(row[6] == 1 for row in mine)
        data, name, trials, kind = key
        lines.append(
            f"| {data} | {name} | {trials:,} | {kind} | {volume} | {theirs:.1%} | {own:.1%} | "
            f"{full} of {len(mine)} |"
        )
    return "\n".join(lines)


def later_table(rows: list[list[Any]]) -> str:
    """Each seed: relative changes on both days, and whether the guardrail was held."""
    lines = [
        "## Guardrails on a later day",
        "Raise NDCG@10 of long views and likes, hold that of clicks at 99 % of today's (the "
        "default weights); champion: the knee. KuaiRand: chosen on 29 April, read on 30 April; the "
        "feed: on rows 40,000 to 50,000, and the next 10,000. Changes from today's, in % of it.\n",
        "| log | seed | clicks, chosen | clicks, later | held later | long views, chosen | later | "
        "likes, chosen | later |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for data, seed in dict.fromkeys((row[0], row[1]) for row in rows):
        mine = {row[2]: row[3:] for row in rows if row[:2] == [data, seed]}
        cells = {
            goal: (100 * (row[1] / row[0] - 1), 100 * (row[3] / row[2] - 1))
            for goal, row in mine.items()
        }
        click = cells["ndcg@10 of click"]
        held = "held" if mine["ndcg@10 of click"][3] >= 0.99 * mine["ndcg@10 of click"][2] else "no"
        others = [cells[f"ndcg@10 of {task}"] for task in ("long_view", "like")]
        told_cells = " | ".join(f"{here:+.2f} | {there:+.2f}" for here, there in others)
        lines.append(
            f"| {data} | {seed} | {click[0]:+.2f} | {click[1]:+.2f} | {held} | {told_cells} |"
        )
    return "\n".join(lines)


def main() -> None:
    """One part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("speed", "fronts", "later", "table"))
    add_data_root(parser)
    parser.add_argument("--log", choices=LOGS, default="kuairand")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(SEEDS))
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    os.environ["POLYRANK_DATA"] = str(asked.data_root)
    if asked.part in ("speed", "table"):
        {"speed": speed, "table": table}[asked.part]()
        return
    with tempfile.TemporaryDirectory(prefix="tuning-") as folder:
        keep = asked.keep or Path(folder)
        chosen = {"fronts": fronts, "later": later}[asked.part]
        chosen(asked.log, asked.seeds, asked.data_root, keep)


if __name__ == "__main__":
    main()
