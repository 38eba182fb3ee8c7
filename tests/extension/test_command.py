"""``polyrank train --from`` as its users start it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from polyrank.bundle import load_bundle
from tests.cli.workbench import contents, feed_log, run, succeed, tree_of, write_yaml
from tests.training.forkserver import ForkServer

LATER = "like"
"""The task that the parent does not have."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, ``old.yaml`` with its bundle in ``old``, and ``new.yaml`` with one more task."""
    path = tmp_path_factory.mktemp("extension")
    pq.write_table(feed_log(), path / "log.parquet")
    tree = tree_of(output=str(path / "new"))
    write_yaml(path / "new.yaml", tree)
    schema = tree["schema"]
    tasks = [task for task in schema["tasks"] if task["name"] != LATER]
    old = {**tree, "schema": {**schema, "tasks": tasks}, "output": str(path / "old")}
    succeed("train", write_yaml(path / "old.yaml", old))
    return path


def parent(folder: Path) -> Path:
    return folder / "old" / "bundle"


def scores(folder: Path, bundle: Path) -> dict[str, list[float]]:
    """The predictions of a bundle for the whole log."""
    out = folder / f"{bundle.parent.name}.parquet"
    succeed("score", bundle, folder / "log.parquet", out)
    found: dict[str, list[float]] = pq.read_table(out).to_pydict()
    return {name: column for name, column in found.items() if name.startswith("predicted_")}


def test_a_frozen_trunk_leaves_the_old_tasks_to_the_bit(folder: Path) -> None:
    output = folder / "frozen"
    words = ("--from", parent(folder), "--freeze", "trunk", "--output", output)
    out = succeed("train", folder / "new.yaml", *words)
    assert "The parent's tasks predict what they predicted, bit for bit, on the 400 rows of" in out
    before, after = scores(folder, parent(folder)), scores(folder, output / "bundle")
    assert set(after) - set(before) == {f"predicted_{LATER}"}
    assert all(after[name] == column for name, column in before.items())
    version = load_bundle(parent(folder)).version
    assert f"Version {version}, frozen. Further tasks: {LATER}." in succeed(
        "card", output / "bundle"
    )


def test_a_free_trunk_tells_what_each_old_task_gained_or_lost(folder: Path) -> None:
    output = folder / "free"
    words = ("--from", parent(folder), "--output", output, "--set", "evaluation.resamples=40")
    out = succeed("train", folder / "new.yaml", *words)
    version = load_bundle(parent(folder)).version[:12]
    head = f"the parent's tasks on validation: A the parent {version}, B this model"
    table = out.partition(head)[2]
    assert "40 paired draws of users" in table
    rows = [line.split() for line in table.splitlines()]
    assert {row[0] for row in rows if row[1:2] == ["AUC"]} == {
        *("click", "long_view", "purchase", "report")
    }
    assert "Predictions of the parent's tasks moved on the 400 rows of validation" in out
    assert "the parent's tasks on test" not in out
    test = succeed("train", folder / "new.yaml", *words, "--resume", "--test")
    assert "the parent's tasks on test" in test


def test_a_finished_run_is_gone_over_to_the_same_bundle(folder: Path) -> None:
    output = folder / "twice"
    words = ("train", folder / "new.yaml", "--from", parent(folder), "--output", output, "--quiet")
    first = succeed(*words), contents(output / "bundle")
    again = succeed(*words, "--resume"), contents(output / "bundle")
    assert first == again


def test_two_processes_freeze_alike(folder: Path, tmp_path: Path) -> None:
    """The gradients are summed before what is frozen loses its own."""
    words = ("train", folder / "new.yaml", "--from", parent(folder), "--freeze", "trunk")
    command = [str(word) for word in (*words, "--output", folder / "two")]
    with ForkServer(tmp_path) as server:
        order = server.order(
            tmp_path / "errors",
            call="tests.extension.process:succeed_into",
            arguments=[str(tmp_path), command],
        )
        told = server.wait_all(server.start_many(order, 2))
    assert told == [0, 0], [path.read_text() for path in (tmp_path / "errors").iterdir()]
    out = (tmp_path / "out-0.txt").read_text()
    assert "predict what they predicted, bit for bit, on the 400 rows of" in out
    succeed(*words, "--output", folder / "one")
    alone = load_bundle(folder / "one" / "bundle").model.state_dict()
    both = load_bundle(folder / "two" / "bundle").model.state_dict()
    assert all(torch.allclose(both[name], value, atol=1e-4) for name, value in alone.items())


def test_a_parent_that_saw_the_validation_part_is_told(folder: Path) -> None:
    """Its training rows end later than the new run's validation part begins."""
    tree = tree_of(output=str(folder / "earlier"))
    split = tree["data"]["split"]
    split["validation_from"] = feed_log().column("time_ms")[1000].as_py()
    config = write_yaml(folder / "earlier.yaml", tree)
    outcome = run("train", config, "--from", parent(folder))
    assert outcome.code == 0, outcome.err
    last = load_bundle(parent(folder)).card.data["train"].last
    said = f"validation begins at {split['validation_from']}, before the parent's training rows"
    assert f"{said} end ({last}): the parent may have seen what it is compared on" in outcome.err
    alike = run(
        "train", folder / "new.yaml", "--from", parent(folder), "--output", folder / "alike"
    )
    assert "may have seen" not in alike.err


def test_with_too_many_rows_for_metrics_the_movement_is_told(folder: Path) -> None:
    words = ("--from", parent(folder), "--output", folder / "large")
    out = succeed("train", folder / "new.yaml", *words, "--set", "evaluation.exact_rows=100")
    assert "B this model: more rows than evaluation.exact_rows, so no metrics" in out
    assert "Predictions of the parent's tasks moved" in out


def test_a_changed_meaning_is_refused_with_all_that_differs(folder: Path) -> None:
    tree: dict[str, Any] = tree_of(output=str(folder / "changed"))
    for task in tree["schema"]["tasks"]:
        if task["name"] == "click":
            task["label"] = "report"
    tree["model"]["embedding_dim"] = 8
    done = run("train", write_yaml(folder / "changed.yaml", tree), "--from", parent(folder))
    assert done.code == 2
    assert done.out == ""
    told = done.err.splitlines()
    assert told[0] == (
        "polyrank: --from: the configuration does not extend the parent: 2 differences"
    )
    assert told[1] == (
        '- schema.tasks.click.label: "click" in the parent, "report" here. Restore it, or give '
        "what is new another name: it is a further task."
    )
    assert told[2].startswith("- model.embedding_dim: 4 in the parent, 8 here.")
    assert len(json.loads(told[-1])["problems"]) == 2
    assert not (folder / "changed").exists()


def test_a_freeze_without_a_parent_is_refused(folder: Path) -> None:
    outcome = run("train", folder / "new.yaml", "--freeze", "trunk", "--output", folder / "no")
    assert outcome.code == 2
    assert "Give the parent with --from" in outcome.err


def test_the_folder_of_a_run_is_no_bundle(folder: Path) -> None:
    outcome = run("train", folder / "new.yaml", "--from", folder / "old")
    assert outcome.code == 4
    assert f"Did you mean {parent(folder)}?" in outcome.err
