"""The examples run, and stay short enough to read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyrank.config import load_config
from polyrank.run import train_bundle
from polyrank.training import open_sources

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DATA = Path(os.environ.get("POLYRANK_DATA") or EXAMPLES.parents[1] / "shared" / "data")
SMALL = [
    "training.epochs=1",
    "training.precision=fp32",
    "evaluation.resamples=0",
    "model.embedding_dim=4",
    "model.sharing.widths=[16]",
    "model.towers.widths=[8]",
]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in EXAMPLES.iterdir() if path.suffix in {".py", ".yaml"}),
    ids=lambda path: path.name,
)
def test_an_example_is_under_80_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80


def test_the_quickstart_runs() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "quickstart.py", "5000"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert "loaded scores equal: True" in done.stdout


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "log"),
    [("kuairand.yaml", "kuairand"), ("census.yaml", "census_income")],
)
def test_a_real_log_trains_as_its_example_says(name: str, log: str, tmp_path: Path) -> None:
    if not (DATA / log).is_dir():
        pytest.skip(f"the log {log} is not here: set POLYRANK_DATA")
    config = load_config(EXAMPLES / name, [*SMALL, f"output={tmp_path}"])
    bundle = train_bundle(config, open_sources(config.data, DATA), tmp_path, save=True)
    assert bundle.version
    assert set(bundle.card.metrics) == {"validation"}
    assert bundle.card.ledger["read"] > 90_000
