"""Whole requests: rows brought together on disk, and batches that cut none.

Shapes: N rows of a log.
"""

from __future__ import annotations

import os
import resource
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import Batch, EncodedLog, Encoders
from polyrank.data import cache as cache_module
from polyrank.data import gather as gather_module
from polyrank.data.requests import Requests
from polyrank.data.shard_writer import ShardWriter
from polyrank.errors import ConfigError, DataError, StorageError
from polyrank.evaluation import NO_GROUP
from polyrank.schema import Binary, Categorical, Keys, Schema
from tests.data.encoded_rows import FORM, LAYOUT, batch_of, same

few = settings(max_examples=40, deadline=None)
codes = st.lists(st.integers(-1, 5) | st.integers(0, 60), min_size=1, max_size=60)
"""Requests of a log's rows: scattered, some long, some rows without one."""
fresh = count()


def rows_of(requests: Sequence[int], numbers: Sequence[int]) -> Batch:
    batch = batch_of(list(numbers))
    assert batch.groups is not None
    own = torch.tensor([requests[number] for number in numbers], dtype=torch.int64)
    return replace(batch, groups={**batch.groups, "request": own})


def log_of(folder: Path, requests: Sequence[int], shard_rows: int = 7) -> EncodedLog:
    """Row n of request ``requests[n]``, in the order of the log."""
    path = folder / f"log-{next(fresh)}.bin"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    writer = ShardWriter(descriptor, FORM, shard_rows, None, path.name)
    writer.add(FORM.pack(rows_of(requests, range(len(requests)))))
    return EncodedLog(descriptor, FORM, writer.finish("plain", path.name), path.name)


def gathered(folder: Path, requests: Sequence[int], shard_bytes: int = 2000) -> EncodedLog:
    """As the log above, by request; opened again, so every byte is checked."""
    path = folder / f"gathered-{next(fresh)}"
    made = log_of(folder, requests).by_request(path, fingerprint="x", shard_bytes=shard_bytes)
    again = EncodedLog.open(path, "x", LAYOUT)
    assert again is not None
    assert again.longest_request == made.longest_request
    return again


def numbers_of(requests: Sequence[int], batch: Batch) -> list[int]:
    """The numbers of the rows, every field checked against them."""
    numbers: list[int] = batch.ids_BF[:, 0].tolist()
    same(batch, rows_of(requests, numbers))
    return numbers


def epoch_of(
    log: EncodedLog, requests: Sequence[int], batch_size: int, **cursor: Any
) -> list[list[int]]:
    place = {"seed": 0, "epoch": 0, "whole_requests": True, **cursor}
    return [numbers_of(requests, batch) for batch in log.batches(batch_size=batch_size, **place)]


def lengths_of(requests: Sequence[int]) -> dict[int, int]:
    """Rows by request; a row without one is a request of its own."""
    named = [code if code != NO_GROUP else -2 - n for n, code in enumerate(requests)]
    return dict(Counter(named))


# On disk.


@few
@given(requests=codes, shard_bytes=st.sampled_from([1, 600, 2000, 10**6]))
def test_every_row_comes_once_and_no_request_is_cut(
    tmp_path_factory: pytest.TempPathFactory, requests: list[int], shard_bytes: int
) -> None:
    log = gathered(tmp_path_factory.mktemp("log"), requests, shard_bytes)
    shards = [numbers_of(requests, batch) for batch in log.whole()]
    numbers = [number for shard in shards for number in shard]
    assert sorted(numbers) == list(range(len(requests)))
    runs = [
        (code, list(run))
        for shard in shards
        for code, run in groupby(shard, key=lambda number: requests[number])
    ]
    named = [code for code, _ in runs if code != NO_GROUP]
    assert len(named) == len({*named})
    assert all(run == sorted(run) for code, run in runs if code != NO_GROUP)  # the log's order
    assert log.longest_request == max(lengths_of(requests).values())


