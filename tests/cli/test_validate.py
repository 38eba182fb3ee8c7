"""``polyrank validate``: everything at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from polyrank.check import check_run
from polyrank.simulation import Feed
from tests.cli.workbench import (
    FEED,
    ROWS,
    feed_log,
    run,
    schema_tree,
    succeed,
    tree_of,
    write_parts,
    write_run,
    write_yaml,
)


def put(log: pa.Table, name: str, changes: dict[int, Any]) -> pa.Table:
    """The log with other values in a column."""
    values = log[name].to_pylist()
    for row, value in changes.items():
        values[row] = value
    place = log.schema.get_field_index(name)
    return log.set_column(place, name, pa.array(values, log.schema.field(name).type))


def clicked(number: int) -> int:
    """The place of a row with a click."""
    return int(np.flatnonzero(feed_log()["click"].to_numpy() == 1)[number])


def test_a_log_in_order(tmp_path: Path) -> None:
    out = succeed("validate", write_run(tmp_path))
    assert out == f"ranker.yaml: {ROWS:,} rows, 13 features, 6 tasks: no problem\n"


def test_one_of_a_kind_is_told_in_the_singular(tmp_path: Path) -> None:
    schema = schema_tree()
    schema["features"] = [f for f in schema["features"] if f["name"] == "surface"]
    schema["tasks"] = [{"kind": "binary", "name": "click"}]
    out = succeed("validate", write_run(tmp_path, schema=schema))
    assert out.endswith(f"ranker.yaml: {ROWS:,} rows, 1 feature, 1 task: no problem\n")


def test_faults_of_configuration_and_log_are_told_together(tmp_path: Path) -> None:
    log = put(put(feed_log(), "click", {17: 2}), "user_activity", {3: np.inf, 40: -np.inf})
    config = write_run(tmp_path, log, trainig={"epochs": 3}, balance={"kind": "statics"})
    outcome = run("validate", config)
    assert outcome.code == 2
    told = {(entry["code"], entry["where"]) for entry in outcome.error["problems"]}
    assert told == {
        ("config", "ranker.yaml: trainig"),
        ("config", "ranker.yaml: balance.kind"),
        ("data", "log.parquet, row 17, column 'click'"),
        ("data", "log.parquet, rows 3-40, column 'user_activity'"),
    }
    assert "Did you mean 'training'?" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "where", "fragment"),
    [
        ("training.select.metrics={click.acu: 1}", "training.select.metrics", "mean 'auc'"),
        ("training.select.metrics={clik.auc: 1}", "training.select.metrics", "mean 'click'"),
        ("training.select.metrics={click.mae: 1}", "training.select.metrics", "not defined for"),
        ("training.select.metrics={click.ratio: 1}", "training.select.metrics", "no better end"),
        ("evaluation.metrics=[acu]", "evaluation.metrics", "mean 'auc'"),
        ("evaluation.metrics=[auc, auc]", "evaluation.metrics", "twice"),
        ("evaluation.resamples=5", "evaluation.resamples", "at least 40"),
        ("evaluation.slices=[surfaec]", "evaluation.slices", "mean 'surface'"),
        ("evaluation.slices=[item_tags]", "evaluation.slices", "no column 'item_tags' of single"),
        ("evaluation.slices=[row]", "evaluation.slices", "more than 1000 values"),
    ],
)
def test_it_refuses_what_training_would_refuse_before_the_first_step(
    tmp_path: Path, setting: str, where: str, fragment: str
) -> None:
    log = feed_log()
    log = log.append_column("row", pa.array(np.arange(log.num_rows)))
    config = write_run(tmp_path, log)
    if "row" in setting:
        setting = setting.replace("[row]", "[row, surface]")
        words = ["--set", "data.split={kind: random, validation: 0.6, accept_leakage: true}"]
    else:
        words = []
    for verb in ("validate", "train"):
        outcome = run(verb, config, "--set", setting, *words)
        assert outcome.code == 2
        assert str(outcome.error["where"]).endswith(where)
        assert fragment in outcome.err
    assert not list(tmp_path.glob("run/step*"))


def test_wrong_metrics_are_told_all_at_once(tmp_path: Path) -> None:
    words = ["--set", "evaluation={metrics: [acu, nee], resamples: 3}"]
    words += ["--set", "training.select.metrics={click.acu: 1, like.acu: 1}"]
    outcome = run("validate", write_run(tmp_path), *words)
    assert len(outcome.error["problems"]) == 5


def test_a_faulty_schema_hides_the_log(tmp_path: Path) -> None:
    schema = schema_tree()
    schema["features"].append({"kind": "numeric", "name": "click"})
    outcome = run("validate", write_run(tmp_path, schema=schema))
    assert outcome.code == 2
    assert "a leak" in outcome.error["message"]
    assert outcome.error["where"] == "ranker.yaml: schema.features.13.column"


def test_the_log_alone_gives_exit_code_3(tmp_path: Path) -> None:
    log = put(feed_log(), "watch_time_s", {clicked(0): -2.5, clicked(9): -1.0})
    outcome = run("validate", write_run(tmp_path, log.drop_columns(["surface"])))
    assert outcome.code == 3
    assert [entry["code"] for entry in outcome.error["problems"]] == ["data", "data"]
    assert "lacks column 'surface'" in outcome.err
    assert f"rows {clicked(0)}-{clicked(9)}, column 'watch_time_s'" in outcome.err


def test_a_part_without_rows(tmp_path: Path) -> None:
    tree = tree_of(output=str(tmp_path / "run"))
    tree["data"]["split"]["test_from"] = feed_log()["time_ms"][-1].as_py() + 1
    pq.write_table(feed_log(), tmp_path / "log.parquet")
    outcome = run("validate", write_yaml(tmp_path / "ranker.yaml", tree))
    assert outcome.code == 3
    assert "none of the 2400 rows of the log is in part 'test'" in outcome.error["message"]


def test_rows_that_may_be_set_aside_are_warnings(tmp_path: Path) -> None:
    log = put(feed_log(), "click", {17: 2, 18: 3})
    config = write_run(tmp_path, log)
    assert run("validate", config).code == 3
    out = succeed("validate", config, "--set", "data.max_quarantine_share=0.01")
    assert "warning: log.parquet, rows 17-18, column 'click'" in out
    assert out.endswith("no problem\n")
    assert run("validate", config, "--set", "data.max_quarantine_share=0.0001").code == 3


def test_a_task_without_labels_is_a_fault_however_many_rows_may_be_set_aside(
    tmp_path: Path,
) -> None:
    log = put(feed_log(), "click", {17: 2})
    place = log.schema.get_field_index("like")
    config = write_run(tmp_path, log.set_column(place, "like", pa.nulls(ROWS, pa.int8())))
    outcome = run("validate", config, "--set", "data.max_quarantine_share=0.01")
    assert outcome.code == 3
    assert outcome.error["where"] == "task 'like'"
    assert "warning: log.parquet, row 17, column 'click'" in outcome.out


def _with_items(tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A run whose item features are in a side table."""
    items = Feed(FEED).items()
    names = [name for name in items.column_names if name != "item_id"]
    pq.write_table(change(items), tmp_path / "items.parquet")
    schema = {**schema_tree(), "tables": [{"name": "items", "on": "item_id"}]}
    tree = tree_of(schema=schema, output=str(tmp_path / "run"))
    tree["data"]["tables"] = {"items": "items.parquet"}
    pq.write_table(feed_log().drop_columns(names), tmp_path / "log.parquet")
    return write_yaml(tmp_path / "ranker.yaml", tree)


