"""``polyrank demo``: what it says is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle
from polyrank.cli import demo_ranking
from polyrank.cli.tables import console
from polyrank.evaluation import Evaluation
from polyrank.scoring import PREFIX, Scorer
from polyrank.simulation import observed
from polyrank.storage import RunLock
from tests.cli.workbench import Outcome, run, succeed

ROWS = 5000
WORDS = ("--rows", str(ROWS), "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "demo"


@pytest.fixture(scope="module")
def shown(folder: Path) -> Outcome:
    outcome = run("demo", "--folder", folder, "--rows", ROWS)
    assert outcome.code == 0, outcome.err
    return outcome


def test_it_fits_a_screen_of_100_columns(shown: Outcome) -> None:
    tables = shown.out.partition("Next:")[0]
    assert max(map(len, tables.splitlines())) <= 100
    assert "…" not in shown.out
    assert max(map(len, shown.err.splitlines())) <= 180


def test_it_says_what_it_does_and_how_long_it_took(shown: Outcome, folder: Path) -> None:
    assert f"simulated {ROWS:,} impressions into {folder / 'log.parquet'}" in shown.err
    assert "training 6 tasks on" in shown.err
    assert "nothing reads" not in shown.err
    told = f"rows read {ROWS:,} = used {ROWS:,} + masked 0 + quarantined 0 + filtered 0"
    assert told in shown.out
    used = pq.read_table(folder / "last_day.parquet").num_rows
    assert re.search(
        rf"^used by part: train [\d,]+, validation [\d,]+, test {used:,}$", shown.out, re.M
    )
    assert re.search(rf"^\d+ s for {ROWS:,} impressions", shown.out, re.MULTILINE)


def test_the_metrics_are_those_of_the_last_day_in_the_bundle(shown: Outcome, folder: Path) -> None:
    bundle = load_bundle(folder / "run" / "bundle")
    found = Evaluation.from_json(bundle.card.metrics["test"])
    last_day = pq.read_table(folder / "last_day.parquet")
    assert found.row("click", "auc").rows == last_day.num_rows
    dates = bundle.card.data
    assert str(pc.min(last_day["time_ms"]).as_py()) == dates["test"].first
    assert str(dates["train"].last) < str(dates["validation"].first)
    assert f"{found.value('click', 'auc'):.4f}" in shown.out
    assert not any(name.startswith("truth") for name in bundle.schema.feature_columns())


def test_the_candidates_are_one_request_best_first(shown: Outcome, folder: Path) -> None:
    last_day = pq.read_table(folder / "last_day.parquet")
    table = shown.out.partition("ranked anew")[2].splitlines()[4:14]
    items = [int(line.split()[1]) for line in table]
    scorer = Scorer(load_bundle(folder / "run" / "bundle"))
    request = last_day["request_id"][-1]
    mine = last_day.filter(pc.equal(last_day["request_id"], request))
    assert scorer.rank(observed(mine))["item_id"].to_pylist() == items
    positions = dict(zip(mine["item_id"].to_pylist(), mine["position"].to_pylist(), strict=True))
    assert [positions[item] for item in items] == [int(line.split()[2]) for line in table]


def test_what_an_order_would_bring_is_counted_by_hand(shown: Outcome, folder: Path) -> None:
    last_day = pq.read_table(folder / "last_day.parquet")
    scorer = Scorer(load_bundle(folder / "run" / "bundle"))
    clicks = scorer.score(observed(last_day))[PREFIX + "click"].to_pylist()
    rows = [dict(row, predicted=p) for row, p in zip(last_day.to_pylist(), clicks, strict=True)]
    requests: dict[int, list[dict[str, float]]] = {}
    for row in rows:
        requests.setdefault(row["request_id"], []).append(row)
    for order, key in (("as it was shown", "position"), ("by clicks alone", "predicted")):
        sign = 1 if key == "position" else -1
        top = [
            row
            for candidates in requests.values()
            for row in sorted(candidates, key=lambda row: sign * row[key])[:3]
        ]
        chance = [row["truth_click_probability"] for row in top]
        reports = [row["truth_click_probability"] * row["truth_report_probability"] for row in top]
        (line,) = [line for line in shown.out.splitlines() if line.startswith(order)]
        told = line.removeprefix(order).split()
        assert float(told[0]) == pytest.approx(1000 * sum(chance) / len(top), abs=0.06)
        assert float(told[4]) == pytest.approx(1000 * sum(reports) / len(top), abs=0.06)


def test_the_commands_it_names_work(shown: Outcome) -> None:
    lines = shown.out.partition("Next:\n")[2].splitlines()
    commands = [shlex.split(line) for line in lines]
    assert [words[1] for words in commands] == ["card", "train", "compare"]
    for name, *words in commands:
        assert name == "polyrank"
        assert succeed(*words)


def test_again_in_the_same_folder_gives_the_same_and_keeps_what_was_edited(
    shown: Outcome, folder: Path
) -> None:
    weights = folder / "run" / "bundle" / "weights.safetensors"
    before = weights.read_bytes()
    yaml = folder / "ranker.yaml"
    written = yaml.read_text()
    yaml.write_text("# mine\n" + written)
    out = succeed("demo", "--folder", folder, *WORDS)
    assert (
        out.split("impressions")[0].splitlines()[:-1]
        == (shown.out.split("impressions")[0].splitlines()[:-1])
    )
    assert weights.read_bytes() == before
    assert yaml.read_text() == written
    assert yaml.with_suffix(".yaml.old").read_text() == "# mine\n" + written


def test_it_leaves_a_run_alone_that_is_going_on(shown: Outcome, folder: Path) -> None:
    with RunLock(folder / "run"):
        outcome = run("demo", "--folder", folder, *WORDS)
    assert outcome.code == 2
    assert "another trainer" in outcome.error["message"]
    assert (folder / "run" / "checkpoints").is_dir()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = run("demo", "--folder", tmp_path / "file" / "demo", *WORDS)
    assert outcome.code == 6


def test_on_a_narrow_terminal_the_ids_are_left_out(
    folder: Path, shown: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    last_day = pq.read_table(folder / "last_day.parquet")
    out = console()
    out.width = 80
    demo_ranking.show_request(out, Scorer(load_bundle(folder / "run" / "bundle")), last_day)
    text = capsys.readouterr().out
    assert " item " not in text
    assert "…" not in text
