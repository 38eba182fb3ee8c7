"""The ready-made experiment in 20 worlds: where the story holds, and where it does not.

The parameters of each world are drawn from the ranges of docs/simulation.md by its number. A world
that is done is a line of benchmarks/results/experiment.jsonl and is not done again.

    python benchmarks/experiment.py            what is missing, then the page and the picture
    python benchmarks/experiment.py --page     the page and the picture alone
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from experiment_page import write_page
from polyrank.schema import parse
from polyrank.simulation import Feed
from polyrank.simulation.experiment import (
    Experiment,
    SimulationConfig,
    find,
    observed_log,
    ready_arms,
    train_ranker,
)

DRAWS = 20
KEY = 2026
"""With the number of a draw, the seed of its parameters."""
ROWS, USERS = 200_000, 2_000
FEED = {
    "signal": (1.0, 2.0),
    "satisfaction_appeal_correlation": (0.3, 0.8),
    "clickbait_strength": (0.2, 1.0),
    "length_effect": (0.4, 1.0),
    "watch_noise": (0.25, 0.45),
    "examination_power": (0.3, 1.0),
    "logging_appeal_weight": (0.3, 1.0),
    "ranking_noise": (0.5, 2.0),
    "click_rate": (0.1, 0.22),
    "long_view_rate": (0.25, 0.5),
    "activity_spread": (0.5, 1.2),
}
FEED_LOG = {
    "median_watch_time_s": (8.0, 20.0),
    "report_rate": (0.003, 0.02),
    "purchase_rate": (0.02, 0.1),
}
"""Uniform in the logarithm."""
RETURNS = {
    "base_rate": (0.65, 0.9),
    "base_spread": (0.4, 1.2),
    "satisfied_view": (0.2, 0.6),
    "quick_exit": (0.2, 0.6),
    "background_play": (0.1, 0.4),
    "quick_exit_s": (3.0, 8.0),
    "background_play_s": (45.0, 90.0),
}
RETURNS_LOG = {"report": (0.6, 2.4)}
RESULTS = Path(__file__).parent / "results"


def drawn(number: int) -> SimulationConfig:
    """The world of a draw."""
    rng = np.random.default_rng([KEY, number])
    feed = {**_uniform(rng, FEED), **_log_uniform(rng, FEED_LOG)}
    returns = {**_uniform(rng, RETURNS), **_log_uniform(rng, RETURNS_LOG)}
    tree = {
        "feed": {**feed, "seed": KEY + number, "num_users": USERS},
        "experiment": {"returns": returns},
        "rows": ROWS,
    }
    return parse(SimulationConfig, tree)


def run(number: int) -> dict[str, Any]:
    """All that one draw found."""
    began = time.process_time()
    config = drawn(number)
    feed = Feed(config.feed)
    train, validation = observed_log(feed, config.rows)
    bundle = train_ranker(config.feed, train, validation)
    arms = ready_arms(bundle, validation, config.experiment, config.feed.seed)
    course = Experiment(feed.world, config.experiment).run(arms)
    parameters = {name: getattr(config.feed, name) for name in (*FEED, *FEED_LOG)}
    for name in (*RETURNS, *RETURNS_LOG):
        parameters[name] = getattr(config.experiment.returns, name)
    return {
        "draw": number,
        "cpu_s": round(time.process_time() - began, 1),
        "torch": torch.__version__,
        "parameters": parameters,
        **_rounded(find(course).to_json()),
    }


def _rounded(tree: Any) -> Any:
    """The same with five digits, which is what the page needs."""
    if isinstance(tree, dict):
        return {name: _rounded(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_rounded(value) for value in tree]
    return float(f"{tree:.5g}") if isinstance(tree, float) else tree


def _uniform(rng: Generator, ranges: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {name: round(float(rng.uniform(*ends)), 4) for name, ends in ranges.items()}


def _log_uniform(rng: Generator, ranges: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {
        name: round(math.exp(rng.uniform(math.log(low), math.log(high))), 4)
        for name, (low, high) in ranges.items()
    }


def _done(lines: Path) -> dict[int, dict[str, Any]]:
    """The draws of whole lines; a line that was cut off is done again."""
    found = {}
    for line in lines.read_text().splitlines() if lines.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[record["draw"]] = record
    return found


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--page", action="store_true", help="run nothing")
    parser.add_argument("--every", type=int, default=1, help="of several processes: their number")
    parser.add_argument("--of", type=int, default=0, help="and which this one is, from 0")
    asked = parser.parse_args()
    lines = asked.out / "experiment.jsonl"
    done = _done(lines)
    for number in range(asked.of, 0 if asked.page else asked.draws, asked.every):
        if number not in done:
            record = run(number)
            with lines.open("a") as out:
                out.write(json.dumps(record) + "\n")
            print(f"draw {number}: {record['cpu_s']:.0f} CPU s", flush=True)
    done = _done(lines)
    write_page([done[number] for number in sorted(done)], asked.out)


if __name__ == "__main__":
    main()
