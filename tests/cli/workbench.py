"""Small logs and runs on disk, and the command line inside this process."""

from __future__ import annotations

import copy
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from polyrank.cli import main
from polyrank.schema import to_yaml
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed

FEED = FeedConfig(num_users=120, num_items=90)
ROWS = 2400
VALIDATION_ROWS, TEST_ROWS = 400, 400
TRAINING = {"epochs": 1, "batch_size": 400, "precision": "fp32", "device": "cpu"}
TINY = {
    "model": {
        "embedding_dim": 4,
        "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [16]},
        "towers": {"widths": [16]},
    },
    "training": TRAINING,
    "evaluation": {"resamples": 0},
}


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        """The line for machines."""
        lines = self.err.splitlines()
        found: dict[str, Any] = json.loads(lines[-1])
        assert "\n" not in found["message"]
        return found


def run(*words: object) -> Outcome:
    """One command, as far as this process can tell it from a process of its own."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    assert "Traceback" not in err.getvalue()
    return Outcome(code, out.getvalue(), err.getvalue())


def succeed(*words: object) -> str:
    """What a command prints that does what it should."""
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    return outcome.out


@cache
def feed_log() -> pa.Table:
    """An observed log, in the order of time."""
    return observed(pa.concat_tables(list(Feed(FEED).tables(ROWS))))


def schema_tree() -> dict[str, Any]:
    """The feed's schema, as plain data."""
    tree: dict[str, Any] = YAML(typ="safe", pure=True).load(to_yaml(feed_schema(8)))
    return tree


def tree_of(log: str = "log.parquet", **sections: Any) -> dict[str, Any]:
    """A tiny run of a log; ``sections`` stand instead of its own."""
    times = feed_log().column("time_ms")
    split = {
        "kind": "time",
        "validation_from": times[ROWS - VALIDATION_ROWS - TEST_ROWS].as_py(),
        "test_from": times[ROWS - TEST_ROWS].as_py(),
    }
    return {
        "schema": schema_tree(),
        "data": {"root": ".", "log": log, "split": split},
        **copy.deepcopy(TINY),
        "output": "run",
        **sections,
    }


def write_yaml(path: Path, tree: dict[str, Any]) -> Path:
    """``tree`` as a file."""
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(tree, file)
    return path


def write_run(folder: Path, log: pa.Table | None = None, **sections: Any) -> Path:
    """A log and a tiny run of it; the path of the configuration.

    The run's folder is ``run`` beside it.
    """
    pq.write_table(feed_log() if log is None else log, folder / "log.parquet")
    return write_yaml(
        folder / "ranker.yaml", tree_of(**{"output": str(folder / "run"), **sections})
    )


def write_parts(folder: Path) -> dict[str, str]:
    """The log in three files, as the ``data`` section names them."""
    starts = {
        "train": 0,
        "validation": ROWS - VALIDATION_ROWS - TEST_ROWS,
        "test": ROWS - TEST_ROWS,
    }
    ends = [*list(starts.values())[1:], ROWS]
    for (part, start), end in zip(starts.items(), ends, strict=True):
        pq.write_table(feed_log().slice(start, end - start), folder / f"{part}.parquet")
    return {part: f"{part}.parquet" for part in starts}


def contents(bundle: Path) -> dict[str, bytes]:
    """The files of a bundle but for the manifest, which says when it was made."""
    files = (path for path in bundle.iterdir() if path.name != "MANIFEST.json")
    return {path.name: path.read_bytes() for path in files}


def told(out: str) -> list[str]:
    """What a run prints but for the last line, which names folder and version."""
    return out.splitlines()[:-1]
