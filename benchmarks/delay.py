"""Labels that arrive late, on the simulated feed: what each correction makes of a log that is cut.

Purchases come days after the click, and the log is cut when half of its clicks are younger than the
window. What was learned is asked of the days after the cut, where the truth of every click is
known: whether it ends in a purchase within the window. Once with all features, and once with few of
them and towers without a hidden layer, which have less to overfit with.

    python benchmarks/delay.py            five seeds, into benchmarks/results/delay.md
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

from polyrank.config import RunConfig
from polyrank.data import open_log
from polyrank.run import train_bundle
from polyrank.schema import Binary, Maturity, Schema, parse
from polyrank.scoring import PREFIX, Scorer
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed
from polyrank.simulation.config import DAY_MS
from polyrank.training import Sources
from quality.seeds import interval, over_seeds

DAYS, CUT, WINDOW, MEAN_DELAY = 21, 14, 7, 4.0
"""Days of the feed, of the log, of the window and of the mean delay."""
ROWS = 90_000
"""Of all days; a tenth of the users is held out to choose by: later days are not mature."""
METHODS: Mapping[str, Mapping[str, Any] | None] = {
    "naive": {"kind": "naive"},
    "masked": None,
    "FNW": {"kind": "fnw"},
    "ES-DFM": {"kind": "es_dfm"},
    "oracle": None,
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
    "log loss": "of the true label within the window, nats",
    "ratio": "sum of predictions over sum of true labels",
    "miss": "its distance from 1",
}
Values = dict[str, float]


@dataclass(frozen=True)
class World:
    """The rows before the cut, and the clicks after it with their true labels."""

    config: FeedConfig
    log: pa.Table
    test: pa.Table
    label: NDArray[np.bool_]
    come: float
    """Share of the purchases of the rows before the cut that have come by then."""


def world(seed: int) -> World:
    """Requests in order of time; the log holds what comes until long after, and is cut on
    reading."""
    config = FeedConfig(
        seed=seed,
        num_users=500,
        num_items=300,
        days=DAYS,
        purchase_rate=0.2,
        long_view_rate=0.4,
        purchase_delay_days=MEAN_DELAY,
        observed_days=10_000,
    )
    whole = pa.concat_tables(Feed(config).tables(num_rows=ROWS)).combine_chunks()
    since = (whole["time_ms"].to_numpy() - config.start_ms) / DAY_MS
    before = since < CUT
    delay = whole["truth_purchase_delay_d"].to_numpy()
    bought = (whole["truth_purchase"].to_numpy() == 1) & (delay <= WINDOW)
    clicked = whole["click"].to_numpy() == 1
    mine = before & clicked & bought
    judged = ~before & clicked
    return World(
        config=config,
        log=observed(whole.filter(pa.array(before))),
        test=observed(whole.filter(pa.array(judged))),
        label=bought[judged],
        come=float((since + delay <= CUT)[mine].mean()),
    )


def schema_of(config: FeedConfig, network: str, *, cut: bool) -> Schema:
    """Click, and purchase within it; without ``cut`` the log is read when all has come."""
    full = feed_schema(config.embedding_dim)
    kept = [f for f in full.features if network == "all features" or f.name in FEW]
    until = config.start_ms + CUT * DAY_MS if cut else config.observed_until_ms
    maturity = Maturity(window=WINDOW * DAY_MS, event_time="purchase_time_ms", observed_until=until)
    tasks = (Binary(name="click"), Binary(name="purchase", within="click", maturity=maturity))
    return Schema(features=tuple(kept), tasks=tasks, keys=full.keys)


def trained(log: World, network: str, method: str, seed: int) -> Values:
    """The measures of one run."""
    correction = METHODS[method]
    schema = schema_of(log.config, network, cut=method != "oracle")
    config = parse(
        RunConfig,
        {
            "schema": schema.model_dump(mode="json"),
            "data": {"log": "log", "split": {"kind": "user", "validation": 0.1}},
            "model": {
                **NETWORKS[network],
                "delay": {} if correction is None else {"purchase": dict(correction)},
            },
            "training": {
                "batch_size": 512,
                "epochs": 5,
                "precision": "fp32",
                "device": "cpu",
                "select": {"metrics": {"purchase.log_loss": 1.0}},
            },
            "evaluation": {"resamples": 0, "metrics": ["log_loss"]},
            "seed": seed,
        },
    )
    sources = Sources(logs={"log": open_log(log.log)})
    scores = Scorer(train_bundle(config, sources, None)).score(log.test)
    return measured(scores[PREFIX + "purchase"].to_numpy(), log.label)


def measured(predicted: NDArray[np.float64], label: NDArray[np.bool_]) -> Values:
    """Predictions against true labels."""
    p = np.clip(predicted, 1e-9, 1 - 1e-9)
    ratio = float(p.sum() / label.sum())
    loss = float(-np.where(label, np.log(p), np.log1p(-p)).mean())
    return {"log loss": loss, "ratio": ratio, "miss": abs(ratio - 1)}


def table(found: Mapping[str, Sequence[Values]]) -> list[str]:
    """Values of every method."""
    lines = [f"| method | {' | '.join(MEASURES)} |", f"|---|{'---|' * len(MEASURES)}"]
    for name, values in found.items():
        cells = [interval([v[m] for v in values], ".4f") for m in MEASURES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def differences(found: Mapping[str, Sequence[Values]], base: str, skip: str = "") -> list[str]:
    """What each method changes, seed by seed, and whether the interval leaves 0 out."""
    lines = []
    for name, values in found.items():
        if name in (base, skip):
            continue
        told = []
        for measure in ("log loss", "miss"):
            pairs = zip(values, found[base], strict=True)
            mean, lower, upper = over_seeds([a[measure] - b[measure] for a, b in pairs])
            verdict = "nothing is shown" if lower <= 0 <= upper else "less" if upper < 0 else "more"
            told.append(f"{measure} {mean:+.4f} ({lower:+.4f} to {upper:+.4f}): {verdict}")
        lines.append(f"- {name} less {base}: {'; '.join(told)}.")
    return lines


def main() -> None:
    """Run all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="2 to 8")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "delay.md")
    given = parser.parse_args()
    begun = time.process_time()
    worlds = [world(seed) for seed in range(given.seeds)]
    body: list[str] = []
    for network in NETWORKS:
        found: dict[str, list[Values]] = {}
        for method in METHODS:
            runs = [trained(log, network, method, seed) for seed, log in enumerate(worlds)]
            found[method] = runs
            print(network, method, interval([run["ratio"] for run in runs], ".4f"), flush=True)
        body += ["", f"## {network.capitalize()}", "", *table(found), ""]
        body += [*differences(found, "naive"), *differences(found, "masked", skip="naive")]
    rows = int(np.mean([log.log.num_rows for log in worlds]))
    clicks = int(np.mean([len(log.label) for log in worlds]))
    come = float(np.mean([log.come for log in worlds]))
    lines = [
        "# Labels that arrive late, on the simulated feed",
        "",
        f"`python benchmarks/delay.py`, {given.seeds} seeds (feed and network), torch "
        f"{torch.__version__}, {platform.machine()}, {time.process_time() - begun:.0f} CPU s.",
        "",
        f"A purchase comes {MEAN_DELAY:g} days after the click in the mean and counts within "
        f"{WINDOW} days. The log is cut after {CUT} days: {rows:,} rows, a tenth of the users held "
        f"out to choose by (log loss on mature rows), and {come:.0%} of their purchases have come. "
        f"Asked are the clicks of the {DAYS - CUT} days that follow ({clicks:,}), by their true "
        "labels. The oracle learns from the same rows when all purchases have come. Mean and 95 % "
        "interval over seeds.",
        "",
        *(f"- {name}: {text}." for name, text in MEASURES.items()),
        "",
        "The second network was added after the first had been seen, since that one overfits; and "
        "checkpoints were first chosen by AUC, which says nothing of calibration.",
        *body,
        "",
    ]
    given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