def test_a_log_in_many_shards_stays_in_many() -> None:
    """Rows without a request are dealt out, too."""
    for requests in ([NO_GROUP] * 5000, [n // 5 for n in range(5000)]):
        part_N = gather_module._parts(np.array(requests), 0, 10)
        assert np.bincount(part_N, minlength=10).min() > 350
    first, second = (gather_module._parts(np.array([7, 7, 7]), start, 10) for start in (0, 99))
    assert {*first.tolist()} == {*second.tolist()}
    assert len({*first.tolist()}) == 1


@few
@given(requests=codes, data=st.data())
def test_the_bytes_follow_from_the_log_alone(
    tmp_path_factory: pytest.TempPathFactory, requests: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    contents = []
    for place, shard_rows in enumerate((3, data.draw(st.integers(1, 60)))):
        path = folder / str(place)
        log_of(folder, requests, shard_rows).by_request(path, fingerprint="x", shard_bytes=2000)
        (rows,) = path.glob("rows-*.bin")
        contents.append(rows.read_bytes())
    assert contents[0] == contents[1]


def test_many_windows_give_the_bytes_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = np.random.default_rng(0).integers(-1, 40, 300).tolist()
    gathered(tmp_path, requests)
    monkeypatch.setattr(gather_module, "_WINDOW_BYTES", 1)
    gathered(tmp_path, requests)
    one, many = sorted(tmp_path.glob("gathered-*/rows-*.bin"))
    assert one.read_bytes() == many.read_bytes()


def test_rows_without_a_request_are_requests_of_one_row(tmp_path: Path) -> None:
    requests = [NO_GROUP] * 20
    log = gathered(tmp_path, requests)
    assert log.longest_request == 1
    assert [len(batch) for batch in epoch_of(log, requests, 1)] == [1] * 20


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    descriptor = os.open(tmp_path / "none", os.O_RDWR | os.O_CREAT)
    index = ShardWriter(descriptor, FORM, 5, None, "none").finish("plain", "none")
    made = EncodedLog(descriptor, FORM, index, "none").by_request(path, fingerprint="x")
    assert (made.num_rows, made.longest_request) == (0, 0)
    assert list(made.batches(batch_size=5, seed=0, epoch=0, whole_requests=True)) == []


def test_another_fingerprint_or_a_changed_byte_is_no_log(tmp_path: Path) -> None:
    log_of(tmp_path, [1, 2, 1]).by_request(tmp_path / "log", fingerprint="x")
    assert EncodedLog.open(tmp_path / "log", "y", LAYOUT) is None
    (path,) = (tmp_path / "log").glob("rows-*.bin")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    assert EncodedLog.open(tmp_path / "log", "x", LAYOUT) is None


def test_a_new_log_replaces_the_old_one(tmp_path: Path) -> None:
    for requests in ([1, 2, 1], [4, 4]):
        log_of(tmp_path, requests).by_request(tmp_path / "log", fingerprint="x")
    assert len(list((tmp_path / "log").iterdir())) == 2
    found = EncodedLog.open(tmp_path / "log", "x", LAYOUT)
    assert found is not None
    assert found.num_rows == 2


def test_a_log_that_was_not_gathered_says_nothing_of_requests(tmp_path: Path) -> None:
    """Its index has the bytes it always had."""
    schema = Schema(
        features=(Categorical(name="item", min_frequency=1),),
        tasks=(Binary(name="click"),),
        keys=Keys(request="request"),
    )
    table = pa.table({"item": [1, 2], "click": [0, 1], "request": ["a", "b"]})
    log = EncodedLog.build(tmp_path, Encoders.fit(schema, [table]), [table], fingerprint="x")
    assert log.longest_request is None
    assert "longest" not in (tmp_path / "encoded.json").read_text()
    with pytest.raises(ConfigError, match="`whole_requests`.*stand together.*`by_request`"):
        log.batches(batch_size=5, seed=0, epoch=0, whole_requests=True)


def test_too_large_a_log_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`max_bytes` = 100.*3 rows"):
        log_of(tmp_path, [1, 2, 1]).by_request(tmp_path / "log", fingerprint="x", max_bytes=100)
    assert not (tmp_path / "log").exists()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does to a write, by a limit on the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    log = log_of(tmp_path, list(range(200)))
    with file_size_limit(3000), pytest.raises(StorageError, match="cannot write the encoded log"):
        log.by_request(tmp_path / "log", fingerprint="x")
    assert list((tmp_path / "log").iterdir()) == []


# In batches.


@few
@given(
    requests=codes,
    seed=st.integers(0, 3),
    epoch=st.integers(0, 2),
    shuffle=st.booleans(),
    spare=st.integers(0, 9),
    windows=st.sampled_from([1, 3000, 10**7]),
)
def test_a_batch_holds_whole_requests_and_each_row_comes_once(
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[int],
    seed: int,
    epoch: int,
    shuffle: bool,
    spare: int,
    windows: int,
) -> None:
    log = gathered(tmp_path_factory.mktemp("log"), requests)
    assert log.longest_request is not None
    size = log.longest_request + spare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "WINDOW_BYTES", windows)
        cursor = {"seed": seed, "epoch": epoch, "shuffle": shuffle}
        batches = epoch_of(log, requests, size, **cursor)
        for start in range(len(batches) + 1):
            assert epoch_of(log, requests, size, **cursor, start=start) == batches[start:]
    assert sorted(number for batch in batches for number in batch) == list(range(len(requests)))
    assert len(batches) == log.num_batches(size)
    assert all(0 < len(batch) < size + log.longest_request for batch in batches)
    homes: dict[int, set[int]] = {}
    for place, batch in enumerate(batches):
        for number in batch:
            homes.setdefault(requests[number], set()).add(place)
    assert all(len(places) == 1 for code, places in homes.items() if code != NO_GROUP)
    ends = np.cumsum([len(batch) for batch in batches])
    due = np.minimum(size * np.arange(1, len(batches) + 1), len(requests))
    assert ((ends <= due) & (ends > due - log.longest_request)).all()


@few
@given(requests=codes, world=st.integers(1, 4))
def test_the_ranks_share_out_whole_requests(
    tmp_path_factory: pytest.TempPathFactory, requests: list[int], world: int
) -> None:
    log = gathered(tmp_path_factory.mktemp("log"), requests)
    assert log.longest_request is not None
    size = log.longest_request + 3
    alone = epoch_of(log, requests, size)
    ranks = [epoch_of(log, requests, size, rank=rank, world=world) for rank in range(world)]
    for place, batch in enumerate(alone):
        shares = [rank[place] for rank in ranks]
        assert sorted(number for share in shares for number in share) == sorted(batch)
        named = [{requests[n] for n in share} - {NO_GROUP} for share in shares]
        assert sum(map(len, named)) == len(set().union(*named))


def test_the_ranks_have_about_as_many_requests() -> None:
    found = Requests.of(np.array([n // 3 for n in range(900)]), np.arange)
    for start, stop in ((0, 900), (30, 270)):
        shares = [len(found.rows(start, stop, rank, 4)) for rank in range(4)]
        assert shares == [(stop - start) // 4] * 4


def test_requests_are_shuffled_anew_each_epoch_and_by_seed(tmp_path: Path) -> None:
    requests = [n // 2 for n in range(60)]
    log = gathered(tmp_path, requests)
    epochs = [epoch_of(log, requests, 999, epoch=epoch) for epoch in range(4)]
    seeds = [epoch_of(log, requests, 999, seed=seed) for seed in range(1, 4)]
    orders = [tuple(batch) for (batch,) in epochs + seeds]
    assert len({*orders}) == 7
    assert [batch for batches in epochs[:1] for batch in batches] == epoch_of(log, requests, 999)


def test_a_request_longer_than_a_batch_is_refused(tmp_path: Path) -> None:
    log = gathered(tmp_path, [3] * 9 + [4])
    assert len(epoch_of(log, [3] * 9 + [4], 9)) == 2
    with pytest.raises(DataError, match="longest request has 9 rows.*`batch_size` = 8.*least 9"):
        log.batches(batch_size=8, seed=0, epoch=0, whole_requests=True)
    assert len(list(log.batches(batch_size=8, seed=0, epoch=0))) == 2
