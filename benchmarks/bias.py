"""Clicks that depend on the position: each bias model against none, relevance known.

The simulated feed knows P(click | seen) of every impression, and how likely each position is looked
at. Three logs: ranked by what satisfies while clicks follow appeal, so that position and relevance
part; ranked mostly by appeal, the feed's own weights, so that position agrees with relevance; and
shuffled. All with examination 1 / position.

    python benchmarks/bias.py            five seeds, into benchmarks/results/bias.md
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
from sklearn.metrics import roc_auc_score

from polyrank.config import DataConfig, RunConfig
from polyrank.data.encoding.examination import ExaminationFit
from polyrank.data.hashing import hash_column
from polyrank.run import train_bundle
from polyrank.schema import Binary, Categorical, Schema, parse
from polyrank.scoring import PREFIX, Scorer
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed
from polyrank.training import Sources
from quality.seeds import interval

Floats = NDArray[np.float64]
ROWS = {"train": 25_000, "validation": 5_000, "test": 10_000}
POSITIONS = 10
LOGS: Mapping[str, Mapping[str, Any]] = {
    "ranked by satisfaction": {"logging_appeal_weight": 0.0, "ranking_noise": 0.3},
    "ranked mostly by appeal": {},
    "shuffled": {"ranking_noise": 100.0},
}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "no correction": {},
    "position as a feature": {},
    "shallow tower": {"kind": "shallow_tower"},
    "PAL": {"kind": "pal"},
    "IPW (EM)": {"kind": "ipw", "source": "position"},
}
NETWORK = {"sharing": {"kind": "shared_bottom", "widths": [64, 32]}}
SERVED = 1
"""Where position is a feature: its value for all rows that are scored."""
SAID = (
    "- Ranked by satisfaction, while clicks follow appeal: position and relevance part.",
    "- Ranked mostly by appeal: the ranking knows what a user likes of an item beyond what the "
    "item tells, so position is a sign of relevance. Bias models and EM take that for examination.",
    "- Shuffled: position tells nothing.",
    "- The size and the start of the bias towers were chosen on seed 0 of the first log.",
)
RESAMPLES = 200


@dataclass(frozen=True)
class World:
    """One log in three parts, with the truth of the last."""

    logs: Mapping[str, pa.Table]
    relevance: Floats
    """P(click | seen) of the test rows."""
    examination: Floats
    """(K,) P(seen | position)."""


def world(seed: int, settings: Mapping[str, Any]) -> World:
    """Requests in order of time."""
    config = FeedConfig(
        seed=seed,
        num_users=500,
        num_items=300,
        candidates_per_request=POSITIONS,
        examination_power=1.0,
        click_rate=0.12,
        satisfaction_appeal_correlation=0.0,
        clickbait_strength=0.0,
        **settings,
    )
    total = sum(ROWS.values())
    whole = pa.concat_tables(Feed(config).tables(num_rows=total)).combine_chunks()
    starts = np.cumsum([0, *ROWS.values()])
    parts = {
        name: whole.slice(int(start), ROWS[name]) for name, start in zip(ROWS, starts, strict=False)
    }
    position = whole["position"].to_numpy()
    seen = whole["truth_examination"].to_numpy()
    return World(
        logs={name: observed(part) for name, part in parts.items()},
        relevance=parts["test"]["truth_click_probability"].to_numpy().astype(np.float64),
        examination=np.array([seen[position == k + 1][0] for k in range(POSITIONS)], np.float64),
    )


def schema_of(method: str) -> Schema:
    """Click alone, with what the method reads beside."""
    full = feed_schema(FeedConfig().embedding_dim)
    side: Any = {"position as a feature": "context", "shallow tower": "bias", "PAL": "bias"}.get(
        method
    )
    position = [Categorical(name="position", side=side)] if side else []
    task = Binary(name="click", examined_by="position" if method.startswith("IPW") else None)
    return Schema(features=(*full.features, *position), tasks=(task,), keys=full.keys)


def trained(log: World, method: str, seed: int) -> float:
    """The AUC of one run against relevance."""
    bias = {"bias": {"click": dict(METHODS[method])}} if METHODS[method] else {}
    config = parse(
        RunConfig,
        {
            "schema": schema_of(method).model_dump(mode="json"),
            "data": DataConfig(train="train", validation="validation").model_dump(mode="json"),
            "model": {**NETWORK, **bias},
            "training": {"batch_size": 512, "epochs": 5, "precision": "fp32", "device": "cpu"},
            "evaluation": {"resamples": 0, "metrics": ["log_loss"]},
            "seed": seed,
        },
    )
    sources = Sources.of(train=log.logs["train"], validation=log.logs["validation"])
    test = log.logs["test"].drop_columns(["position"])
    if method == "position as a feature":
        test = test.append_column("position", pa.array(np.full(test.num_rows, SERVED)))
    scores = Scorer(train_bundle(config, sources, None)).score(test)
    return relevance_auc(scores[PREFIX + "click"].to_numpy(), log.relevance)


def relevance_auc(score_N: Floats, relevance_N: Floats) -> float:
    """The chance that a row that would be clicked if seen stands above one that would not."""
    label = np.repeat([1, 0], len(score_N))
    weight = np.concatenate([relevance_N, 1 - relevance_N])
    return float(roc_auc_score(label, np.tile(score_N, 2), sample_weight=weight))


def curve(log: pa.Table, weight_N: Floats) -> Floats:
    """(K,) examination by EM, as the encoders fit it."""
    fit = ExaminationFit(key=0)
    fit.add(
        log["position"].to_numpy().astype(np.float64),
        hash_column(log["item_id"]),
        log["click"].to_numpy().astype(np.float64),
        weight_N,
    )
    return fit.curve().at(np.arange(1.0, POSITIONS + 1))


def drawn(log: pa.Table, seed: int) -> tuple[Floats, Floats, Floats]:
    """(K,) the curve, and the ends of its 95 % interval, from a bootstrap over requests."""
    _, request_N = np.unique(log["request_id"].to_numpy(), return_inverse=True)
    number = int(request_N.max()) + 1
    rng = np.random.default_rng(seed)
    draws = [
        curve(log, rng.multinomial(number, np.full(number, 1 / number))[request_N].astype(float))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return curve(log, np.ones(log.num_rows)), low, high


def verdict(difference: str) -> str:
    """What an interval of a difference shows."""
    ends = difference[difference.index("(") + 1 : -1].split(" to ")
    lower, upper = (float(end) for end in ends)
    if lower * upper <= 0:
        return "nothing is shown"
    return "higher" if lower > 0 else "lower"


def table(found: Mapping[str, Sequence[float]]) -> list[str]:
    """AUC of every method, and the difference from none, seed by seed."""
    lines = ["| method | AUC | less no correction | shown |", "|---|---|---|---|"]
    for name, values in found.items():
        pairs = zip(values, found["no correction"], strict=True)
        less = interval([value - none for value, none in pairs])
        cells = ("", "") if name == "no correction" else (less, verdict(less))
        lines.append(f"| {name} | {interval(values)} | {' | '.join(cells)} |")
    return lines


def curves(worlds: Sequence[World]) -> list[str]:
    """The estimated curve beside the true one, by position."""
    found = [drawn(log.logs["train"], seed) for seed, log in enumerate(worlds)]
    truth_K = worlds[0].examination
    inside_SK = np.array([(low <= truth_K) & (truth_K <= high) for _, low, high in found])
    lines = ["| position | true | estimated, mean of seeds | intervals that cover |"]
    lines.append("|---|---|---|---|")
    for k in range(POSITIONS):
        mean = float(np.mean([theta[k] for theta, _, _ in found]))
        lines.append(
            f"| {k + 1} | {truth_K[k]:.3f} | {mean:.3f} | "
            f"{int(inside_SK[:, k].sum())} of {len(worlds)} |"
        )
    below = inside_SK[:, 1:]
    told = f"From position 2 on, {int(below.sum())} of {below.size} intervals cover the truth."
    return [*lines, "", told]


def main() -> None:
    """Run all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="2 to 8")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bias.md")
    given = parser.parse_args()
    begun = time.monotonic()
    body: list[str] = []
    for name, settings in LOGS.items():
        worlds = [world(seed, settings) for seed in range(given.seeds)]
        body += ["", f"## {name.capitalize()}", ""]
        if name != "shuffled":
            found: dict[str, list[float]] = {}
            for method in METHODS:
                runs = [trained(log, method, seed) for seed, log in enumerate(worlds)]
                found[method] = runs
                print(name, method, interval(runs), flush=True)
            body += [*table(found), ""]
        body += curves(worlds)
        print(body[-1], flush=True)
    head = [
        "# Position bias on the simulated feed",
        "",
        f"`python benchmarks/bias.py`, {given.seeds} seeds (feed and network), "
        f"{ROWS['train']:,} rows to train on, {ROWS['validation']:,} to choose by, "
        f"{ROWS['test']:,} to measure on; torch {torch.__version__}, {platform.machine()}, "
        f"{time.monotonic() - begun:.0f} s.",
        "",
        "AUC against relevance: the chance that an impression that would be clicked if seen stands "
        "above one that would not, from the true P(click | seen). Mean and 95 % interval over "
        f"seeds. Where position is a feature, it is served as {SERVED}.",
        "",
        *SAID,
        "",
        "Examination by EM over item and position on the training rows, relative to the largest; "
        f"95 % intervals from {RESAMPLES} bootstrap draws over requests.",
    ]
    given.out.write_text("\n".join([*head, *body, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
