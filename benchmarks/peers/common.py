"""What the peers' programs share: reading the log and reporting. Runs in each peer's own Python."""

import json
import resource
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import torch
import torch._dynamo  # any optimizer imports it at its first use

NUM_IDS, NUM_NUMERICS = 26, 13
IDS = [f"c{i}" for i in range(NUM_IDS)]
NUMERICS = [f"n{i}" for i in range(NUM_NUMERICS)]
BINARY, REGRESSION = ["click", "like"], "watch"
TASKS = [*BINARY, REGRESSION]
TYPES = ["binary", "binary", "regression"]
DIM, EXPERTS, EXPERT_WIDTHS, TOWER, BATCH = 16, 8, (256, 128), (64,), 4096


def settings():
    """Path, sizes of the tables (ids are already 0 to size - 1), number of threads."""
    path, sizes, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    return path, sizes


def columns(path):
    """Every column as a numpy array."""
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def made_up(sizes):
    """Of each number of candidates that is asked for: it, how often to ask, and columns of them."""
    rng = np.random.default_rng(0)
    for count in map(int, sys.argv[5:]):
        x = {name: rng.integers(0, size, count) for name, size in zip(IDS, sizes, strict=True)}
        x |= {name: rng.normal(size=count).astype(np.float32) for name in NUMERICS}
        yield count, int(sys.argv[4]), x


class Clock:
    """Times from reading the file to the end of fit; imports are not counted."""

    def __init__(self):
        self.start, self.cpu = time.perf_counter(), time.process_time()

    def report(self, rows):
        """One line of JSON on standard output, the last one."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = time.perf_counter() - self.start
        cpu = time.process_time() - self.cpu
        result = {"rows": rows, "seconds": seconds, "cpu": cpu, "peak_mb": peak}
        sys.stdout.write("\n" + json.dumps(result) + "\n")