def test_a_faulty_side_table_does_not_hide_the_log(tmp_path: Path) -> None:
    config = _with_items(tmp_path, lambda items: pa.concat_tables([items, items.slice(3, 2)]))
    twice = run("validate", config)
    assert twice.code == 3
    assert "items" in twice.error["where"]
    assert "problems" not in twice.error
    pq.write_table(put(feed_log(), "click", {5: 7}), tmp_path / "log.parquet")
    both = run("validate", config)
    assert len(both.error["problems"]) == 2
    assert "row 5, column 'click'" in both.err
    assert run("train", config).code == 3


def test_a_side_table_in_order(tmp_path: Path) -> None:
    config = _with_items(tmp_path, lambda items: items)
    assert "13 features" in succeed("validate", config)
    config.with_name("items.parquet").unlink()
    missing = run("validate", config)
    assert missing.code == 2
    assert "items.parquet" in missing.error["message"]


def _other_keys(known: int) -> Callable[[pa.Table], pa.Table]:
    """The side table with other ids, but for the ``known`` items that the log shows most."""
    counts = feed_log()["item_id"].value_counts().to_pylist()
    most = sorted(counts, key=lambda entry: -entry["counts"])[:known]
    kept = {entry["values"] for entry in most}

    def change(items: pa.Table) -> pa.Table:
        ids = [
            id_ if id_ in kept else -1 - place
            for place, id_ in enumerate(items["item_id"].to_pylist())
        ]
        place = items.schema.get_field_index("item_id")
        return items.set_column(place, "item_id", pa.array(ids, items.schema.field(place).type))

    return change


