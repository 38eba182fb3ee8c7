"""``polyrank estimate``: what is shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle
from polyrank.fusion.off_policy import WeightJitter
from polyrank.scoring import Order, weights_of
from polyrank.simulation import Feed, observed
from tests.cli.workbench import FEED, run, succeed

ROWS = 8_000
KNOWN = ("--reward", "click", "--propensity", "propensity", "--temperature", "1.5")
JITTER = WeightJitter(scale=0.2)


@pytest.fixture(scope="module")
def log(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of other users than the bundle's, later than them, with further columns."""
    feed = Feed(FEED.model_copy(update={"num_users": 900, "seed": 3}))
    table = observed(pa.concat_tables(list(feed.tables(ROWS))))
    week = pa.array(table["time_ms"].to_numpy() + 10 * 86_400_000)
    table = table.set_column(table.column_names.index("time_ms"), "time_ms", week)
    requests = table["request_id"].to_pylist()
    centre = weights_of(Order.of(load_bundle(bundle)))
    drawn = {request: JITTER.draw(centre, request) for request in set(requests)}
    for name in centre:
        column = pa.array([drawn[request][name] for request in requests])
        table = table.append_column(f"weight_{name}", column)
    table = table.append_column("half", pa.array([request % 2 for request in requests]))
    path = tmp_path_factory.mktemp("estimate") / "log.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "by_click.yaml"
    path.write_text("{kind: weighted_sum, terms: {click: 1, report: -2}}")
    return path


def test_rankings_beside_what_was_logged(bundle: Path, log: Path, model: Path) -> None:
    screen = succeed("estimate", bundle, log, "--model", model, *KNOWN)
    lines = screen.splitlines()
    assert lines[0] == f"click at the first place of a request: {bundle} on {log}"
    found = json.loads(succeed("estimate", bundle, log, "--model", model, *KNOWN, "--json"))
    table = pq.read_table(log)
    first = table.filter(pa.array(table["position"].to_numpy() == 1))
    assert found["logged"]["value"] == pytest.approx(first["click"].to_numpy().mean())
    assert [policy["name"] for policy in found["policies"]] == ["in force", "by_click"]
    for name, told in (
        ("logged", found["logged"]),
        *((one["name"], one["estimate"]) for one in found["policies"]),
    ):
        row = next(line for line in lines if line.startswith(name))
        assert f"{told['value']:.4f}" in row
        assert f"{told['lower']:.4f} to {told['upper']:.4f}" in row
        assert f"{told['effective_rows']:.0f} of 800" in row
    beyond = [line for line in lines if line.startswith("by_click")][1]
    for key in ("to_logged", "to_in_force"):
        assert f"{found['policies'][1][key]['value']:+.5f}" in beyond
    assert "cut" not in lines[1]
    assert "snips over 800 requests" in screen
    assert "Gumbel noise of 1.5 standard deviations within requests" in screen
    assert "intervals are over users" in screen
    assert not run("estimate", bundle, log, *KNOWN).err


def test_other_ways_to_ask(bundle: Path, log: Path, model: Path) -> None:
    words = ("estimate", bundle, log, "--model", model)
    screen = succeed(*words, *KNOWN, "--estimator", "clipped_ips", "--cap", "1.5")
    assert "cut" in screen.splitlines()[1]
    screen = succeed(*words, *KNOWN, "--estimator", "dr", "--reward", "long_view=2.5")
    assert "click + 2.5 x long_view at the first place of a request" in screen
    assert "dr over 800 requests" in screen
    screen = succeed(*words, *KNOWN[:-1], 6, "--places", 2, "--over", "place")
    assert "click at each of the first 2 places of a request" in screen
    assert "at one place below what was logged above it" in screen
    few = pq.read_table(log).filter(pa.array(pq.read_table(log)["half"].to_numpy() == 1))
    screen = succeed(*words, "--reward", "click", "--randomised", "half", "--temperature", 9)
    assert f"left out: {800 - few.num_rows // 10} requests not randomised" in screen
    other = model.parent / "other" / model.name
    other.parent.mkdir()
    other.write_text("{kind: weighted_sum, terms: {click: 2, report: -4}}")
    found = json.loads(succeed(*words, "--model", other, *KNOWN, "--json"))
    names = [policy["name"] for policy in found["policies"]]
    assert names == ["in force", str(model), str(other)]
    screen = succeed(*words[:3], "--reward", "click", "--jitter", 0.2, "--narrow", 0.18)
    assert "its weights, each drawn within 18.0% of it for every request" in screen


