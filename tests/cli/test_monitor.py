"""``polyrank monitor`` at the command line, on the bundle of all tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.scoring import PREFIX, Scorer
from tests.cli.workbench import run, succeed

LABELS = ["click", "long_view", "purchase", "like", "report", "watch_time_s"]


@pytest.fixture(scope="module")
def served(trained: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what was served of the training rows, and later their labels."""
    folder = tmp_path_factory.mktemp("served")
    table = pq.read_table(trained / "train.parquet")
    scored = Scorer(load_bundle(bundle)).score(table)
    log = table.drop_columns(LABELS)
    for name in scored.column_names:
        if name.startswith(PREFIX):
            log = log.append_column(name, scored[name])
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(table.select(["request_id", "item_id", *LABELS]), folder / "labels.parquet")
    place = log.schema.get_field_index("hour")
    late = log.set_column(place, "hour", pa.array(np.full(log.num_rows, 3)))
    pq.write_table(late, folder / "late.parquet")
    return folder


def test_training_keeps_a_profile_that_its_validation_rows_agree_with(
    trained: Path, bundle: Path
) -> None:
    profile = load_bundle(bundle).profile
    assert profile is not None
    assert profile.on == "the validation part"
    log = trained / "validation.parquet"
    screen = succeed("monitor", log, "--bundle", bundle, "--fail-on", "note")
    assert f"{log} against the validation part" in screen
    assert "no change beyond chance and thresholds" in screen
    assert "nothing is called a drift" in screen, "of so few users"
    rows = [line.split() for line in screen.splitlines() if line.startswith("item_category ")]
    assert [float(row[1]) for row in rows] == [0.0]


def test_a_drifted_log_fails_where_asked(served: Path, bundle: Path, tmp_path: Path) -> None:
    log = served / "log.parquet"
    words = ("monitor", served / "late.parquet", "--bundle", bundle, "--reference", log)
    outcome = run(*words, "--fail-on", "alarm", "--json", tmp_path / "found.json")
    assert outcome.code == 1
    assert "alarm" in outcome.out
    assert "hour: PSI" in outcome.out
    tree = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert tree["level"] == "alarm"
    assert {each["name"] for each in tree["findings"]} == {"hour"}
    assert run(*words).code == 0, "unless asked"
    calm = run(*words, "--psi-note", "50", "--psi-alarm", "50", "--fail-on", "note")
    assert calm.code == 0
    assert all(len(line) <= 100 for line in outcome.out.splitlines() if "parquet" not in line)


def test_one_threshold_given_alone_takes_the_other_along(served: Path, tmp_path: Path) -> None:
    words = ("monitor", served / "log.parquet", "--reference", served / "log.parquet")
    for flag, value in (("--psi-note", 0.3), ("--psi-alarm", 0.05)):
        succeed(*words, flag, value, "--json", tmp_path / "found.json")
        tree = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["thresholds"]
        assert (tree["psi_note"], tree["psi_alarm"]) == (value, value)
    refused = run(*words, "--psi-note", 0.3, "--psi-alarm", 0.2)
    assert (refused.code, refused.error["where"]) == (2, "--psi-note")
    assert "--psi-alarm 0.2" in refused.error["message"]


def test_labels_are_joined_and_written_for_other_verbs(
    served: Path, bundle: Path, tmp_path: Path
) -> None:
    log, labels, joined = served / "log.parquet", served / "labels.parquet", tmp_path / "j.parquet"
    words = ("monitor", log, "--bundle", bundle, "--labels", labels, "--resamples", "50")
    screen = succeed(*words, "--joined", joined)
    assert "predicted over observed" in screen
    assert screen.splitlines()[1:] == succeed(*words).splitlines()[1:]
    evaluated = json.loads(succeed("evaluate", bundle, joined, "--resamples", "0", "--json"))
    rows = {(row["task"], row["metric"]): row for row in evaluated["rows"]}
    assert rows["click", "ratio"]["rows"] == pq.read_metadata(log).num_rows
    assert run(*words, "--joined", joined).code == 2, "it exists"
    lone = run("monitor", log, "--bundle", bundle, "--joined", tmp_path / "k.parquet")
    assert lone.error["hint"] == "Give --labels TABLE and --bundle FOLDER."


def test_nothing_is_written_where_anything_is_refused(
    served: Path, bundle: Path, tmp_path: Path
) -> None:
    """Whatever is wrong: a bundle without a profile, what lies there, or what is found later."""
    log, labels = served / "log.parquet", served / "labels.parquet"
    bare, joined, found = tmp_path / "bare", tmp_path / "j.parquet", tmp_path / "f.json"
    save_bundle(replace(load_bundle(bundle), profile=None), bare)
    (tmp_path / "mine.yaml").write_text("data: mine\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    pq.write_table(pq.read_table(log).slice(0, 0), tmp_path / "empty.parquet")
    rows = pq.read_table(log)
    words = pa.array(["noon"] * rows.num_rows)
    rows = rows.set_column(rows.schema.get_field_index("hour"), "hour", words)
    pq.write_table(rows, tmp_path / "odd.parquet")
    before = sorted(tmp_path.rglob("*"))
    asked = ("--labels", labels, "--joined", joined, "--json", found)
    for further, told in (
        (("--bundle", bare), "the bundle holds no profile"),
        (("--bundle", bundle, "--out", tmp_path / "mine.yaml"), "is none by its content"),
        (("--bundle", bundle, "--out", joined), "names what --joined names"),
        (("--bundle", bundle, "--json", tmp_path / "no" / "f.json"), "is not there"),
        (("--bundle", bundle, "--reference", tmp_path / "torn.parquet"), ""),
        (("--bundle", bundle), "no rows"),
        (("--bundle", bundle, "--reference", tmp_path / "odd.parquet"), "'hour'"),
        (("--bundle", bundle, "--psi-note", "1", "--psi-alarm", "0.5"), "--psi-alarm"),
    ):
        watched = tmp_path / "empty.parquet" if told == "no rows" else log
        outcome = run("monitor", watched, *asked, *further)
        assert outcome.code in (2, 3), outcome.out
        assert told in outcome.err
        assert sorted(tmp_path.rglob("*")) == before, further
    assert (tmp_path / "mine.yaml").read_text() == "data: mine\n"


def test_a_page_and_a_reference_log(served: Path, tmp_path: Path) -> None:
    log, page = served / "log.parquet", tmp_path / "page.html"
    screen = succeed("monitor", log, "--reference", log, "--out", page)
    assert f"wrote {page}" in screen
    assert "Nothing moved beyond chance" in page.read_text(encoding="utf-8")
    refused = run("monitor", log)
    assert refused.code == 2
    assert "--reference" in refused.error["hint"]
