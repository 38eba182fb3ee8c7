"""What is wrong is named: file, column, rows, rule and cure. Nothing is lost or half done."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.storage import RunLock
from tests.cli.workbench import (
    TRAINING,
    Outcome,
    feed_log,
    run,
    schema_tree,
    succeed,
    told,
    tree_of,
    write_run,
    write_yaml,
)

Change = Callable[[pa.Table], pa.Table]


def put(name: str, kind: pa.DataType | None = None, **rows: Any) -> Change:
    """Sets values of a column: ``r17=2`` is row 17."""

    def change(log: pa.Table) -> pa.Table:
        values = log[name].to_pylist()
        for row, value in rows.items():
            values[int(row.removeprefix("r"))] = value
        place = log.schema.get_field_index(name)
        return log.set_column(place, name, pa.array(values, kind or log.schema.field(name).type))

    return change


def clicked(number: int) -> int:
    return int(np.flatnonzero(feed_log()["click"].to_numpy() == 1)[number])


@dataclass(frozen=True)
class Case:
    """A fault of the log and what has to be said of it."""

    change: Change
    where: str
    rule: str
    cure: str


def text_of(column: str) -> Change:
    return lambda log: log.set_column(
        log.schema.get_field_index(column),
        column,
        pa.array([f"about {value}" for value in log[column].to_pylist()]),
    )


CASES = {
    "missing column": Case(
        lambda log: log.drop_columns(["item_category"]),
        "log.parquet",
        "lacks column 'item_category' (categorical feature 'item_category')",
        "Did you mean",
    ),
    "renamed column": Case(
        lambda log: log.rename_columns({"item_category": "item_categories"}),
        "log.parquet",
        "lacks column 'item_category'",
        "Did you mean 'item_categories'?",
    ),
    "wrong type": Case(text_of("user_activity"), "log.parquet", "column 'user_activity'", "number"),
    "label outside its range": Case(
        put("click", r17=2, r30=3), "rows 17-30, column 'click'", "0 or 1", "missing_values"
    ),
    "negative watch time": Case(
        put("watch_time_s", **{f"r{clicked(4)}": -0.5}),
        f"row {clicked(4)}, column 'watch_time_s'",
        "-0.5",
        "",
    ),
    "infinite feature": Case(
        put("user_activity", r40=np.inf, r41=-np.inf),
        "rows 40-41, column 'user_activity'",
        "finite",
        "null",
    ),
    "time in the future": Case(
        put("time_ms", r2399=4_102_444_800_000_000), "row 2399, column 'time_ms'", "", ""
    ),
    "position below 1": Case(put("position", r5=0), "row 5, column 'position'", "0", ""),
    "no rows": Case(lambda log: log.slice(0, 0), "log.parquet", "no rows", "Check which files"),
}


@pytest.mark.parametrize("verb", ["validate", "train"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_faulty_log(tmp_path: Path, case: Case, verb: str) -> None:
    outcome = run(verb, write_run(tmp_path, case.change(feed_log())))
    assert outcome.code == 3
    problem = _innermost(outcome)
    assert case.where in problem["where"]
    assert case.rule in problem["message"]
    assert case.cure in problem["hint"]
    assert problem["hint"]
    assert not (tmp_path / "run" / "bundle").exists()


def _innermost(outcome: Outcome) -> dict[str, Any]:
    """The one problem, perhaps inside the sentence that says how many rows are refused."""
    problem = outcome.error
    while "problems" in problem:
        (problem,) = problem["problems"]
    return problem


@pytest.mark.parametrize("verb", ["validate", "train"])
@pytest.mark.parametrize("size", [0, 9, 4000, -9, -4000])
def test_a_file_that_is_cut_off(tmp_path: Path, size: int, verb: str) -> None:
    config = write_run(tmp_path)
    log = tmp_path / "log.parquet"
    log.write_bytes(log.read_bytes()[:size])
    outcome = run(verb, config)
    assert outcome.code == 3
    assert outcome.error["where"] == "log.parquet"
    assert "damaged or incomplete" in outcome.error["hint"]


@pytest.mark.parametrize("verb", ["validate", "train"])
def test_a_flipped_bit_in_a_page(tmp_path: Path, verb: str) -> None:
    config = write_run(tmp_path)
    log = tmp_path / "log.parquet"
    pq.write_table(feed_log(), log, write_page_checksum=True)
    data = bytearray(log.read_bytes())
    column = pq.read_metadata(log).row_group(0).column(8)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 16
    log.write_bytes(data)
    outcome = run(verb, config)
    assert outcome.code == 3
    assert "log.parquet" in outcome.error["where"]


@pytest.mark.parametrize("verb", ["validate", "train"])
def test_a_key_that_is_misspelt(tmp_path: Path, verb: str) -> None:
    config = write_run(tmp_path, training={"learning_rat": 0.1})
    error = run(verb, config).error
    assert error["where"] == "ranker.yaml: training.learning_rat"
    assert error["hint"] == "Did you mean 'learning_rate'?"


@pytest.mark.parametrize("verb", ["validate", "train"])
@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("schema: [", "is no YAML in line 1"),
        ("- a list", "no mapping"),
        ("data: {}\ndata: {}", 'found duplicate key "data"'),
        ("data: {}\n\tschema: {}", "is no YAML in line 2"),
        ("start: 2022-13-45", "month"),
        ("[" * 1000, "is no YAML"),
        ("data: \0", "is no YAML"),
        ("", "no mapping"),
        ("\udcff", "is no YAML"),
    ],
)
def test_a_file_that_is_no_configuration(
    tmp_path: Path, text: str, fragment: str, verb: str
) -> None:
    (tmp_path / "ranker.yaml").write_bytes(text.encode(errors="surrogateescape"))
    outcome = run(verb, tmp_path / "ranker.yaml")
    assert outcome.code == 2
    assert outcome.error["where"] == "ranker.yaml"
    assert fragment in outcome.error["message"]


@pytest.mark.parametrize(
    ("setting", "fragment"),
    [
        ("training.epochs", "is no setting"),
        ("training.epochs=[", "is no YAML"),
        ("training.epochs.x=1", "no mapping"),
        ("training.epochs=0", "greater than 0"),
        ("training.epoch=3", "Did you mean 'epochs'?"),
        ("training=3", "must be a mapping"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, setting: str, fragment: str) -> None:
    outcome = run("train", write_run(tmp_path), "--set", setting)
    assert outcome.code == 2
    assert fragment in outcome.err
    assert "\n" not in outcome.error["message"]


@pytest.mark.parametrize("verb", ["validate", "train"])
def test_a_label_used_as_a_feature(tmp_path: Path, verb: str) -> None:
    schema = schema_tree()
    schema["features"].append({"kind": "numeric", "name": "seconds", "column": "watch_time_s"})
    outcome = run(verb, write_run(tmp_path, schema=schema))
    assert outcome.code == 2
    assert outcome.error["where"] == "ranker.yaml: schema.features.13.column"
    assert "'watch_time_s', which is a label: a leak" in outcome.error["message"]


@pytest.mark.parametrize("verb", ["validate", "train"])
def test_keys_that_a_side_table_repeats(tmp_path: Path, verb: str) -> None:
    schema = {**schema_tree(), "tables": [{"name": "items", "on": "item_id"}]}
    item = feed_log()["item_id"][0].as_py()
    rest = sorted(set(feed_log()["item_id"].to_pylist()) - {item})
    side = pa.table({"item_id": [item, *rest, item], "item_author": [1] * (len(rest) + 2)})
    pq.write_table(side, tmp_path / "items.parquet")
    tree = tree_of(schema=schema, output=str(tmp_path / "run"))
    tree["data"]["tables"] = {"items": "items.parquet"}
    pq.write_table(feed_log().drop_columns(["item_author"]), tmp_path / "log.parquet")
    outcome = run(verb, write_yaml(tmp_path / "ranker.yaml", tree))
    assert outcome.code == 3
    assert outcome.error["where"] == "table 'items' (items.parquet), column 'item_id'"
    assert f"{item} in rows 0, {len(rest) + 1}" in outcome.error["message"]
    assert "one row a key" in outcome.error["hint"]


# Bundles.


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", bundle, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def _uses(bundle: Path, log: Path, out: Path) -> Iterator[Outcome]:
    yield run("card", bundle)
    yield run("evaluate", bundle, log)
    yield run("score", bundle, log, out)
    yield run("compare", bundle, bundle, log)


def test_a_changed_byte_in_any_file_of_a_bundle(copied: Path, trained: Path) -> None:
    for file in sorted(copied.iterdir()):
        if file.is_dir():
            continue
        data = file.read_bytes()
        file.write_bytes(data[:-7] + bytes([data[-7] ^ 1]) + data[-6:])
        outcome = run("card", copied)
        assert outcome.code == 4, file.name
        file.write_bytes(data)
    weights = copied / "weights.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for outcome in _uses(copied, trained / "test.parquet", trained / "never.parquet"):
        assert outcome.code == 4
        assert "weights.safetensors" in outcome.err
    assert not (trained / "never.parquet").exists()


def test_a_bundle_of_a_newer_format(copied: Path, trained: Path) -> None:
    path = copied / "MANIFEST.json"
    tree = json.loads(path.read_text())
    tree["format_version"] += 1
    path.write_text(json.dumps(tree))
    for outcome in _uses(copied, trained / "test.parquet", trained / "never.parquet"):
        assert outcome.code == 4


def test_no_bundle_at_all(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    for path in (tmp_path, tmp_path / "model.pt"):
        for outcome in _uses(path, trained / "test.parquet", tmp_path / "out.parquet"):
            assert outcome.code == 4


# Disks.


@contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """A small disk of its own; a skip where this user may not mount one."""
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small disk")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_a_run_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    with mounted(tmp_path / "disk", "ro") as disk:
        outcome = run("train", config, "--output", disk / "run")
    assert outcome.code == 6
    assert "read-only" in outcome.error["hint"]
    (tmp_path / "file").write_text("")
    assert run("train", config, "--output", tmp_path / "file" / "run").code == 6
    assert run("train", config, "--output", tmp_path / "file").code == 2


@pytest.mark.parametrize(("size", "what"), [("300k", "rows-"), ("700k", "step-")])
def test_a_full_disk_and_going_on_when_there_is_space(tmp_path: Path, size: str, what: str) -> None:
    config = write_run(tmp_path, training={**TRAINING, "checkpoint": {"every": 1}})
    whole = succeed("train", config, "--quiet")
    with mounted(tmp_path / "disk", f"size={size}") as disk:
        words = ["train", config, "--output", disk / "run", "--quiet"]
        full = run(*words)
        assert full.code == 6
        assert full.error["where"].startswith(what)
        assert "Free space" in full.error["hint"]
        assert not (disk / "run" / "bundle").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        out = succeed(*words, "--resume")
    assert told(out) == told(whole)


def test_a_full_disk_while_scoring(bundle: Path, trained: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8k") as disk:
        outcome = run("score", bundle, trained / "train.parquet", disk / "scored.parquet")
        assert outcome.code == 6
        assert outcome.error["where"] == "scored.parquet"
        assert list(disk.iterdir()) == []


def test_a_second_trainer_in_the_folder(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"):
        outcome = run("train", config)
    assert outcome.code == 2
    assert f"pid {os.getpid()} " in outcome.error["message"]
    assert "another directory" in outcome.error["hint"]
    succeed("train", config, "--quiet")
