"""The ready-made experiment: a log, one model, and the rankings that a team would discuss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from polyrank.bundle import Bundle
from polyrank.config import RunConfig
from polyrank.run import Watcher, train_bundle
from polyrank.schema import parse
from polyrank.scoring import Order, Scorer
from polyrank.simulation.config import DAY_MS, FeedConfig
from polyrank.simulation.experiment.choosing import tuned_order
from polyrank.simulation.experiment.config import ExperimentConfig
from polyrank.simulation.experiment.policies import (
    BundlePolicy,
    LoggingPolicy,
    Policy,
    RandomPolicy,
    ReturnOracle,
    SatisfactionOracle,
)
from polyrank.simulation.feed import Feed
from polyrank.simulation.log import observed
from polyrank.simulation.schema import feed_schema
from polyrank.training import Sources

ARMS = (
    "random",
    "logging",
    "click_only",
    "watch_only",
    "equal",
    "tuned",
    "satisfaction_oracle",
    "return_oracle",
)
"""The arms of ``ready_arms``, as docs/simulation.md tells them."""
NETWORK: Mapping[str, Any] = {
    "embedding_dim": 16,
    "sharing": {"kind": "mmoe", "num_experts": 4, "widths": [64, 32]},
    "towers": {"widths": [16]},
}
TRAINING: Mapping[str, Any] = {"batch_size": 1024, "epochs": 2, "threads": 1}


def observed_log(feed: Feed, rows: int) -> tuple[pa.Table, pa.Table]:
    """A log without its truth: all days but the last, and the last."""
    log = observed(pa.concat_tables(feed.tables(rows)).combine_chunks())
    last = feed.config.start_ms + (feed.config.days - 1) * DAY_MS
    cut = int((log["time_ms"].to_numpy() < last).sum())
    return log.slice(0, cut), log.slice(cut)


def train_ranker(
    config: FeedConfig, train: pa.Table, validation: pa.Table, watcher: Watcher | None = None
) -> Bundle:
    """One multi-task model of all labels, as ``polyrank train`` makes it."""
    tree = {
        "schema": feed_schema(config.embedding_dim).model_dump(mode="json"),
        "data": {"train": "train", "validation": "validation"},
        "model": dict(NETWORK),
        "training": dict(TRAINING),
        "evaluation": {"resamples": 0, "metrics": ["log_loss"]},
        "seed": config.seed,
    }
    sources = Sources.of(train=train, validation=validation)
    return train_bundle(parse(RunConfig, tree), sources, None, watcher=watcher)


def ready_arms(
    bundle: Bundle, validation: pa.Table, config: ExperimentConfig, seed: int
) -> dict[str, Policy]:
    """The arms of docs/simulation.md, all of one bundle.

    Args:
        bundle: From ``train_ranker``.
        validation: The rows with observed labels on which weights are chosen.
        config: Of the experiment.
        seed: Of the search.
    """
    scorer = Scorer(bundle)

    def by(task: str) -> Policy:
        return BundlePolicy(scorer, Order.of(bundle, {task: 1.0}))

    return {
        "random": RandomPolicy(),
        "logging": LoggingPolicy(),
        "click_only": by("click"),
        "watch_only": by("watch_time"),
        "equal": BundlePolicy(scorer, Order.of(bundle)),
        "tuned": BundlePolicy(scorer, tuned_order(scorer, validation, seed=seed)),
        "satisfaction_oracle": SatisfactionOracle(),
        "return_oracle": ReturnOracle(config.returns),
    }