def test_a_side_table_that_knows_no_item_of_the_log_is_refused(tmp_path: Path) -> None:
    config = _with_items(tmp_path, _other_keys(0))
    for verb in ("validate", "train"):
        outcome = run(verb, config)
        assert outcome.code == 3
        assert outcome.error["where"] == "table 'items'"
        assert "rows finds its key there" in outcome.error["message"]
    empty = _with_items(tmp_path, lambda items: items.slice(0, 0))
    assert "none of 2,400 rows" in run("validate", empty).error["message"]


def test_a_side_table_that_knows_few_items_of_the_log_is_told(tmp_path: Path) -> None:
    config = _with_items(tmp_path, _other_keys(3))
    known = pq.read_table(tmp_path / "items.parquet")["item_id"]
    found = int(pc.is_in(feed_log()["item_id"], known.combine_chunks()).to_numpy().sum())
    assert 0 < found < ROWS // 2
    share = f"{found:,} of 2,400 rows ({found / ROWS:.1%}) find their key there"
    assert f"warning: table 'items': {share}" in succeed("validate", config)
    outcome = run("train", config)
    assert outcome.code == 0
    assert "train: table 'items': " in outcome.err
    assert "validation: table 'items': " in outcome.err
    assert f"\n{ROWS - found:,} rows: no row in table 'items'\n" in outcome.out
    card = succeed("card", tmp_path / "run" / "bundle")
    assert f"| no row in table 'items' | {ROWS - found:,} |" in card
    assert "| read | 2,400 |" in card


def test_labels_outside_their_sample_space_are_counted_aloud(tmp_path: Path) -> None:
    unclicked = np.flatnonzero(feed_log()["click"].to_numpy() == 0)[:5].tolist()
    config = write_run(tmp_path, put(feed_log(), "purchase", dict.fromkeys(unclicked, 1)))
    told = "label 'purchase' is 1 outside its sample space: masked"
    assert f"\n5 rows: {told}\n" in succeed("train", config)
    assert f"| {told} | 5 |" in succeed("card", tmp_path / "run" / "bundle")


