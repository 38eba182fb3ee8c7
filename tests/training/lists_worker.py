"""One process of a run with list terms: prepares the log, or waits for it, and trains."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from polyrank.config import load_config
from polyrank.training import prepare, train
from polyrank.training.checkpoint import arrays_of


def work(config_path: str, folder: str, run: str) -> None:
    """Writes the weights and the log of losses beside the run."""
    torch.set_num_threads(1)
    config = load_config(Path(config_path))
    prepared = prepare(config, Path(folder), Path(run))
    rows = [
        len(batch)
        for batch in prepared.train.batches(
            batch_size=config.training.batch_size,
            seed=config.seed,
            epoch=0,
            rank=int(os.environ.get("RANK", "0")),
            world=int(os.environ.get("WORLD_SIZE", "1")),
            whole_requests=True,
        )
    ]
    result = train(config, prepared, Path(run))
    weights = {name: value.tolist() for name, value in arrays_of(result.model).items()}
    rank = os.environ.get("RANK", "0")
    found = {"weights": weights, "rows": rows, "steps": result.steps}
    Path(run, f"result-{rank}.json").write_text(json.dumps(found))
