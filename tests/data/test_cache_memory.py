"""Memory does not grow with the rows of the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_WORK = """
import json, resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from polyrank.data import cache
from polyrank.data.cache import EncodedLog
from polyrank.data.encoders import Encoders
from polyrank.schema import Binary, Categorical, Numeric, Schema

cache.WINDOW_BYTES, cache._SHARD_BYTES = 16 << 20, 2 << 20  # Many windows in both logs.
schema = Schema(
    features=(
        *(Categorical(name=f"c{n}") for n in range(8)),
        *(Numeric(name=f"n{n}", scaling="standard") for n in range(4)),
    ),
    tasks=(Binary(name="click"),),
)

def chunks():
    for number in range(int(sys.argv[2])):
        rng = np.random.default_rng(number)
        columns = {f"c{n}": rng.zipf(1.5, 50_000) % 10_000 for n in range(8)}
        columns |= {f"n{n}": rng.normal(size=50_000) for n in range(4)}
        yield pa.table({**columns, "click": rng.integers(0, 2, 50_000).astype(float)})

encoders = Encoders.fit(schema, chunks())
log = EncodedLog.build(Path(sys.argv[1]), encoders, chunks(), fingerprint="a")
rows = sum(len(batch) for batch in log.batches(batch_size=4096, seed=0, epoch=0))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": rows, "peak": peak}))
"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    found = []
    for chunks in (20, 200):
        done = subprocess.run(
            [sys.executable, "-c", _WORK, str(tmp_path / str(chunks)), str(chunks)],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        )
        found.append(json.loads(done.stdout))
        assert found[-1]["rows"] == chunks * 50_000
    assert found[1]["peak"] < 1.1 * found[0]["peak"]
