"""``polyrank simulate``: what it shows is what the experiment found."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyrank.simulation.experiment import ARMS
from tests.cli.workbench import Outcome, run, succeed

SMALL = (
    *("--set", "rows=3000", "--set", "feed.num_users=80", "--set", "feed.num_items=60"),
    *("--set", "experiment.candidates=12"),
)


@pytest.fixture(scope="module")
def shown() -> Outcome:
    outcome = run("simulate", *SMALL, "--days", 2, "--seed", 4)
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """The same, for machines, from a process of its own."""
    words = (sys.executable, "-m", "polyrank", "simulate", *SMALL, "--days", "2", "--seed", "4")
    done = subprocess.run(
        (*words, "--json", "--quiet"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tree: dict[str, Any] = json.loads(done.stdout)
    return tree


def test_it_fits_a_screen_of_100_columns(shown: Outcome) -> None:
    assert max(map(len, shown.out.splitlines())) <= 100
    assert "…" not in shown.out
    assert "day 2 of 2: " in shown.err
    assert "the same 80 users in every arm, 2 days, 3,000 impressions to learn from" in shown.out


def test_screen_and_json_tell_the_same(shown: Outcome, found: dict[str, Any]) -> None:
    values, differences, rest = shown.out.split("Difference from logging")[0], *_parts(shown.out)
    for arm in ARMS:
        (line,) = [line for line in values.splitlines() if line.startswith(arm + " ")]
        told = found["arms"][arm]
        assert line.split()[1] == f"{100 * told['clicks']:.1f}"
        assert line.split()[-1] == f"{told['returns']:.2f}"
        if arm != "logging":
            (line,) = [line for line in differences.splitlines() if line.startswith(arm + " ")]
            relative = found["differences"][arm]["returns"]["relative"]
            assert line.split()[-1] == f"{100 * relative:+.1f}"
            (line,) = [line for line in rest.splitlines() if line.startswith(arm + " ")]
            assert line.split()[1] == found["verdicts"][arm]["returns"]
            assert line.endswith("launch ") == found["verdicts"][arm]["launch"]
    for claim in found["story"]:
        assert claim["text"] in rest
        assert claim["told"] in rest


def _parts(out: str) -> tuple[str, str]:
    differences, _, rest = out.partition("Difference from logging")[2].partition("Verdicts against")
    return differences, rest


def test_json_says_what_was_simulated(found: dict[str, Any]) -> None:
    config = found["config"]
    assert config["feed"]["seed"] == 4
    assert config["experiment"]["days"] == 2
    assert config["experiment"]["returns"]["report"] == 1.2
    assert set(found["arms"]) == set(ARMS)
    assert {claim["answer"] for claim in found["story"]} <= {"holds", "fails", "not shown"}
    assert all(math.isfinite(weight) for weight in found["tuned_weights"].values())
    assert found["seconds"] > 0


def test_a_split_a_file_and_a_bundle_of_ones_own(tmp_path: Path, bundle: Path) -> None:
    file = tmp_path / "feed.yaml"
    file.write_text(
        "rows: 3000\n"
        "feed: {num_users: 160, num_items: 60, clickbait_strength: 1.0}\n"
        "experiment: {candidates: 12, days: 1}\n"
    )
    words = ("--feed", file, "--split", "--reference", "random", "--bundle", f"mine={bundle}")
    outcome = run("simulate", *words, "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert "Difference from random" in outcome.out
    assert "users an arm, 1 days" not in outcome.out
    assert "users an arm, 1 day," in outcome.out
    mine = [line for line in outcome.out.splitlines() if line.startswith("mine ")]
    assert len(mine) == 3


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("--reference", "loging"), ("no arm", "'loging'", "logging")),
        (("--bundle", "tuned=x"), ("--bundle names 'tuned'", "is an arm")),
        (("--bundle", "mine"), ("--bundle NAME=FOLDER",)),
        (("--set", "feed.clickbait_strenght=1"), ("strenght", "clickbait_strength")),
        (("--set", "experiment.candidates=5"), ("candidates", "from 10", "got 5")),
        (("--feed", "nothing.yaml"), ("nothing.yaml", "cannot be read")),
        (("--days", "0"), ("--days",)),
    ],
)
def test_what_is_refused_before_any_work(
    words: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    outcome = run("simulate", *words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "training" not in outcome.err
    for fragment in fragments:
        assert fragment in outcome.err


def test_a_bundle_that_cannot_rank_the_feed_is_refused_before_any_work(
    tmp_path: Path, bundle: Path
) -> None:
    model = tmp_path / "model.yaml"
    model.write_text(
        "{kind: weighted_sum, terms: {click: 1}, demotion: {column: publisher, decay: .5}}"
    )
    succeed("fuse", bundle, "--model", model, "--apply", tmp_path / "bundle")
    outcome = run("simulate", *SMALL, "--bundle", f"mine={tmp_path / 'bundle'}")
    assert outcome.code == 2
    assert "training" not in outcome.err
    assert "arm 'mine': cannot rank what the feed offers" in outcome.err
    assert "column 'publisher'" in outcome.err
