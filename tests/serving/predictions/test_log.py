"""What the log promises a server: it never waits, never fails, and leaves only whole files."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data import open_log
from polyrank.errors import ConfigError
from polyrank.serving.host import hosted
from polyrank.serving.predictions import (
    Counted,
    PredictionLog,
    PredictionLogSettings,
    check_folder,
    input_columns,
)
from polyrank.serving.predictions import part as part_module
from polyrank.serving.predictions.part import Part, finished
from polyrank.serving.predictions.types import fitted, widened, wider
from polyrank.serving.settings import LoggedTo, ServeSettings
from tests import feeds
from tests.serving.predictions.served import answer


def logged(folder: Path, *answers: Any, **settings: Any) -> tuple[pa.Table, Counted]:
    """What a log of these answers holds."""
    log = PredictionLog(folder, PredictionLogSettings(**settings))
    for one in answers:
        log.append(one)
    assert log.close()
    found = log.folder_of("feed")
    return (read(found) if found.exists() else pa.table({})), log.counts()


def read(folder: Path) -> pa.Table:
    """What any reader of Parquet folders finds: it passes over hidden files."""
    tables = [pq.read_table(path) for path in sorted(folder.iterdir()) if path.name[0] != "."]
    return pa.concat_tables(tables, promote_options="permissive")


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def rows(number: int) -> Any:
    """An answer of its own id whose row is about 8 kB that do not compress."""
    noise = np.random.default_rng(number).bytes(8000).hex()
    return answer(request=f"r-{number}", rows=one_row(user_id=[noise]), predictions={})


def one_row(**columns: list[Any]) -> pa.Table:
    return pa.table({"user_id": ["u"], "item_id": [5], **columns})


def test_a_request_becomes_rows_of_an_impression_log(tmp_path: Path) -> None:
    one = answer(
        score_N=np.array([1.5, 2.5]),
        position_N=np.array([2, 1]),
        num_shown=1,
        value_version=3,
        profile="home",
        weights={"click": 4.0},
        degraded=("features:timeout", "engine"),
        predictions={"click": np.array([0.25, np.nan])},
    )
    table, counts = logged(tmp_path, one, candidates="all")
    assert counts == Counted(written=1, files=1, bytes=counts.bytes)
    assert table.select(["user_id", "item_id", "request_id", "position"]).to_pylist() == [
        {"user_id": 1, "item_id": 5, "request_id": 3, "position": 2},
        {"user_id": 1, "item_id": 6, "request_id": 3, "position": 1},
    ]
    assert table["predicted_click"].to_pylist() == [0.25, None]
    assert table["score"].to_pylist() == [1.5, 2.5]
    assert table["served_shown"].to_pylist() == [False, True]
    assert table["served_degraded"].to_pylist() == ["features:timeout,engine"] * 2
    first = table.select([name for name in table.column_names if name.startswith("served_")])
    assert first.to_pylist()[0] == {
        "served_request": "r-1",
        "served_at": one.at,
        "served_rank": 2,
        "served_shown": False,
        "served_model": "feed",
        "served_version": "abc",
        "served_value_version": 3,
        "served_profile": "home",
        "served_degraded": "features:timeout,engine",
        "served_drawn": None,
        "served_draw": None,
        "served_propensity": None,
        "served_sample": 1.0,
    }
    assert table["time_ms"].to_pylist() == [one.at] * 2, "the server's clock, as none was given"
    assert table["weight_click"].to_pylist() == [4.0, 4.0]


def test_only_what_was_shown_is_logged_unless_all_is_asked_for(tmp_path: Path) -> None:
    one = answer(score_N=np.ones(2), position_N=np.array([2, 1]), num_shown=1)
    table, _ = logged(tmp_path, one)
    assert table["item_id"].to_pylist() == [6]


def test_features_are_logged_only_when_switched_on(tmp_path: Path) -> None:
    rows = pa.table(
        {"user_id": [1], "item_id": [2], "hour": [3], "surface": ["home"], "tab": ["a"], "x": [0]}
    )
    one = answer(rows=rows, predictions={}, context=("tab",))
    names = {
        features: set(logged(tmp_path / str(place), one, features=features)[0].column_names)
        for place, features in enumerate(("none", ("hour",), "all"))
    }
    assert "tab" in names["none"], "a value model reads it"
    assert names["none"] & {"hour", "surface", "x", "user_history"} == set()
    assert names["hour",] - names["none"] == {"hour"}
    assert names["all"] - names["none"] == {*feeds.schema().feature_columns()} - {"item_id"}


def test_keys_that_nobody_gave(tmp_path: Path) -> None:
    """Weights are 1, and so is the chance of what was not drawn: null would be refused later."""
    schema = feeds.schema()
    keys = schema.keys.model_copy(update={"propensity": "chance", "weight": "mass"})
    own = schema.model_copy(update={"keys": keys})
    drawn = answer(schema=own, propensity_N=np.array([0.5, 1.0]))
    table, _ = logged(tmp_path, answer(schema=own), drawn)
    assert table["chance"].to_pylist() == [1.0, 1.0, 0.5, 1.0]
    assert table["mass"].to_pylist() == [1.0] * 4
    assert table["position"].to_pylist() == [None] * 4, "nothing was ranked"


@pytest.mark.parametrize(
    ("settings", "context", "message"),
    [
        ({"features": ("nothing",)}, (), "'nothing' is no feature's column"),
        ({}, ("predicted_click",), "the log adds one of that name"),
        ({}, ("weight_a",), "the log adds one of that name"),
    ],
)
def test_columns_that_cannot_be_logged(
    tmp_path: Path, settings: Any, context: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        input_columns(feeds.schema(), PredictionLogSettings(**settings), context)
    _, counts = logged(tmp_path, answer(context=context), answer(), **settings)
    assert counts.unfit == (2 if settings else 1), "and a server goes on"


def test_whole_requests_are_sampled_by_their_ids(tmp_path: Path) -> None:
    ids = [f"id-{number}" for number in range(300)]
    answers = [answer(request=each) for each in ids]
    table, counts = logged(tmp_path, *answers, sample=0.3)
    empty = hashlib.blake2b(digest_size=8, person=b"prediction-log")
    places = []
    for each in ids:
        digest = empty.copy()
        digest.update(each.encode())
        places.append(int(digest.hexdigest(), 16) / 2**64)
    chosen = [each for each, place in zip(ids, places, strict=True) if place < 0.3]
    assert table["served_request"].to_pylist() == [each for each in chosen for _ in range(2)]
    assert (counts.written, counts.sampled_out) == (len(chosen), 300 - len(chosen))


def test_a_full_queue_drops_and_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def slow(part: Part, table: pa.Table) -> None:
        stuck.set()
        go_on.wait(20)

    monkeypatch.setattr(Part, "write", slow)
    settings = PredictionLogSettings(queue_bytes=100_000, file_bytes=1)
    log = PredictionLog(tmp_path, settings)
    log.append(rows(0))
    assert stuck.wait(20), "the disk hangs"
    start = time.monotonic()
    taken = [log.append(rows(number)) for number in range(1, 100)]
    assert time.monotonic() - start < 5
    assert taken == [True] * taken.count(True) + [False] * taken.count(False)
    assert 3 <= taken.count(True) <= 6, "16 kB each"
    assert (log.counts().dropped, log.counts().waiting) == (taken.count(False), taken.count(True))
    assert not log.close(timeout=0.05)
    go_on.set()
    assert log.close()
    assert not log.append(rows(0)), "it is closed"


def test_files_are_finished_by_size_and_the_oldest_removed(tmp_path: Path) -> None:
    answers = [rows(number) for number in range(12)]
    table, counts = logged(tmp_path, *answers, file_bytes=16_000, keep_files=3)
    files = sorted((tmp_path / "feed").iterdir())
    assert len(files) == 3
    assert (counts.written, counts.files, counts.removed) == (12, 6, 3)
    assert table["served_request"].to_pylist() == [f"r-{number}" for number in range(6, 12)]
    _, counts = logged(tmp_path, *answers, file_bytes=16_000, keep_bytes=40_000)
    kept = [path.stat().st_size for path in (tmp_path / "feed").iterdir()]
    assert sum(kept) <= 40_000
    assert kept


def test_a_clock_that_is_set_back_costs_no_new_file(tmp_path: Path) -> None:
    """By the names of the files that are there it is a century later."""
    logged(tmp_path, answer(request="a"), answer(request="b"), file_bytes=1)
    for path in finished(tmp_path / "feed"):
        path.rename(path.with_name(path.name.replace("20", "21", 1)))
    more = [answer(request=name) for name in "cd"]
    table, counts = logged(tmp_path, *more, file_bytes=1, keep_files=2)
    assert table["served_request"].unique().to_pylist() == ["c", "d"]
    assert (counts.written, counts.removed) == (2, 2)
    (tmp_path / "feed" / "99999999T999999.999999Z-1-00000000.parquet").touch()  # no date
    log = PredictionLog(tmp_path)
    log.append(answer(request="e"))
    assert log.close()
    assert log.counts().written == 1


def test_the_newest_file_stays_however_large(tmp_path: Path) -> None:
    table, _ = logged(tmp_path, rows(1), keep_bytes=1)
    assert table.num_rows == 1


def test_a_file_is_finished_by_age(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, PredictionLogSettings(file_seconds=0.05))
    log.append(answer())
    wait_until(lambda: log.counts().files == 1)
    log.append(answer())
    wait_until(lambda: log.counts().files == 2)
    log.close()
    assert log.counts().files == 2


def test_each_model_has_files_of_its_own(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    models = ("feed", "../up", ".", "a b")
    for model in models:
        log.append(answer(model=model))
    log.close()
    folders = {log.folder_of(model) for model in models}
    assert len(folders) == 4
    assert {path.parent for path in folders} == {tmp_path}
    for model in models:
        assert pq.read_table(log.folder_of(model))["served_model"].to_pylist() == [model] * 2


def test_clients_that_write_numbers_in_several_ways_share_a_column(tmp_path: Path) -> None:
    given: list[list[Any]] = [[None], [3], [2.5], [4], [None]]
    answers = [answer(rows=one_row(hour=hour), predictions={}) for hour in given]
    table, counts = logged(tmp_path, *answers, features=("hour",))
    assert table["hour"].to_pylist() == [None, 3, 2.5, 4, None]
    assert counts.files == 3, "null, then int, then float; never back"
    odd = [answer(rows=one_row(hour=hour), predictions={}) for hour in ([2.5], [2**60], ["x"], [3])]
    log = PredictionLog(tmp_path / "odd", PredictionLogSettings(features=("hour",)))
    assert all(log.append(one) for one in odd)
    log.close()
    hours = [
        pq.read_table(path)["hour"][0].as_py() for path in sorted(log.folder_of("feed").iterdir())
    ]
    assert sorted(hours, key=str) == [2.5, 3, "x"], "another type ends a file, and not the log"
    assert log.counts().unfit == 1, "2^60 is no float"


def test_an_answer_whose_parts_do_not_fit_is_counted(tmp_path: Path) -> None:
    odd = answer(predictions={"click": np.ones(3)})
    empty = answer(rows=one_row().slice(0, 0), predictions={})
    table, counts = logged(tmp_path, odd, empty, answer())
    assert (table.num_rows, counts.unfit, counts.written) == (2, 1, 1)


_KILLED = """
import importlib.util, sys, time
from pathlib import Path
import pyarrow as pa
spec = importlib.util.spec_from_file_location("part", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
table = pa.table({"served_request": ["lost"] * 1000})
part = module.Part(Path(sys.argv[2]), table.schema)
part.write(table)
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    """The child has the module alone: what it imports else would take seconds."""
    logged(tmp_path, rows(0))
    words = [sys.executable, "-c", _KILLED, str(part_module.__file__), str(tmp_path / "feed")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "written\n"
            (part,) = (tmp_path / "feed").glob(".*.part")
            assert part.stat().st_size > 4, "rows are on the disk"
            logged(tmp_path, rows(1))
            assert part.exists(), "a living writer keeps its part"
        finally:
            child.kill()
    for table in (read(tmp_path / "feed"), pq.read_table(tmp_path / "feed")):
        assert table["served_request"].to_pylist() == ["r-0", "r-1"]
    assert sum(chunk.table.num_rows for chunk in open_log(tmp_path / "feed").chunks()) == 2
    logged(tmp_path, rows(2))
    assert not part.exists(), "a dead one does not"
    assert len(list((tmp_path / "feed").iterdir())) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    command = shutil.which("mount")
    words = [str(command), "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if command is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_loses_counted_requests_and_is_tried_again(small_disk: Path) -> None:
    settings = PredictionLogSettings(file_bytes=200_000, file_seconds=0.05, retry_seconds=0.3)
    log = PredictionLog(small_disk, settings)
    for number in range(12):
        log.append(rows(number))
    wait_until(lambda: log.counts().lost == 12)
    assert log.counts().refusals == 1
    log.append(rows(12))
    wait_until(lambda: log.counts().lost == 13)
    assert list((small_disk / "feed").iterdir()) == [], "nothing half-written takes room"
    time.sleep(0.3)
    log.append(rows(13))
    wait_until(lambda: log.counts().written == 1)
    assert log.close()
    assert pq.read_table(small_disk / "feed")["served_request"].to_pylist() == ["r-13"]
    assert log.counts().dropped == 0


def test_a_folder_that_cannot_be_made_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "log"
    blocked.write_text("in the way")
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    monkeypatch.setattr(logging.getLogger("polyrank.serving"), "handlers", [handler])
    log = PredictionLog(blocked, PredictionLogSettings(file_seconds=0.02, retry_seconds=0.02))
    log.append(answer())
    wait_until(lambda: log.counts().refusals == 1)
    blocked.unlink()
    time.sleep(0.05)
    log.append(answer())
    wait_until(lambda: log.counts().written == 1)
    log.close()
    assert log.counts().lost == 1
    (line,) = said.getvalue().splitlines()
    assert line.endswith("refused: Not a directory; 1 answered request lost, tried again in 0.02 s")


def test_a_server_that_could_log_nothing_does_not_start(tmp_path: Path) -> None:
    blocked = tmp_path / "log"
    blocked.write_text("in the way")
    settings = ServeSettings(models={"feed": tmp_path}, predictions=LoggedTo(folder=blocked))
    refused = pytest.raises(ConfigError, match="nothing can be logged there: File exists")
    with refused, hosted(settings):
        pass
    check_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()


TYPES = [
    pa.null(),
    pa.bool_(),
    pa.int8(),
    pa.uint32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.large_string(),
    pa.list_(pa.int32()),
    pa.list_(pa.float64()),
    pa.large_list(pa.string()),
    pa.list_(pa.float32(), 4),
    pa.dictionary(pa.int32(), pa.string()),
    pa.timestamp("us", "UTC"),
]


@given(st.sampled_from(TYPES), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_the_wider_type_is_the_least_upper_bound(one: Any, two: Any, three: Any) -> None:
    both = wider(one, two)
    assert both == wider(two, one)
    assert wider(one, one) == wider(one, pa.null())
    if both is not None:
        assert wider(both, one) == both
        right = wider(two, three)
        if right is not None and wider(both, three) is not None:
            assert wider(both, three) == wider(one, right)


def test_tables_of_several_types_fit_into_one_file() -> None:
    one, two = pa.table({"a": [1], "b": [[1]]}), pa.table({"b": [[0.5]], "c": [True]})
    schema = widened(widened(pa.schema([]), one.schema) or pa.schema([]), two.schema)
    assert schema is not None
    both = pa.concat_tables([fitted(one, schema), fitted(two, schema)])
    assert both.to_pydict() == {"a": [1, None], "b": [[1.0], [0.5]], "c": [None, True]}
    assert widened(schema, pa.schema([("a", pa.string())])) is None


def test_a_part_is_discarded_without_a_trace(tmp_path: Path) -> None:
    part = Part(tmp_path, pa.schema([("a", pa.int64())]))
    part.write(pa.table({"a": [1]}))
    part.discard()
    assert list(tmp_path.iterdir()) == []
