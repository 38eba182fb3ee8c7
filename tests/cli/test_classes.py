"""Tasks of levels and of classes through the command line, from a log to a ranking."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank import Ranker
from polyrank.evaluation import Evaluation
from polyrank.scoring import PREFIX
from tests.cli.workbench import ROWS, TEST_ROWS, feed_log, run, schema_tree, succeed, write_run

CLASSES = {"none": 0, "like": 1, "love": 4}
TASKS = [
    {"kind": "binary", "name": "click"},
    {"kind": "ordinal", "name": "stars", "levels": [1, 2, 3.5], "within": "click"},
    {"kind": "multiclass", "name": "reaction", "classes": CLASSES},
]


def log() -> pa.Table:
    """The feed, with grades that follow the watch time and reactions that follow the like."""
    feed, rng = feed_log(), np.random.default_rng(0)
    seconds = feed["watch_time_s"].to_numpy()
    clicked = ~np.isnan(seconds)
    stars = np.array([1, 2, 3.5])[np.digitize(np.nan_to_num(seconds), [20, 60])]
    likes = np.nan_to_num(feed["like"].to_numpy()) + np.nan_to_num(feed["click"].to_numpy())
    loves = (likes > 0) & (rng.random(ROWS) < 0.3)
    names = np.where(loves, "love", np.where(likes > 0, "like", "none"))
    return feed.append_column("stars", pa.array(stars, mask=~clicked)).append_column(
        "reaction", pa.array(names, mask=rng.random(ROWS) < 0.1)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("classes")
    config = write_run(place, log(), schema=schema_tree() | {"tasks": TASKS})
    assert "no problem" in succeed("validate", config)
    assert "stars" in succeed("explain", config)
    succeed("train", config, "--test")
    return place


def test_the_report_has_the_metrics_of_numbers_in_the_users_unit(folder: Path) -> None:
    bundle, given = folder / "run" / "bundle", folder / "log.parquet"
    out = succeed("evaluate", bundle, given, "--part", "test", "--json", "--resamples", 0)
    report = Evaluation.from_json(out)
    told = {(row.task, row.metric) for row in report.rows}
    for task in ("stars", "reaction"):
        assert {metric for name, metric in told if name == task} >= {"mae", "rmse", "xauc"}
        assert not {metric for name, metric in told if name == task} & {"auc", "ne", "ndcg"}
    scored = Ranker.load(bundle).score(given)
    held = pq.read_table(given).slice(ROWS - TEST_ROWS)
    worth = np.array([CLASSES.get(name, np.nan) for name in held["reaction"].to_pylist()])
    error = np.abs(scored[PREFIX + "reaction"].to_numpy()[ROWS - TEST_ROWS :] - worth)
    assert report.row("reaction", "mae").value == pytest.approx(np.nanmean(error), rel=1e-9)


def test_predictions_are_within_levels_and_worths(folder: Path) -> None:
    out = folder / "scored.parquet"
    succeed("score", folder / "run" / "bundle", folder / "log.parquet", out, "--force")
    scored = pq.read_table(out)
    for task, low, high in (("stars", 1, 3.5), ("reaction", 0, 4)):
        values = scored[PREFIX + task].to_numpy()
        assert low < values.min() < values.max() < high
    field = scored.schema.field(PREFIX + "stars")
    assert field.metadata == {b"quantity": b"E(stars | click = 1)"}


def test_further_predictions_are_probabilities_of_levels_and_classes(folder: Path) -> None:
    out = folder / "further.parquet"
    words = ("score", folder / "run" / "bundle", folder / "log.parquet", out)
    succeed(*words, "--further", "--force")
    scored = pq.read_table(out)
    known = {
        "stars": {"1": 1.0, "2": 2.0, "3.5": 3.5},
        "reaction": {name: float(worth) for name, worth in CLASSES.items()},
    }
    for task, values in known.items():
        probs = {name: scored[f"{PREFIX}{task}.prob_{name}"].to_numpy() for name in values}
        assert sum(probs.values()) == pytest.approx(np.ones(ROWS))
        expected = sum(probs[name] * value for name, value in values.items())
        assert scored[PREFIX + task].to_numpy() == pytest.approx(expected)


def test_training_measures_as_the_report_does(folder: Path) -> None:
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    metrics = [record["metrics"] for record in found if "metrics" in record][-1]
    words = ("evaluate", folder / "run" / "bundle", folder / "log.parquet")
    held_out = ("--part", "validation", "--json", "--resamples", 0)
    report = Evaluation.from_json(succeed(*words, *held_out))
    for task in ("stars", "reaction"):
        assert metrics[f"{task}.mae"] == pytest.approx(report.row(task, "mae").value, rel=1e-5)


def test_it_learns_the_distribution(folder: Path) -> None:
    scored = Ranker.load(folder / "run" / "bundle").score(folder / "log.parquet")
    train = slice(0, ROWS - TEST_ROWS)
    worth = np.array([CLASSES.get(name, np.nan) for name in log()["reaction"].to_pylist()])
    mean = np.nanmean(worth[train])
    assert scored[PREFIX + "reaction"].to_numpy()[train].mean() == pytest.approx(mean, rel=0.15)


def test_they_enter_the_ranking(folder: Path) -> None:
    ranker = Ranker.load(folder / "run" / "bundle")
    candidates = log().slice(0, 30)
    assert len(ranker.rank(candidates)) == 30
    best = ranker.rank(candidates, by={"reaction": 1.0})
    values = best[PREFIX + "reaction"].to_numpy()
    assert (np.diff(values) <= 0).all()


def test_a_bundle_compares_with_itself(folder: Path) -> None:
    bundle, given = folder / "run" / "bundle", folder / "log.parquet"
    out = succeed("compare", bundle, bundle, given, "--part", "test", "--resamples", 40)
    assert "reaction" in out
    assert "stars" in out


def test_the_card_says_what_is_predicted(folder: Path) -> None:
    told = succeed("card", folder / "run" / "bundle")
    assert "multiclass; predicted: E(worth of reaction)" in told
    assert "ordinal, within click; predicted: E(stars \\| click = 1)" in told


def test_a_class_that_nobody_named_stops_the_run(tmp_path: Path) -> None:
    names = log()["reaction"].to_pylist()
    names[7] = "wow"
    place = log().schema.get_field_index("reaction")
    config = write_run(
        tmp_path,
        log().set_column(place, "reaction", pa.array(names)),
        schema=schema_tree() | {"tasks": TASKS},
    )
    for verb in ("validate", "train"):
        outcome = run(verb, config)
        assert outcome.code == 3
        assert "the label is one of none, like, love" in outcome.err + outcome.out


def test_a_head_of_another_kind_is_refused(tmp_path: Path) -> None:
    config = write_run(
        tmp_path,
        log(),
        schema=schema_tree() | {"tasks": TASKS},
        model={"heads": {"stars": {"kind": "softmax"}}},
    )
    outcome = run("validate", config)
    assert outcome.code == 2
    assert "head 'softmax' stands on multiclass tasks, and 'stars' is ordinal" in outcome.err
    assert json.loads(outcome.err.splitlines()[-1])["where"]
