"""Rows of a real log have the same bits in a file, in a ranking and as tensors; other engines and
the exported file come within 1e-5.

A network gives float32 logits; heads, calibration and every answer are float64, of which JSON has
all digits and a binary tensor all bytes.

Shapes: N rows, 10,000 of 421 lists.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from polyrank.bundle import load_bundle
from polyrank.data import Batch
from polyrank.scoring import PREFIX, Scorer
from polyrank.scoring.export.recorded import recorded
from tests.serving import kuairand
from tests.serving.kuairand import COLUMNS, ITEM, SIZES, TASKS, command, environment
from tests.serving.tensors import infer

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.realdata,
    pytest.mark.skipif(
        not kuairand.LOG.exists(), reason=f"{kuairand.LOG} is not there; set POLYRANK_DATA"
    ),
]
ROWS = sum(SIZES)
CLOSE = 1e-5
Found = dict[str, NDArray[np.float64]]
"""(N,) by task."""


@dataclass(frozen=True)
class World:
    """A bundle, lists to be asked for, and all their rows as a log."""

    home: Path
    lists: list[dict[str, list[Any]]]

    @cached_property
    def table(self) -> pa.Table:
        """All rows."""
        return kuairand.table_of(self.lists)

    @property
    def bundle(self) -> Path:
        """Where it is."""
        return self.home / "run" / "bundle"

    def scored(self, engine: str, threads: int = 1) -> Found:
        """What ``polyrank score`` writes."""
        out = self.home / f"{engine}.parquet"
        words = ("score", self.bundle, "rows.parquet", out, "--engine", engine)
        command(*words, cwd=self.home, threads=threads)
        table = pq.read_table(out)
        assert {str(table.schema.field(PREFIX + task).type) for task in TASKS} == {"double"}
        return {task: table[PREFIX + task].to_numpy() for task in TASKS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("kuairand")
    kuairand.trained(home)
    made = World(home, kuairand.lists())
    pq.write_table(made.table, home / "rows.parquet")
    return made


@pytest.fixture(scope="module")
def offline(world: World) -> Found:
    """By ONNX Runtime with two threads, where the server has one."""
    return world.scored("onnx", threads=2)


@pytest.fixture(scope="module")
def client(world: World, offline: Found) -> Iterator[httpx.Client]:
    del offline  # has exported the network
    words = ["serve", f"kr={world.bundle}", "--engine", "onnx", "--threads", "1", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "polyrank", *words, "--quiet"],
        stdout=subprocess.PIPE,
        env=environment(world.home),
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=url, timeout=60) as found:
                yield found
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def differing(found: Found, want: Found, rows: NDArray[np.int64] | slice = slice(None)) -> int:
    """How many predictions have other bits."""
    return sum(
        int((found[task].view(np.int64) != want[task][rows].view(np.int64)).sum()) for task in TASKS
    )


def test_the_rows_are_what_they_are_said_to_be(world: World) -> None:
    rows = pl.DataFrame(world.table)
    assert len(rows) == ROWS == 10_000
    for column in ("user_id", "tab", "hour", "duration_ms", "watched"):
        assert rows[column].null_count() > 100, column
    assert (rows["user_id"] > 2**40).sum() > 100
    assert (rows["video_id"] >= 10**9).sum() > 400
    lengths = encoded(world).ragged["watched"].lengths_B
    assert int((lengths == 400).sum()) > 1_000
    assert int((lengths == 0).sum()) > 100


def test_a_ranking_has_the_bits_of_the_file(
    world: World, offline: Found, client: httpx.Client
) -> None:
    """Lists of 1, 7, 200 and 1,000, in another order each time; long ones twice."""
    first, rng = 0, np.random.default_rng(0)
    for own in world.lists:
        size = len(own["tab"])
        scores = []
        for _ in range(2 if size > 100 else 1):
            order = rng.permutation(size)
            answer = client.post(
                "/v1/rank", json=_request(own, order), headers={"x-deadline-ms": "60000"}
            )
            assert answer.status_code == 200, answer.text[:300]
            told = sorted(answer.json()["candidates"], key=lambda each: order[each["index"]])
            found = {task: np.array([each["predictions"][task] for each in told]) for task in TASKS}
            assert differing(found, offline, slice(first, first + size)) == 0, size
            scores.append([each["score"] for each in told])
        assert all(each == scores[0] for each in scores)
        first += size
    assert first == ROWS


def _request(own: Mapping[str, list[Any]], order: NDArray[np.int64]) -> dict[str, Any]:
    candidates = [
        {"id": own["video_id"][at], "features": {name: own[name][at] for name in ITEM[1:]}}
        for at in order
    ]
    user = {"id": own["user_id"][0], "features": {"watched": own["watched"][0]}}
    return {"user": user, "candidates": candidates}


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_tensors_have_the_bits_of_the_file(
    world: World, offline: Found, client: httpx.Client, binary: bool
) -> None:
    """Rows of many users side by side, in another order. The protocol has no null: rows without a
    value go together, and their requests without that tensor."""
    columns = {name: world.table[name].to_pylist() for name in COLUMNS}
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in np.random.default_rng(3).permutation(ROWS).tolist():
        groups[tuple(name for name in COLUMNS if columns[name][row] is not None)].append(row)
    assert len(groups) > 8
    asked, sizes = 0, cycle((1, 7, 200, 1_000))
    for there, rows in groups.items():
        while rows:
            size = next(sizes)
            block, rows = np.array(rows[:size]), rows[size:]
            tensors = [
                each
                for name in there
                for each in _tensors(name, [columns[name][row] for row in block])
            ]
            found = infer(client, "kr", tensors, TASKS, binary=binary)
            assert differing(found, offline, block) == 0, (there, size)
            asked += len(block)
    assert asked == ROWS


def _tensors(name: str, values: list[Any]) -> list[tuple[str, str, list[int], list[Any]]]:
    if name == "watched":
        flat = [video for own in values for video in own]
        lengths = [len(own) for own in values]
        return [
            (name, "INT64", [len(flat)], flat),
            (f"{name}.lengths", "INT64", [len(values)], lengths),
        ]
    kind = {"tab": "BYTES", "duration_ms": "FP64"}.get(name, "INT64")
    return [(name, kind, [len(values)], values)]


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_another_engine_comes_close(world: World, offline: Found, engine: str) -> None:
    if engine == "compiled" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("there is no C++ compiler")
    _close(world.scored(engine), offline)


def _close(found: Mapping[str, NDArray[np.float64]], want: Found) -> None:
    """By a task's largest prediction or 1, as an export is compared: a time is a mean and a share
    of it, so that little of a short one is known as well as that."""
    for task in TASKS:
        apart = np.abs(found[task] - want[task]).max() / max(1.0, np.abs(want[task]).max())
        assert apart <= CLOSE, (task, apart)


def encoded(world: World) -> Batch:
    """All rows as the bundle's encoders give them."""
    return recorded(Scorer(load_bundle(world.bundle)), str(world.home / "rows.parquet"), ROWS)


