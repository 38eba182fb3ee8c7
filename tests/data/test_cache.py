"""The encoded log on disk: the same rows again, or nothing."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import cache
from polyrank.data.cache import EncodedLog
from polyrank.data.encoders import Encoders
from polyrank.data.shards import parse_index
from polyrank.errors import ArtefactError, ConfigError, DataError, StorageError
from tests.data.encoded_rows import FORM, LAYOUT, batch_of, same
from tests.data.encoding_oracle import ANCHOR, SCHEMA, Row, table_of
from tests.data.test_encoders import chunks_of, logs

few = settings(max_examples=20, deadline=None)


def rows_of(size: int) -> list[Row]:
    return [
        {
            **ANCHOR,
            "item": n % 7,
            "city": f"c{n % 5}",
            "tags": [f"t{n % 3}"] * (n % 3),
            "watched": [7, n % 7] * (n % 4),
            "price": n / 4,
            "image": [n, -1.0],
            "stars": float(n),
            "user": f"u{n % 9}",
        }
        for n in range(size)
    ]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return table_of(rows_of(500))


@pytest.fixture(scope="module")
def encoders(table: pa.Table) -> Encoders:
    return Encoders.fit(SCHEMA, [table])


def build(path: Path, encoders: Encoders, table: pa.Table, **more: object) -> EncodedLog:
    arguments: dict[str, object] = {"fingerprint": "mine", "shard_rows": 64, **more}
    return EncodedLog.build(path, encoders, [table], **arguments)  # type: ignore[arg-type]


def opened(path: Path, encoders: Encoders, fingerprint: str = "mine") -> EncodedLog | None:
    return EncodedLog.open(path, fingerprint, encoders.layout)


def data_file(path: Path) -> Path:
    (found,) = path.glob("rows-*.bin")
    return found


def stars(log: EncodedLog, **cursor: int | bool) -> list[float]:
    """The row numbers of an epoch, in its order."""
    found: list[float] = []
    for batch in log.batches(**{"batch_size": 50, "seed": 1, "epoch": 0, **cursor}):  # type: ignore[arg-type]
        assert batch.labels_BT is not None
        found += batch.labels_BT[:, SCHEMA.task_names.index("stars")].tolist()
    return found


@few
@given(rows=logs, cuts=st.lists(st.integers(0, 13), max_size=3), shard_rows=st.integers(1, 8))
def test_what_comes_back_is_what_was_encoded(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], cuts: list[int], shard_rows: int
) -> None:
    table = table_of(rows)
    encoders = Encoders.fit(SCHEMA, [table])
    path = tmp_path_factory.mktemp("log")
    built = EncodedLog.build(
        path, encoders, chunks_of(table, cuts), fingerprint="a", shard_rows=shard_rows
    )
    log = EncodedLog.open(path, "a", encoders.layout)
    assert log is not None
    assert log.num_rows == built.num_rows == len(rows)
    expected = encoders.encode(table)
    for place, batch in enumerate(log.whole()):
        first = place * shard_rows
        same(batch, expected.slice(first, min(first + shard_rows, len(rows))))
    everything = list(built.batches(batch_size=99, seed=0, epoch=0, shuffle=False))
    assert len(everything) == 1
    same(everything[0], expected)


def test_every_tensor_of_a_batch_is_contiguous_and_its_own(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    log = build(tmp_path, encoders, table)
    first, again = (next(log.batches(batch_size=10, seed=0, epoch=0)) for _ in range(2))
    first.ids_BF.zero_()
    for tensor in (again.ids_BF, again.numeric_BN, again.labels_BT, again.observed_BT):
        assert tensor is not None
        assert tensor.is_contiguous()
    assert again.ids_BF.any()
    packed = FORM.pack(batch_of([1, 2, 3]))
    FORM.unpack(packed).numeric_BN.zero_()
    same(FORM.unpack(packed), batch_of([1, 2, 3]))


def test_the_bytes_do_not_depend_on_the_chunks(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    contents = []
    for name, cuts in {"a": [], "b": [1, 63, 64, 65, 400], "c": list(range(0, 500, 7))}.items():
        EncodedLog.build(
            tmp_path / name, encoders, chunks_of(table, cuts), fingerprint="x", shard_rows=64
        )
        contents.append(data_file(tmp_path / name).read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_an_epoch_goes_on_where_it_stopped(
    tmp_path: Path, encoders: Encoders, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = build(tmp_path, encoders, table)
    monkeypatch.setattr(cache, "WINDOW_BYTES", 3 * 64 * 200)
    order = stars(log)
    assert sorted(order) == sorted(float(n) for n in range(500))
    assert order != sorted(order)
    assert log.num_batches(50) == 10
    for start in (0, 3, 9, 10):
        assert stars(log, start=start) == order[start * 50 :]
    ranks = [stars(log, rank=rank, world=3) for rank in range(3)]
    assert sorted(chain(*ranks)) == sorted(order)
    assert stars(log, epoch=1) != order
    with pytest.raises(ConfigError, match="`start` must be at most 10"):
        log.batches(batch_size=50, seed=1, epoch=0, start=11)
    with pytest.raises(ConfigError, match="`batch_size` must be at least 1"):
        log.num_batches(0)


def test_more_ranks_than_rows_stay_in_step(tmp_path: Path, encoders: Encoders) -> None:
    log = build(tmp_path, encoders, table_of(rows_of(3)))
    lengths = [
        [len(batch) for batch in log.batches(batch_size=2, seed=0, epoch=0, rank=rank, world=4)]
        for rank in range(4)
    ]
    assert lengths == [[1, 1], [1, 0], [0, 0], [0, 0]]
    empty = next(log.batches(batch_size=2, seed=0, epoch=0, rank=3, world=4))
    assert empty.ids_BF.shape == (0, len(encoders.layout.ids))
    assert empty.ragged["watched"].values_V.shape == (0,)


def test_an_empty_log_has_no_batches(tmp_path: Path, encoders: Encoders, table: pa.Table) -> None:
    build(tmp_path, encoders, table.slice(0, 0))
    log = opened(tmp_path, encoders)
    assert log is not None
    assert (log.num_rows, log.num_batches(5)) == (0, 0)
    assert list(log.whole()) == list(log.batches(batch_size=5, seed=0, epoch=0)) == []


def test_a_schema_without_ids_keys_or_lists(tmp_path: Path) -> None:
    schema = SCHEMA.model_copy(
        update={"features": (SCHEMA.feature("price"),), "keys": SCHEMA.keys.model_copy(
            update={"user": None, "request": None, "weight": None})}
    )  # fmt: skip
    table = table_of(rows_of(9))
    encoders = Encoders.fit(schema, [table])
    log = EncodedLog.build(tmp_path, encoders, [table], fingerprint="a")
    (batch,) = log.batches(batch_size=9, seed=0, epoch=0, shuffle=False)
    same(batch, encoders.encode(table))
    assert batch.groups == {}


# What is not whole is not used.


def test_another_log_or_layout_is_not_taken(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    build(tmp_path, encoders, table)
    assert opened(tmp_path, encoders) is not None
    assert opened(tmp_path, encoders, "other") is None
    assert EncodedLog.open(tmp_path, "mine", LAYOUT) is None
    assert opened(tmp_path / "nothing", encoders) is None
    (tmp_path / "file").write_text("")
    assert opened(tmp_path / "file", encoders) is None


def test_no_flipped_bit_gets_through(tmp_path: Path, encoders: Encoders, table: pa.Table) -> None:
    build(tmp_path, encoders, table.slice(0, 40))
    rng = np.random.default_rng(0)
    for file in (data_file(tmp_path), tmp_path / "encoded.json"):
        content = file.read_bytes()
        places = {0, len(content) - 1, *rng.integers(0, len(content), 150).tolist()}
        for place in places:
            altered = bytearray(content)
            altered[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(altered)
            found = opened(tmp_path, encoders)
            if found is not None:  # White space in the index may change into white space.
                assert file.name == "encoded.json"
                assert altered.split() == content.split()
        file.write_bytes(content)
        assert opened(tmp_path, encoders) is not None


@pytest.mark.parametrize("name", ["rows", "index"])
@pytest.mark.parametrize("change", ["truncated", "longer", "empty", "gone", "garbage"])
def test_a_torn_file_is_not_used(
    tmp_path: Path, encoders: Encoders, table: pa.Table, name: str, change: str
) -> None:
    build(tmp_path, encoders, table)
    file = data_file(tmp_path) if name == "rows" else tmp_path / "encoded.json"
    content = file.read_bytes()
    changes = {
        "truncated": content[: len(content) // 2],
        "longer": content + b"\0",
        "empty": b"",
        "garbage": b"\xff" * 100,
    }
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(changes[change])
    assert opened(tmp_path, encoders) is None
    rebuilt = build(tmp_path, encoders, table)
    assert sorted(stars(rebuilt)) == sorted(float(n) for n in range(500))
    assert opened(tmp_path, encoders) is not None
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("fingerprint", "mine", True),
        ("data", "../rows-0123456789abcdef.bin", False),
        ("format", 2, False),
        ("entries", 7, False),
    ],
)
def test_an_index_with_a_right_checksum_but_wrong_content_is_not_used(
    tmp_path: Path, encoders: Encoders, table: pa.Table, key: str, value: object, good: bool
) -> None:
    build(tmp_path, encoders, table)
    shutil.copy(data_file(tmp_path), tmp_path.parent / "rows-0123456789abcdef.bin")
    file = tmp_path / "encoded.json"
    tree = json.loads(file.read_bytes())
    tree["index"][key] = value
    tree["crc32"] = zlib.crc32(json.dumps(tree["index"], sort_keys=True).encode())
    file.write_text(json.dumps(tree))
    assert (opened(tmp_path, encoders) is not None) == good


def test_an_index_that_is_other_json_is_not_used(tmp_path: Path, encoders: Encoders) -> None:
    for content in ("[]", "{}", '{"index": 1, "crc32": 2}', json.dumps({"crc32": 0})):
        (tmp_path / "encoded.json").write_text(content)
        assert opened(tmp_path, encoders) is None


def test_a_file_altered_after_it_was_opened_stops_the_epoch(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    log = build(tmp_path, encoders, table)
    with data_file(tmp_path).open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ArtefactError, match="altered"):
        list(log.batches(batch_size=50, seed=0, epoch=0))
    with data_file(tmp_path).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ArtefactError, match="altered") as caught:
        list(log.whole())
    assert caught.value.hint
    assert "built again" in caught.value.hint


def test_nothing_done_to_the_directory_disturbs_a_reader(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    log = build(tmp_path, encoders, table)
    order = stars(log)
    build(tmp_path, encoders, table.slice(0, 10), fingerprint="other")
    assert stars(log) == order
    shutil.rmtree(tmp_path)
    assert stars(log) == order


# Building.


def test_building_replaces_and_leaves_strangers_alone(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    path = tmp_path / "deep" / "cache"
    path.mkdir(parents=True)
    strangers = [path / "rows-1.bin", path / "notes.txt", path / "rows-0123456789abcdef.txt"]
    for stranger in strangers:
        stranger.write_text("mine")
    stale = path / "rows-0123456789abcdef.bin"
    stale.write_text("left by a process that died")
    stale.with_suffix(".json").write_text("so was this")
    build(path, encoders, table, fingerprint="old")
    log = build(path, encoders, table.slice(0, 5))
    assert log.num_rows == 5
    assert opened(path, encoders, "old") is None
    assert not stale.exists()
    assert not stale.with_suffix(".json").exists()
    assert all(stranger.read_text() == "mine" for stranger in strangers)


def test_an_unused_file_goes_with_the_next_build(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    for fingerprint in ("a", "b", "c"):
        build(tmp_path, encoders, table, fingerprint=fingerprint)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_beyond_its_bound_is_refused_and_leaves_nothing(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    whole = build(tmp_path / "a", encoders, table)
    size = data_file(tmp_path / "a").stat().st_size
    assert build(tmp_path / "b", encoders, table, max_bytes=size).num_rows == whole.num_rows
    says = r"does not fit `max_bytes` = \d+: its first \d+ rows alone take \d+ bytes \(\d+ a row\)"
    for bound in (0, size - 1):
        with pytest.raises(ConfigError, match=says):
            build(tmp_path / "c", encoders, table, max_bytes=bound)
        assert list((tmp_path / "c").iterdir()) == []
    with pytest.raises(ConfigError, match="`shard_rows` must be at least 1, got 0"):
        build(tmp_path / "c", encoders, table, shard_rows=0)


def test_wide_rows_make_small_shards(
    tmp_path: Path, encoders: Encoders, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SHARD_BYTES", 30 * 400)
    monkeypatch.setattr(cache, "_FEWEST_ROWS", 10)
    log = build(tmp_path, encoders, table, shard_rows=10**6)
    lengths = [len(batch) for batch in log.whole()]
    assert max(lengths) < 120
    assert sum(lengths) == 500


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A disk on which no file grows beyond this; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1000, 30_000])
def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, encoders: Encoders, table: pa.Table, size: int
) -> None:
    build(tmp_path, encoders, table.slice(0, 20), fingerprint="old")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with file_size_limit(size), pytest.raises(StorageError, match="cannot write the encoded log"):
        build(tmp_path, encoders, table)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert opened(tmp_path, encoders, "old") is not None


def test_a_disk_too_full_for_the_index_leaves_the_old_log(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    build(tmp_path, encoders, table, fingerprint="old")
    with file_size_limit(100), pytest.raises(StorageError, match="cannot write the index"):
        build(tmp_path, encoders, table.slice(0, 0))
    assert opened(tmp_path, encoders, "old") is not None
    assert len(list(tmp_path.iterdir())) == 2


def test_a_directory_that_cannot_be_is_told(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the directory"):
        build(tmp_path / "file" / "cache", encoders, table)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "encoded.json").mkdir()
    with pytest.raises(StorageError, match="cannot read the index"):
        opened(tmp_path / "dir", encoders)


def test_a_log_that_breaks_off_leaves_nothing(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    def chunks() -> Iterator[pa.Table]:
        yield table
        raise DataError("page 7 is damaged")

    with pytest.raises(DataError, match="page 7"):
        EncodedLog.build(tmp_path, encoders, chunks(), fingerprint="a", shard_rows=64)
    assert list(tmp_path.iterdir()) == []


def test_a_file_cleared_before_it_was_locked_is_made_again(
    tmp_path: Path, encoders: Encoders, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[Path] = []

    def lock(descriptor: int, operation: int) -> None:
        if not cleared:
            cleared.append(data_file(tmp_path))
            cleared[0].unlink()
        real_lock(descriptor, operation)

    real_lock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock)
    build(tmp_path, encoders, table)
    assert opened(tmp_path, encoders) is not None
    assert data_file(tmp_path) != cleared[0]


# Other processes.

_BUILDER = """
import sys
from pathlib import Path
from polyrank.data.cache import EncodedLog
from polyrank.data.encoders import Encoders
from tests.data.encoding_oracle import SCHEMA, ROWS, table_of

