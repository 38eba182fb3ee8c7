"""``polyrank explain``."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from polyrank.bundle import load_bundle
from polyrank.cli.network import show_network
from polyrank.config import RunConfig
from polyrank.data import Encoders
from polyrank.explain import Explanation, explain_bundle, explain_run
from polyrank.layers import Cost, cost_of
from polyrank.layers.parts import Part
from polyrank.schema import parse
from polyrank.training import Sources
from tests.cli.workbench import TRAINING, run, succeed, write_run, write_yaml

# A network whose every number can be worked out: user, item, the item's colour from a side table,
# the user's history, an age.
DIM, USERS, ITEMS, COLOURS, HISTORY = 4, 3, 4, 2, 5
TABLE = (2 + USERS) + (2 + ITEMS) + (2 + COLOURS)
"""Rows: in each vocabulary one for missing and one for unknown."""
UNIT = 4 * DIM * 64 + 64 * 32 + 32
"""Products of the activation unit of the attention."""
WIDTH = 32
"""Three ids and the pooled history 4 wide each, the length of the history, the age: 18, padded."""
CROSS, EXPERTS, GATES = 2 * (2 * WIDTH), 2 * WIDTH * 8, 2 * WIDTH * 2
MIXED, TOWER = 2 * 2 * 8, 8 * 4 + 4
PARAMETERS = {
    "table": TABLE * DIM,
    "attention of history": UNIT + 64 + 32 + 1,
    "cross: layers": CROSS + WIDTH,
    "experts": EXPERTS + 2 * 8,
    "gates": GATES,
    "weighted sums": 0,
    "click": TOWER + 4 + 1,
    "like": TOWER + 4 + 1,
}
MULTIPLY_ADDS = {
    "table": 0,
    "attention of history": HISTORY * (UNIT + DIM),
    "cross: layers": CROSS,
    "experts": EXPERTS,
    "gates": GATES,
    "weighted sums": MIXED,
    "click": TOWER,
    "like": TOWER,
}
SCHEMA: dict[str, Any] = {
    "features": [
        {"kind": "categorical", "name": "user", "side": "user", "min_frequency": 1},
        {"kind": "categorical", "name": "item", "side": "item", "min_frequency": 1},
        {"kind": "categorical", "name": "colour", "side": "item", "min_frequency": 1},
        {
            "kind": "sequence",
            "name": "history",
            "side": "user",
            "shares": "item",
            "pooling": "attention",
            "max_length": HISTORY,
        },
        {"kind": "numeric", "name": "age", "side": "user"},
    ],
    "tasks": [{"kind": "binary", "name": "click"}, {"kind": "binary", "name": "like"}],
    "tables": [{"name": "items", "on": "item"}],
}
ROWS = 120


def write_small(folder: Path, **sections: Any) -> Path:
    places = range(ROWS)
    log = {
        "user": [place % USERS for place in places],
        "item": [place % ITEMS for place in places],
        "history": [[place % ITEMS, 1] for place in places],
        "age": [float(place % 50) for place in places],
        "click": [place % 2 for place in places],
        "like": [place // 2 % 2 for place in places],
    }
    pq.write_table(pa.table(log), folder / "log.parquet")
    items = {"item": list(range(ITEMS)), "colour": [place % COLOURS for place in range(ITEMS)]}
    pq.write_table(pa.table(items), folder / "items.parquet")
    tree = {
        "schema": SCHEMA,
        "data": {
            "root": ".",
            "log": "log.parquet",
            "split": {"kind": "random", "validation": 0.2},
            "tables": {"items": "items.parquet"},
        },
        "model": {
            "embedding_dim": DIM,
            "interaction": {"kind": "dcn_v2", "num_layers": 1, "rank": 2},
            "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [8]},
            "towers": {"widths": [4]},
        },
        "training": TRAINING,
        "evaluation": {"resamples": 0},
        "output": str(folder / "run"),
        **sections,
    }
    return write_yaml(folder / "ranker.yaml", tree)


def explained(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(succeed("explain", *words, "--json"))
    return found


def test_every_number_is_the_one_worked_out_by_hand(tmp_path: Path) -> None:
    tree = explained(write_small(tmp_path))
    parts = {part["name"]: part for block in tree["blocks"] for part in block["parts"]}
    assert {name: part["parameters"] for name, part in parts.items()} == PARAMETERS
    assert {name: part["multiply_adds"] for name, part in parts.items()} == MULTIPLY_ADDS
    assert tree["parameters"] == sum(PARAMETERS.values()) == 4_159
    assert tree["multiply_adds"] == sum(MULTIPLY_ADDS.values()) == 16_412
    assert tree["bytes"] == 4 * 4_159
    assert tree["vocabularies"] == {"item": 6, "user": 5, "colour": 4}
    shapes = {name: part["shape"] for name, part in parts.items()}
    assert shapes == {
        "table": "15 rows × 4",
        "attention of history": "5 × (16 → 64 → 32 → 1)",
        "cross: layers": "32 → 2, 2 → 32",
        "experts": "2 × (32 → 8)",
        "gates": "2 × (32 → 2)",
        "weighted sums": "",
        "click": "8 → 4 → 1",
        "like": "8 → 4 → 1",
    }
    blocks = [(block["name"], block["shape"]) for block in tree["blocks"]]
    assert blocks == [
        ("input", "5 features → 32"),
        ("interaction dcn_v2", "32 → 32"),
        ("sharing mmoe", "32 → 2 × 8"),
        ("towers", "2 × 8 → logits"),
    ]
    for block in tree["blocks"]:
        for key in ("parameters", "multiply_adds", "share"):
            assert block[key] == pytest.approx(sum(part[key] for part in block["parts"]))
    assert sum(block["share"] for block in tree["blocks"]) == pytest.approx(1)
    assert parts["experts"]["share"] == EXPERTS / 16_412


def test_the_table_says_the_same(tmp_path: Path) -> None:
    out = succeed("explain", write_small(tmp_path))
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == [str(tmp_path / "ranker.yaml")]
    assert ["total", "16.6", "kB", "in", "float32", "4,159", "16,412"] in lines
    assert ["weighted", "sums", "0", "32", "0.19%"] in lines
    assert ["table", "15", "rows", "×", "4", "60", "0", "-"] in lines
    assert "Rows of the table: item 6 (40.0%), user 5 (33.3%), colour 4 (26.7%)." in out
    assert max(map(len, out.splitlines()[1:])) <= 100


def test_nothing_is_written_and_the_cache_of_a_run_is_used(tmp_path: Path) -> None:
    config = write_small(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    fresh = run("explain", config)
    assert sorted(tmp_path.rglob("*")) == before
    assert "fit encoders" in fresh.err
    succeed("train", config, "--quiet")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    cached = run("explain", config)
    assert (cached.err, cached.out) == ("", fresh.out)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == after


def test_the_cache_of_another_log_or_a_damaged_one_is_not_used(tmp_path: Path) -> None:
    config = write_small(tmp_path)
    succeed("train", config, "--quiet")
    path = tmp_path / "log.parquet"
    log, content, stat = pq.read_table(path), path.read_bytes(), path.stat()
    users = pa.array([place % 9 for place in range(ROWS)])
    pq.write_table(log.set_column(0, "user", users), path)
    outcome = run("explain", config, "--json")
    assert "fit encoders" in outcome.err
    assert json.loads(outcome.out)["vocabularies"]["user"] == 2 + 9
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run("explain", config).err == ""
    (damaged,) = tmp_path.glob("run/cache/**/encoders.safetensors")
    damaged.write_bytes(b"\0" + damaged.read_bytes()[1:])
    assert "fit encoders" in run("explain", config).err


def test_the_vocabularies_are_those_of_the_training_part(tmp_path: Path) -> None:
    """Ten users are in the log, and one of them is in its validation part only."""
    config = write_small(tmp_path)
    log = pq.read_table(tmp_path / "log.parquet")
    days = pa.array([place // 100 for place in range(ROWS)])
    users = pa.array([place % 9 if place < 110 else 9 for place in range(ROWS)])
    log = log.set_column(0, "user", users).append_column("day", days)
    pq.write_table(log, tmp_path / "log.parquet")
    split = "data.split={kind: time, column: day, validation_from: 1}"
    assert explained(config, "--set", split)["vocabularies"]["user"] == 2 + 9


def test_a_bundle_is_explained_as_its_run(trained: Path, bundle: Path) -> None:
    of_run, of_bundle = explained(trained / "ranker.yaml"), explained(bundle)
    assert of_run == of_bundle
    loaded = load_bundle(bundle)
    assert of_bundle["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    assert of_bundle["multiply_adds"] == cost_of(loaded.model).multiply_adds
    assert of_bundle["tasks"] == list(loaded.schema.task_names)


def test_parts_in_files_of_their_own(trained: Path, tmp_path: Path) -> None:
    words = (trained / "ranker.yaml", "--set", f"output={tmp_path / 'nowhere'}")
    outcome = run("explain", *words, "--json")
    assert "fit encoders" in outcome.err
    assert json.loads(outcome.out) == explained(trained / "ranker.yaml")
    assert not (tmp_path / "nowhere").exists()


def test_settings_change_the_network(tmp_path: Path) -> None:
    config = write_small(tmp_path)
    words = ["--set", "model.sharing={kind: single_task, widths: [8]}"]
    words += ["--set", "model.interaction={kind: none}"]
    tree = explained(config, *words)
    names = [block["name"] for block in tree["blocks"]]
    assert names == ["input", "interaction none", "sharing single_task", "towers"]
    assert tree["blocks"][1]["parts"] == []
    assert tree["blocks"][1]["share"] == 0
    # A single-task network has a table, and so an attention, of its own for each task.
    by_hand = 2 * HISTORY * (UNIT + DIM) + 2 * WIDTH * 8 + 2 * TOWER
    assert tree["multiply_adds"] == by_hand


def test_several_tables_are_counted_each(tmp_path: Path) -> None:
    words = ["--set", "model.sharing={kind: stem, widths: [8], gate_widths: []}"]
    tree = explained(write_small(tmp_path), *words)
    table, attention = tree["blocks"][0]["parts"]
    assert table["parameters"] == 3 * PARAMETERS["table"]
    assert attention["multiply_adds"] == 3 * MULTIPLY_ADDS["attention of history"]
    assert table["shape"] == "3 × (15 rows × 4)"
    assert tree["blocks"][0]["shape"] == "5 features → 3 × 32"
    assert tree["blocks"][1]["shape"] == "3 × 32 → 3 × 32"
    assert tree["blocks"][1]["multiply_adds"] == 3 * CROSS


def test_a_process_of_its_own_prints_json_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polyrank", "explain", str(write_small(tmp_path)), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["parameters"] == 4_159
    assert done.stderr == "fit encoders\n"


def _shown(network: Explanation, width: int) -> list[str]:
    text = io.StringIO()
    show_network(Console(file=text, width=width, color_system=None), network, "a title")
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_and_cuts_nothing(bundle: Path, width: int) -> None:
    network = explain_bundle(load_bundle(bundle))
    lines = _shown(network, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    whole = " ".join(" ".join(lines).split())
    for block in network.blocks:
        for part in (block, *block.parts):
            assert f"{part.cost.parameters:,}" in whole
            assert part.name.rpartition(" ")[2] in whole
    assert "others" in whole


def test_long_names_and_shapes_are_broken_and_stay_indented() -> None:
    shape = ", ".join(["1024 → 512 → 256"] * 5)
    part = Part(name="a part with a name that is long", cost=Cost(10**9, 10**9), each=shape)
    block = Part(name="block", cost=part.cost, parts=(part,))
    network = Explanation(num_features=1, tasks=("a",), blocks=(block,), vocabularies={"a": 3})
    lines = _shown(network, 80)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    (place,) = [place for place, line in enumerate(lines) if line.startswith("  a part")]
    assert lines[place + 1].startswith("  ")
    assert lines[place + 1].strip()


def test_a_network_without_vocabularies() -> None:
    schema = {
        "features": [{"kind": "numeric", "name": "age", "side": "user"}],
        "tasks": [{"kind": "binary", "name": "click"}],
    }
    tree = {"schema": schema, "data": {"train": "a", "validation": "b"}}
    log = pa.table({"age": [float(place) for place in range(50)], "click": [0, 1] * 25})
    sources = Sources.of(train=log, validation=log)
    network = explain_run(parse(RunConfig, tree), sources, Path("nowhere"))
    assert network.vocabularies == {}
    assert network.blocks[0].shape == "1 feature → 16"
    assert "No feature has rows in the table." in _shown(network, 80)


def test_sizes_are_told_in_fitting_units(bundle: Path) -> None:
    from polyrank.cli.network import _size

    sizes = [_size(size) for size in (999, 1000, 5_432_100, 2e9, 3e12, 4e15)]
    assert sizes == ["999 bytes", "1.0 kB", "5.4 MB", "2.0 GB", "3.0 TB", "4,000.0 TB"]


def test_mistakes(tmp_path: Path, bundle: Path) -> None:
    for words in (["--set", "seed=1"], ["--data-root", tmp_path]):
        outcome = run("explain", bundle, *words)
        assert outcome.code == 2
        assert "go with a YAML file" in outcome.error["message"]
    assert run("explain", tmp_path).code == 4
    assert run("explain", tmp_path / "nothing.yaml").code == 2
    config = write_run(tmp_path)
    (tmp_path / "log.parquet").unlink()
    assert run("explain", config).code == 2


def test_a_network_that_cannot_be_built_is_refused(tmp_path: Path) -> None:
    outcome = run(
        "explain",
        write_small(tmp_path),
        "--set",
        "model.interaction={kind: transformer, num_heads: 5}",
    )
    assert outcome.code == 2
    assert outcome.error["where"] == "model.interaction.num_heads"


def test_a_log_that_training_refuses_is_refused(tmp_path: Path) -> None:
    config = write_small(tmp_path)
    log = pq.read_table(tmp_path / "log.parquet")
    ages = pa.array([float("inf")] * ROWS)
    pq.write_table(log.set_column(3, "age", ages), tmp_path / "log.parquet")
    assert run("explain", config).code == 3


def test_no_row_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*words: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Encoders, "encode", encode)
    succeed("explain", write_small(tmp_path))