def test_the_exported_file_comes_close_in_plain_onnx_runtime(world: World, offline: Found) -> None:
    """Calibration stays with the bundle, which the file's answers are given to; whether a user is
    given once for a list or once for each row changes no bit."""
    out = world.home / "exported"
    command("export", world.bundle, "--out", out, "--on", "rows.parquet", cwd=world.home)
    scorer, batch = Scorer(load_bundle(world.bundle)), encoded(world)
    told = json.loads((out / "inputs.json").read_text())["inputs"]
    cuts = np.cumsum([0, *SIZES])
    cases = {"all": (batch, np.arange(ROWS))}
    cases |= {str(list_): _shared(batch, cuts, list_) for list_ in (0, 7, 30, 200)}
    given = {
        f"{case}/{name}": value
        for case, (rows, users) in cases.items()
        for name, value in tensors_of(told, scorer, rows, users).items()
    }
    np.savez(world.home / "given.npz", allow_pickle=False, **given)
    answers = run_plainly(out / "model.onnx", world.home / "given.npz")
    found = {task: answers[f"all/{task}"] for task in TASKS}
    for list_ in (0, 7, 30, 200):
        own = {task: answers[f"{list_}/{task}"] for task in TASKS}
        assert differing(own, found, slice(cuts[list_], cuts[list_ + 1])) == 0, SIZES[list_]
    assert scorer.segment_columns == ()
    assert np.abs(found["like"] - offline["like"]).max() > 100 * CLOSE  # calibration tells
    _close(scorer.calibrated(found, {}), offline)


def _shared(batch: Batch, cuts: NDArray[np.int64], list_: int) -> tuple[Batch, NDArray[np.int64]]:
    """The rows of a list, all of which read the user of the first."""
    rows = batch.slice(int(cuts[list_]), int(cuts[list_ + 1]))
    return rows, np.zeros(len(rows), np.int64)


def tensors_of(
    told: Sequence[Mapping[str, Any]], scorer: Scorer, batch: Batch, user_row: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """What ``inputs.json`` asks for, by the names that it gives."""
    layout = scorer.bundle.encoders.layout
    users = batch.slice(0, int(user_row.max()) + 1)
    ids = [column.name for column in layout.ids]
    numbers = [column.name for column in layout.numerics]
    found: dict[str, NDArray[Any]] = {"user_row": user_row}
    for each in told[1:]:
        name = each["name"]
        source = users if each["counts"] == "one row a user" else batch
        if name.startswith("list."):
            _, column, what = name.split(".")
            side = {own.name: own.side for own in layout.ragged}[column]
            ragged = (users if side == "user" else batch).ragged[column]
            found[name] = (ragged.values_V if what == "values" else ragged.lengths_B).numpy()
        elif name.endswith("ids"):
            found[name] = source.ids_BF[:, [ids.index(own) for own in each["columns"]]].numpy()
        else:
            places = [numbers.index(own) for own in each["columns"]]
            found[name] = source.numeric_BN[:, places].numpy()
        assert found[name].dtype == each["dtype"]
    return found


def run_plainly(model: Path, given: Path) -> dict[str, NDArray[np.float64]]:
    """Answers by a process that can import neither polyrank nor torch."""
    script, answers = Path(__file__).parent / "plain_onnx.py", given.with_name("answers.npz")
    words = [sys.executable, str(script), str(model), str(given), str(answers)]
    subprocess.run(words, check=True, cwd=given.parent)
    with np.load(answers, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}
