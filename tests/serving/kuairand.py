"""KuaiRand's log with each row's history, a bundle of it, and rows to be asked for in every way.

Data: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
Videos", CIKM 2022; CC BY-SA 4.0. What is made of it stays in the test's folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(os.environ.get("POLYRANK_DATA") or Path(__file__).parents[3] / "shared" / "data")
FOLDER = ROOT / "kuairand"
LOG = FOLDER / "log_standard_0425_0430.parquet"
SIZES = (*[1000] * 6, *[200] * 15, *[7] * 100, *[1] * 300)
"""Candidates of each list; 10,000 rows."""
USER = ("user_id", "watched")
ITEM = ("video_id", "tab", "hour", "duration_ms")
COLUMNS = {
    "user_id": pa.int64(),
    "watched": pa.list_(pa.int64()),
    "video_id": pa.int64(),
    "tab": pa.string(),
    "hour": pa.int64(),
    "duration_ms": pa.float64(),
}
TASKS = ("click", "long_view", "like", "play_time")
LONG = 500
"""Entries of every eighth history, which repeats what its user watched; 400 are kept."""
RUN = """
schema:
  features: [
    {{kind: categorical, name: tab, min_frequency: 1}}, {{kind: categorical, name: hour}},
    {{kind: numeric, name: duration, column: duration_ms, side: item}},
    {{kind: categorical, name: video, column: video_id, side: item, min_frequency: 5}},
    {{kind: categorical, name: author_id, side: item, min_frequency: 5}},
    {{kind: categorical, name: video_type, side: item}},
    {{kind: numeric, name: server_width, side: item, scaling: bins, num_bins: 16}},
    {{kind: bag, name: tag, side: item, separator: ",", min_frequency: 5}},
    {{kind: categorical, name: user, column: user_id, side: user, min_frequency: 5}},
    {{kind: categorical, name: user_active_degree, side: user}},
    {{kind: categorical, name: onehot_feat4, side: user}},
    {{kind: numeric, name: register_days, side: user}},
    {{kind: sequence, name: watched, side: user, shares: video, max_length: 400}},
    {{kind: sequence, name: wanted, column: watched, side: user, shares: video, max_length: 300,
     pooling: attention}},
  ]
  tasks: [
    {{kind: binary, name: click, label: is_click}}, {{kind: binary, name: long_view}},
    {{kind: binary, name: like, label: is_like}},
    {{kind: duration, name: play_time, label: play_time_ms, unit: ms}},
  ]
  keys: {{user: user_id, item: video_id, time: time_ms}}
  tables: [{{name: users, on: user_id}}, {{name: videos, on: video_id}}]
data:
  log: log.parquet
  root: .
  split: {{kind: time, column: date, validation_from: 20220429}}
  tables: {{users: {users}, videos: {videos}}}
model:
  embedding_dim: 8
  sharing: {{kind: ple, num_task_experts: 1, num_shared_experts: 2, widths: [32, 16]}}
  towers: {{widths: [16]}}
training: {{batch_size: 1024, epochs: 1, learning_rate: 0.01, threads: 1, precision: fp32}}
evaluation: {{resamples: 0}}
output: run
"""


def command(*words: str | Path, cwd: Path, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """``polyrank`` in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "polyrank", *map(str, words)],
        cwd=cwd,
        env=environment(cwd, threads),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def environment(home: Path, threads: int = 1) -> dict[str, str]:
    """Of a process that keeps its networks in ``home``."""
    return {**os.environ, "POLYRANK_CACHE": str(home / "cache"), "OMP_NUM_THREADS": str(threads)}


def trained(folder: Path) -> Path:
    """A bundle of one epoch over two days."""
    pq.write_table(_with_nulls(_log()), folder / "log.parquet")
    tables = {"users": "user_features_pure", "videos": "video_features_basic_pure"}
    paths = {name: FOLDER / f"{file}.parquet" for name, file in tables.items()}
    (folder / "run.yaml").write_text(RUN.format(**paths))
    command("train", "run.yaml", "--quiet", cwd=folder)
    return folder / "run" / "bundle"


def _log() -> pa.Table:
    """27 to 30 April, each row with what its user watched before it, oldest first."""
    log = pl.read_parquet(LOG).sort("time_ms")
    known: dict[int, list[int]] = defaultdict(list)
    before = pl.read_parquet(FOLDER / "user_history_to_0424.parquet")
    for user, watched in before.select("user_id", "watch_seq").iter_rows():
        known[user] = list(watched)
    histories = []
    for user, video in log.select("user_id", "video_id").iter_rows():
        histories.append(list(known[user]))
        known[user].append(video)
    table = log.with_columns(
        pl.format("tab {}", "tab").alias("tab"), pl.col("hourmin").alias("hour")
    ).to_arrow()
    for name, kind in COLUMNS.items():
        if name != "watched":
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].cast(kind))
    table = table.append_column("watched", pa.array(histories, COLUMNS["watched"]))
    return table.filter(pl.Series(log["date"] >= 20220427).to_arrow())


def _with_nulls(log: pa.Table) -> pa.Table:
    """The log with nulls, so that what is missing has a weight of its own."""
    rng = np.random.default_rng(1)
    for name in ("tab", "hour", "duration_ms", "watched"):
        values = log[name].to_pylist()
        gone = rng.random(len(values)) < 0.04
        kept = [None if miss else value for value, miss in zip(values, gone, strict=True)]
        log = log.set_column(log.column_names.index(name), name, pa.array(kept, COLUMNS[name]))
    return log


def lists() -> list[dict[str, list[Any]]]:
    """Lists of one user each, by column: strangers, videos nobody saw, nulls, long histories."""
    log = _log()
    day = log.filter(pc.equal(log["date"], 20220430)).select(list(COLUMNS))
    rows, rng = day.to_pylist(), np.random.default_rng(2)
    made = []
    for number, size in enumerate(SIZES):
        user = _user(rows[int(rng.integers(len(rows)))], number)
        own = [_candidate(rows[place], rng) for place in rng.integers(len(rows), size=size)]
        made.append(
            {name: [user[name]] * size for name in USER}
            | {name: [each[name] for each in own] for name in ITEM}
        )
    return made


def _user(row: dict[str, Any], number: int) -> dict[str, Any]:
    watched = row["watched"]
    if number % 8 == 0 and watched:
        watched = (watched * LONG)[-LONG:]
    by_kind = {3: 2**40 + number, 11: None}
    return {
        "user_id": by_kind.get(number % 13, row["user_id"]),
        "watched": {5: None, 6: []}.get(number % 17, watched),
    }


def _candidate(row: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    found = {name: None if rng.random() < 0.05 else row[name] for name in ITEM[1:]}
    unseen = rng.random() < 0.05
    return found | {"video_id": 10**9 + int(rng.integers(99)) if unseen else row["video_id"]}


def table_of(asked: Sequence[dict[str, list[Any]]]) -> pa.Table:
    """All rows of lists, one after the other."""
    return pa.table(
        {
            name: pa.array([value for own in asked for value in own[name]], kind)
            for name, kind in COLUMNS.items()
        }
    )