def test_one_request_left_out_is_told_as_one(bundle: Path, log: Path, tmp_path: Path) -> None:
    table = pq.read_table(log)
    known = [None, *table["propensity"].to_pylist()[1:]]
    table = table.set_column(table.column_names.index("propensity"), "propensity", [known])
    pq.write_table(table, tmp_path / "log.parquet")
    screen = succeed("estimate", bundle, tmp_path / "log.parquet", *KNOWN)
    assert "left out: 1 request with a propensity that is unknown" in screen


def test_what_is_not_told_says_why(bundle: Path, log: Path, tmp_path: Path) -> None:
    """A ranking that is refused, and two that agree nearly everywhere."""
    for name, terms in (
        ("one", "click: 1"),
        ("same", "click: 1, like: .001"),
        ("far", "click: -1"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"{{kind: weighted_sum, terms: {{{terms}}}}}")
    words = ("fuse", bundle, "--model", tmp_path / "one.yaml", "--apply", tmp_path / "bundle")
    succeed(*words)
    models = ("--model", tmp_path / "same.yaml", "--model", tmp_path / "far.yaml")
    screen = succeed(
        "estimate", tmp_path / "bundle", log, *models, *KNOWN[:4], "--temperature", ".9"
    )
    lines = screen.splitlines()
    value, beyond = (line.split() for line in lines if line.startswith("far "))
    assert (value, beyond) == (["far", "-"], ["far"])
    assert any(line.startswith("far: off-policy: snips: importances of place") for line in lines)


def test_rows_that_were_trained_on_are_told(trained: Path, bundle: Path) -> None:
    words = ("estimate", bundle, trained / "train.parquet", *KNOWN[:-1], 9)
    outcome = run(*words)
    assert "this is the log that the bundle was trained on" in outcome.err


def test_what_is_refused(trained: Path, bundle: Path, log: Path, model: Path) -> None:
    def refused(*words: object, code: int = 2) -> str:
        outcome = run("estimate", bundle, log, *words)
        assert outcome.code == code
        assert not outcome.out
        return outcome.err

    assert "no task earns anything" in refused("--propensity", "propensity")
    assert "'clik' is no task. Did you mean 'click'" in refused("--reward", "clik", *KNOWN[2:])
    assert "'x' for 'click', which is no number" in refused("--reward", "click=x", *KNOWN[2:])
    assert "'click' twice" in refused(*KNOWN, "--reward", "click=2")
    same = ("--model", model, "--model", model)
    assert f"--model names '{model}' twice" in refused(*KNOWN, *same)
    assert "--model names 'in force' twice" in refused(
        *KNOWN, "--model", model.rename(model.with_name("in force.yaml"))
    )
    model.with_name("in force.yaml").rename(model)
    assert "--narrow says nothing without --jitter" in refused(*KNOWN, "--narrow", 0.1)
    assert "--centre says nothing without --jitter" in refused(*KNOWN, "--centre", model)
    assert "--temperature says nothing beside --jitter" in refused(
        *KNOWN[:2], *KNOWN[4:], "--jitter", 0.2
    )
    assert "--over says nothing beside --jitter" in refused(
        *KNOWN[:2], "--over", "place", "--jitter", 0.2
    )
    assert "takes one of --propensity and --randomised" in refused(*KNOWN, "--randomised", "half")
    assert "--cap says nothing with snips" in refused(*KNOWN, "--cap", 5)
    assert "--jitter: scale" in refused("--reward", "click", "--jitter", 2)
    assert "weight 'like': is missing" in refused(
        "--reward", "click", "--jitter", 0.2, "--model", model
    )
    told = refused("--reward", "click", code=3)
    assert "no --propensity names a column" in told
    assert "log every candidate that was ranked" in told
    told = refused(*KNOWN[:4], "--places", 4, code=3)
    assert "importances of place" in told
    assert "fewer than `min_effective` 100" in told
    assert "With --temperature" in told or "No temperature up to 4" in told
    told = refused(*KNOWN[:4], "--reward", "report=-1", "--places", 4, "--model", model, code=3)
    assert "2 rankings cannot be judged by the 8,000 rows" in told
    assert "- by_click: importances" in told
    model.write_text("{kind: weighted_sum, terms: {clik: 1}}")
    assert "by_click.yaml: terms.clik: 'clik' is no task" in refused(*KNOWN, "--model", model)
    few = run("estimate", bundle, trained / "test.parquet", *KNOWN)
    assert few.code == 3
    assert "fewer than `min_effective` 100" in few.err
