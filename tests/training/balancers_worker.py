"""Trains a run with each of several ways of balancing, alone or as one of several processes.

Reads ``FOLDER/cache``, and writes what each gave to ``FOLDER/WORLD/NAME/result-RANK.json``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from polyrank.config import RunConfig
from polyrank.schema import parse
from polyrank.training import train
from polyrank.training.checkpoint import arrays_of
from tests.training.runs import config, lines, open_prepared

PLAIN: dict[str, Any] = {
    "epochs": 3,
    "clip_norm": 0.5,
    "model": {"embedding_dropout": 0.0, "towers": {"widths": [8]}},
}
"""Dropout would draw other numbers in each process."""


def work(folder: str, balances: dict[str, Any]) -> None:
    """Train with each."""
    torch.set_num_threads(1)
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    log = open_prepared(Path(folder) / "cache")
    tree = config(**PLAIN).tree()
    for name, balance in balances.items():
        run = Path(folder, world, name)
        run.mkdir(parents=True, exist_ok=True)
        result = train(parse(RunConfig, {**tree, "balance": balance}), log, run)
        weights = {key: value.tolist() for key, value in arrays_of(result.model).items()}
        (run / f"result-{rank}.json").write_text(json.dumps(weights))


def weights_by_record(run: Path) -> list[dict[str, float]]:
    """The tasks' mean weights in each of the log's train records."""
    return [line["balance"]["weights"] for line in lines(run) if line["kind"] == "train"]
