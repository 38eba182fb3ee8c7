"""P(purchase | click) over all impressions: each funnel against masked training, truth known.

Purchases are labelled on clicked rows only, and what is clicked depends on what would be bought.
The simulated feed knows P(purchase | click) of every impression. Once with all features, once with
few of them and towers without a hidden layer, so that no network can hold the truth.

    python benchmarks/funnels.py            five seeds, into benchmarks/results/funnels.md
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from polyrank.config import DataConfig, RunConfig
from polyrank.run import train_bundle
from polyrank.schema import Binary, Schema, parse
from polyrank.scoring import PREFIX, Scorer
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed
from polyrank.training import Sources
from quality.seeds import interval

ROWS = {"train": 25_000, "validation": 5_000, "test": 10_000}
FUNNELS: Mapping[str, Mapping[str, Any]] = {
    "masked": {"kind": "masked"},
    "ESMM": {"kind": "esmm"},
    "ESCM² IPS": {"kind": "escm2", "estimator": "ips"},
    "ESCM² DR": {"kind": "escm2", "estimator": "dr"},
    "AITM": {"kind": "aitm"},
}
FEW = ("item_category", "item_length_s", "user_country", "surface", "hour")
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "all features": {"sharing": {"kind": "shared_bottom", "widths": [64, 32]}},
    "few features": {
        "embedding_dim": 4,
        "sharing": {"kind": "shared_bottom", "widths": [16]},
        "towers": {"widths": []},
    },
}
MEASURES = {
    "bias": "mean prediction less mean truth, over all impressions",
    "size of the bias": "its absolute value",
    "bias unclicked": "the same, over the impressions that were not clicked",
    "error": "mean absolute difference between prediction and truth, over all impressions",
    "divergence": "mean KL divergence of the prediction from the truth, nats, all impressions",
}
Values = dict[str, float]


@dataclass(frozen=True)
class World:
    """One log in three parts, with the truth of the last."""

    logs: Mapping[str, pa.Table]
    truth: NDArray[np.float64]
    clicked: NDArray[np.bool_]


def world(seed: int) -> World:
    """Requests in order of time."""
    config = FeedConfig(
        seed=seed,
        num_users=500,
        num_items=300,
        purchase_rate=0.2,
        long_view_rate=0.4,
        clickbait_strength=1.0,
    )
    total = sum(ROWS.values())
    whole = pa.concat_tables(Feed(config).tables(num_rows=total)).combine_chunks()
    starts = np.cumsum([0, *ROWS.values()])
    parts = {
        name: whole.slice(int(start), ROWS[name]) for name, start in zip(ROWS, starts, strict=False)
    }
    return World(
        logs={name: observed(part) for name, part in parts.items()},
        truth=parts["test"]["truth_purchase_probability"].to_numpy().astype(np.float64),
        clicked=parts["test"]["click"].to_numpy() == 1,
    )


def schema_of(network: str) -> Schema:
    """Click, and purchase within it."""
    full = feed_schema(FeedConfig().embedding_dim)
    kept = [f for f in full.features if network == "all features" or f.name in FEW]
    tasks = (Binary(name="click"), Binary(name="purchase", within="click"))
    return Schema(features=tuple(kept), tasks=tasks, keys=full.keys)


def trained(log: World, network: str, funnel: Mapping[str, Any], seed: int) -> Values:
    """The measures of one run."""
    config = parse(
        RunConfig,
        {
            "schema": schema_of(network).model_dump(mode="json"),
            "data": DataConfig(train="train", validation="validation").model_dump(mode="json"),
            "model": {**NETWORKS[network], "funnel": dict(funnel)},
            "training": {"batch_size": 512, "epochs": 6, "precision": "fp32", "device": "cpu"},
            "evaluation": {"resamples": 0, "metrics": ["log_loss"]},
            "seed": seed,
        },
    )
    sources = Sources.of(train=log.logs["train"], validation=log.logs["validation"])
    scores = Scorer(train_bundle(config, sources, None)).score(log.logs["test"])
    return measured(scores[PREFIX + "purchase"].to_numpy(), log)


def measured(predicted: NDArray[np.float64], log: World) -> Values:
    """Predictions against the truth."""
    p, q = np.clip(predicted, 1e-9, 1 - 1e-9), log.truth
    excess = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    bias = float((p - q).mean())
    return {
        "bias": bias,
        "size of the bias": abs(bias),
        "bias unclicked": float((p - q)[~log.clicked].mean()),
        "error": float(np.abs(p - q).mean()),
        "divergence": float(excess.mean()),
    }


def table(found: Mapping[str, Sequence[Values]]) -> list[str]:
    """Values of every funnel, then differences from masked, seed by seed."""
    lines = [f"| funnel | {' | '.join(MEASURES)} |", f"|---|{'---|' * len(MEASURES)}"]
    for name, values in found.items():
        cells = [interval([value[measure] for value in values]) for measure in MEASURES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, values in found.items():
        if name != "masked":
            pairs = list(zip(values, found["masked"], strict=True))
            cells = [interval([a[m] - b[m] for a, b in pairs]) for m in MEASURES]
            lines.append(f"| {name} less masked | {' | '.join(cells)} |")
    return lines


def reading(rows: Sequence[str]) -> list[str]:
    """What the differences in a table show: those whose interval leaves 0 out."""
    lines = []
    for row in rows:
        name, *cells = (cell.strip() for cell in row.strip("| ").split(" | "))
        if not name.endswith(" less masked"):
            continue
        shown = []
        for measure, cell in zip(MEASURES, cells, strict=True):
            lower, upper = (float(end) for end in cell[cell.index("(") + 1 : -1].split(" to "))
            if measure in ("size of the bias", "error", "divergence") and lower * upper > 0:
                shown.append(f"{measure} {'smaller' if upper < 0 else 'larger'}")
        lines.append(f"- {name}: {', '.join(shown) or 'nothing is shown'}.")
    return lines


def main() -> None:
    """Run all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="2 to 8")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "funnels.md"
    )
    given = parser.parse_args()
    begun = time.monotonic()
    worlds = [world(seed) for seed in range(given.seeds)]
    body: list[str] = []
    for network in NETWORKS:
        found: dict[str, list[Values]] = {}
        for name, funnel in FUNNELS.items():
            runs = [trained(log, network, funnel, seed) for seed, log in enumerate(worlds)]
            found[name] = runs
            print(network, name, interval([run["error"] for run in runs]), flush=True)
        rows = table(found)
        body += ["", f"## {network.capitalize()}", "", *rows, "", *reading(rows)]
    truths = [float(log.truth.mean()) for log in worlds]
    clicked = [float(log.truth[log.clicked].mean()) for log in worlds]
    head = [
        "# Funnels on the simulated feed",
        "",
        f"`python benchmarks/funnels.py`, {given.seeds} seeds (feed and network), "
        f"{ROWS['train']:,} rows to train on, {ROWS['validation']:,} to choose by, "
        f"{ROWS['test']:,} to measure on; torch {torch.__version__}, {platform.machine()}, "
        f"{time.monotonic() - begun:.0f} s.",
        "",
        f"True P(purchase | click): {np.mean(truths):.4f} over all impressions, "
        f"{np.mean(clicked):.4f} over the clicked ones. Mean and 95 % interval over seeds.",
        "",
        *(f"- {name}: {text}." for name, text in MEASURES.items()),
    ]
    given.out.write_text("\n".join([*head, *body, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