table = table_of(ROWS * 100)

def chunks():
    yield table
    print("half", flush=True)
    sys.stdin.readline()
    yield table

encoders = Encoders.fit(SCHEMA, [table])
log = EncodedLog.build(
    Path(sys.argv[1]), encoders, chunks(), fingerprint=encoders.fingerprint(), shard_rows=64
)
print(log.num_rows, flush=True)
"""


@contextmanager
def half_built(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has encoded half of a log and waits."""
    command = [sys.executable, "-c", _BUILDER, str(path)]
    environment = {**os.environ, "PYTHONPATH": "src:.", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert pipe(process.stdout).readline() == "half\n"
            yield process
        finally:
            process.kill()


def pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def test_a_killed_build_leaves_nothing_that_is_used(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    build(tmp_path, encoders, table, fingerprint="old")
    kept = data_file(tmp_path)
    with half_built(tmp_path) as process:
        (half,) = set(tmp_path.glob("rows-*.bin")) - {kept}
        assert half.stat().st_size > 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert opened(tmp_path, encoders, "old") is not None
    assert opened(tmp_path, encoders) is None
    build(tmp_path, encoders, table)
    assert not half.exists()
    assert opened(tmp_path, encoders) is not None


def test_two_processes_that_build_at_once_do_not_disturb_each_other(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    with half_built(tmp_path) as process:
        half = data_file(tmp_path)
        mine = build(tmp_path, encoders, table)
        assert half.exists()
        assert opened(tmp_path, encoders) is not None
        pipe(process.stdin).write("go on\n")
        pipe(process.stdin).flush()
        assert pipe(process.stdout).readline() == "2400\n"
        assert process.wait() == 0
    assert len(stars(mine)) == 500
    assert opened(tmp_path, encoders) is None
    index = parse_index((tmp_path / "encoded.json").read_bytes(), "index")
    assert index.data == half.name
    assert sum(entry.rows for entry in index.entries) == 2400


def test_threads_that_build_at_once_end_with_one_whole_log(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    found: list[list[float]] = []

    def work() -> None:
        for _ in range(5):
            found.append(stars(build(tmp_path, encoders, table)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 15
    log = opened(tmp_path, encoders)
    assert log is not None
    assert stars(log) == found[0]


def test_a_log_is_closed_when_it_is_let_go(
    tmp_path: Path, encoders: Encoders, table: pa.Table
) -> None:
    def num_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # What earlier tests left open is not closed in between.
    before = num_open()
    logs = [build(tmp_path, encoders, table) for _ in range(5)]
    assert num_open() == before + 5
    logs.clear()
    assert num_open() == before


def test_ids_are_delivered_as_int64(tmp_path: Path, encoders: Encoders, table: pa.Table) -> None:
    batch = next(build(tmp_path, encoders, table).batches(batch_size=5, seed=0, epoch=0))
    assert batch.ids_BF.dtype == batch.ragged["watched"].values_V.dtype == torch.int64
