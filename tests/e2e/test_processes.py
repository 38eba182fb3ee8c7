"""The command as its users start it: processes that are killed, interrupted, and several."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyrank.bundle import load_bundle
from tests.cli.workbench import TRAINING, contents, succeed, told, write_run

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
LONG = {**TRAINING, "epochs": 8, "select": {"patience": 0}, "checkpoint": {"every": 1}}
"""32 steps with a checkpoint each: long enough to be caught in the middle."""


def start(*words: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "polyrank", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something is so, while the process runs."""
    limit = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit
        time.sleep(0.02)


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints there."""
    found = (folder / "run" / "checkpoints").glob("step-*")
    return sorted(int(path.name.removeprefix("step-")) for path in found)


@dataclass(frozen=True)
class Whole:
    """A run that nobody stopped."""

    config: Path
    told: list[str]
    bundle: dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    config = write_run(folder, training=LONG)
    out = told(succeed("train", config, "--quiet"))
    return Whole(config, out, contents(folder / "run" / "bundle"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_goes_on_to_the_same_bundle(
    whole: Whole, number: signal.Signals
) -> None:
    folder, config = whole.config.parent, whole.config
    shutil.rmtree(folder / "run")  # the same folder, since the card names it
    process = start("train", config, "--quiet")
    wait_until(lambda: len(steps(folder)) > 0, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert steps(folder)[-1] < 32
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 75
        sentence, line = err.splitlines()
        assert f"stopped by {number.name} after step {steps(folder)[-1]} of 32" in sentence
        assert json.loads(line)["hint"] == "Go on with --resume."
    assert told(succeed("train", config, "--resume", "--quiet")) == whole.told
    assert contents(folder / "run" / "bundle") == whole.bundle


def test_two_processes_give_one_bundle_and_one_report(tmp_path: Path) -> None:
    config = write_run(tmp_path, training={**TRAINING, "epochs": 2})
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    process = start("train", config, launcher=launcher)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("rows read 2,400 = ") == 1
    assert out.count("version ") == 1
    assert err.count("training 6 tasks on 1,600 rows") == 1
    assert "2 processes" in err
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert f"version {bundle.version[:12]}" in out
    alone = succeed("train", config, "--output", tmp_path / "alone", "--quiet")
    assert alone.splitlines()[0] == out.splitlines()[0]


def test_a_verb_in_a_process_of_its_own(trained: Path, bundle: Path) -> None:
    process = start("evaluate", bundle, trained / "test.parquet", "--resamples", "0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == succeed("evaluate", bundle, trained / "test.parquet", "--resamples", "0")


def test_the_reader_of_the_output_may_leave(bundle: Path) -> None:
    with start("card", bundle) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err
    assert process.returncode == 1