def test_parts_that_overlap_in_time_are_refused(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    right = write_yaml(tmp_path / "right.yaml", tree_of(data={"root": ".", **parts}))
    *warnings, last = succeed("validate", right).splitlines()
    assert last == f"right.yaml: {ROWS:,} rows, 13 features, 6 tasks: no problem"
    assert all(line.startswith("warning: test: task 'report': all 400") for line in warnings)
    swapped = {**parts, "validation": parts["test"], "test": parts["validation"]}
    tree = tree_of(data={"root": ".", **swapped}, output=str(tmp_path / "run"))
    wrong = write_yaml(tmp_path / "wrong.yaml", tree)
    for verb in ("validate", "train"):
        outcome = run(verb, wrong)
        assert outcome.code == 3
        assert outcome.error["where"] == "data.test"
        assert "'time_ms' goes backwards" in outcome.error["message"]


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    data = {"root": ".", "train": "a.parquet", "validation": "b.parquet"}
    outcome = run("validate", write_yaml(tmp_path / "ranker.yaml", tree_of(data=data)))
    assert outcome.code == 2
    assert "'a.parquet'" in outcome.err
    assert "'b.parquet'" in outcome.err


def test_a_query_is_checked_like_a_file(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    tree = tree_of(output=str(tmp_path / "run"))
    split = tree["data"]["split"]
    query = "SELECT * FROM 'log.parquet'"
    tree["data"] = {"root": ".", "query": query, "split": split}
    assert "no problem" in succeed("validate", write_yaml(config, tree))
    tree["data"]["query"] = "SELECT * EXCLUDE surface FROM 'log.parquet'"
    assert "lacks column 'surface'" in run("validate", write_yaml(config, tree)).err
    tree["data"]["query"] = "SELEC *"
    assert run("validate", write_yaml(config, tree)).code == 2


def test_leaks_and_repetitions_are_warnings(tmp_path: Path) -> None:
    log = feed_log()
    log = log.append_column("clicked_at", pa.array(log["click"].to_numpy() * 7.0))
    schema = schema_tree()
    schema["features"].append({"kind": "numeric", "name": "clicked_at"})
    repeated = pa.concat_tables([log.slice(0, 9), log.slice(0, 9), log.slice(9)])
    out = succeed("validate", write_run(tmp_path, repeated, schema=schema))
    assert "warning: column 'clicked_at': feature 'clicked_at' alone predicts" in out
    assert "warning: log.parquet: 9 rows repeat an earlier one" in out


@pytest.mark.parametrize("delay", ["{}", "{buy: {kind: es_dfm}}"])
def test_labels_that_a_correction_learns_from_are_not_told_as_masked(
    tmp_path: Path, delay: str
) -> None:
    rows = range(100)
    log = {"shown": rows, "item": [row % 7 for row in rows], "buy": [row % 2 for row in rows]}
    paid = [row + 1 if row % 2 else None for row in rows]
    pq.write_table(pa.table({**log, "paid": pa.array(paid, pa.int64())}), tmp_path / "log.parquet")
    maturity = "{window: 5, event_time: paid, observed_until: 101}"
    (tmp_path / "run.yaml").write_text(
        f"""data: {{log: log.parquet, split: {{kind: user, validation: 0.5}}}}
schema:
  features: [{{kind: categorical, name: item}}]
  tasks: [{{kind: binary, name: buy, maturity: {maturity}}}]
  keys: {{time: shown, user: item}}
model: {{delay: {delay}}}
"""
    )
    found = check_run(tmp_path / "run.yaml")
    assert not found.problems
    assert ("not mature" in str(found.warnings)) == (delay == "{}")


@pytest.mark.parametrize("verb", ["validate", "train"])
def test_csv_is_read_as_what_its_columns_are_used_as(tmp_path: Path, verb: str) -> None:
    schema = schema_tree()
    lists = ("item_tags", "user_history", "item_embedding")
    schema["features"] = [f for f in schema["features"] if f["name"] not in lists]
    config = write_run(tmp_path, schema=schema)
    pv.write_csv(feed_log().drop_columns(list(lists)), tmp_path / "log.csv")
    succeed(verb, config, "--set", "data.log=log.csv")
    text = (tmp_path / "log.csv").read_text().splitlines()
    cells = text[12].split(",")
    cells[text[0].split(",").index('"click"')] = "yes"
    (tmp_path / "log.csv").write_text("\n".join([*text[:12], ",".join(cells), *text[13:]]))
    words = ["--set", "data.log=log.csv", "--set", f"output={tmp_path / 'other'}"]
    outcome = run(verb, config, *words)
    assert outcome.code == 3
    assert "log.csv, row 11, column 'click'" in outcome.err
    assert "'yes'" in outcome.err
