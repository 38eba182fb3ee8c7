"""polyrank's side of training_speed.py: the same log and network, through its own fit."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch._dynamo  # any optimizer imports it at its first use

from polyrank.config import DataConfig, RunConfig, TrainingConfig
from polyrank.data import RandomSplit
from polyrank.model import ModelConfig, Towers
from polyrank.schema import Binary, Categorical, Numeric, Regression, Schema
from polyrank.sharing import MMoE
from polyrank.training import prepare, train

NUM_IDS, NUM_NUMERICS = 26, 13


def main() -> None:
    """One epoch; the last line of the output is the result."""
    path, threads = Path(sys.argv[1]), int(sys.argv[3])
    torch.set_num_threads(threads)
    start, cpu = time.perf_counter(), time.process_time()
    schema = Schema(
        features=(
            *(Categorical(name=f"c{i}", min_frequency=1) for i in range(NUM_IDS)),
            *(Numeric(name=f"n{i}", scaling="standard") for i in range(NUM_NUMERICS)),
        ),
        tasks=(Binary(name="click"), Binary(name="like"), Regression(name="watch")),
    )
    config = RunConfig(
        schema_=schema,
        data=DataConfig(log=str(path), split=RandomSplit(validation=0.002)),
        model=ModelConfig(
            embedding_dim=16,
            sharing=MMoE(num_experts=8, widths=(256, 128)),
            towers=Towers(widths=(64,)),
        ),
        training=TrainingConfig(epochs=1, batch_size=4096, threads=threads),
    )
    stages = {}
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        prepared = prepare(config, path.parent, run_dir)
        stages["prepare"] = time.perf_counter() - start
        train(config, prepared, run_dir)
    seconds = time.perf_counter() - start
    stages["train"] = seconds - stages["prepare"]
    rows = prepared.ledger.read
    result = {
        "rows": rows,
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stages": stages,
    }
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
