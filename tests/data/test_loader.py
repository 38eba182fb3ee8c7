"""The order of an epoch and the cursor, over shards in memory."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data.batch import Batch
from polyrank.data.loader import Cursor, stream, windows_of
from polyrank.data.records import Rows, join
from polyrank.data.shards import Shard
from polyrank.errors import ArtefactError, ConfigError
from tests.data.encoded_rows import FORM, batch_of, numbers_of, same

few = settings(max_examples=40, deadline=None)
sizes = st.lists(st.integers(1, 9), max_size=8)
cursors = st.builds(
    Cursor,
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 2**70),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
windows = st.integers(1, 4).map(lambda shards: shards * 9 * FORM.most_bytes)


@dataclass
class Shards:
    """Rows 0, 1, 2, ... in shards of these sizes."""

    sizes: Sequence[int]
    loaded: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shards: list[Shard] = []
        self.rows: list[Rows] = []
        start = 0
        for size in self.sizes:
            rows = FORM.pack(batch_of(list(range(start, start + size))))
            counts = tuple(len(values) for values in rows.values)
            num_bytes = rows.records.nbytes + 4 * sum(counts)
            self.shards.append(Shard(size, len(self.rows), counts, num_bytes, 0))
            self.rows.append(rows)
            start += size
        self.num_rows = start

    def load(self, shards: Sequence[Shard]) -> Rows:
        self.loaded += [shard.offset for shard in shards]
        return join([self.rows[shard.offset] for shard in shards])

    def batches(self, cursor: Cursor, window_bytes: int = 1) -> Iterator[Batch]:
        return stream(windows_of(self.shards, cursor, window_bytes), cursor, FORM, self.load)

    def numbers(self, cursor: Cursor, window_bytes: int = 1) -> list[list[int]]:
        return [numbers_of(batch) for batch in self.batches(cursor, window_bytes)]


@few
@given(sizes=sizes, cursor=cursors, window=windows)
def test_each_row_comes_exactly_once_an_epoch(
    sizes: list[int], cursor: Cursor, window: int
) -> None:
    shards = Shards(sizes)
    batches = shards.numbers(cursor, window)
    assert sorted(number for batch in batches for number in batch) == list(range(shards.num_rows))
    full, rest = divmod(shards.num_rows, cursor.batch_size)
    assert [len(batch) for batch in batches] == [cursor.batch_size] * full + [rest] * (rest > 0)


@few
@given(sizes=sizes, cursor=cursors, window=windows, start=st.integers(0, 30))
def test_a_later_start_gives_the_tail(
    sizes: list[int], cursor: Cursor, window: int, start: int
) -> None:
    shards = Shards(sizes)
    later = replace(cursor, start=start)
    assert shards.numbers(later, window) == shards.numbers(cursor, window)[start:]


@few
@given(sizes=sizes, cursor=cursors, window=windows, world=st.integers(1, 5))
def test_the_ranks_together_are_one_process(
    sizes: list[int], cursor: Cursor, window: int, world: int
) -> None:
    shards = Shards(sizes)
    alone = shards.numbers(cursor, window)
    ranks = [shards.numbers(replace(cursor, rank=r, world=world), window) for r in range(world)]
    for rank, batches in enumerate(ranks):
        assert batches == [batch[rank::world] for batch in alone]


@few
@given(sizes=sizes, cursor=cursors, window=windows)
def test_without_shuffling_the_log_keeps_its_order(
    sizes: list[int], cursor: Cursor, window: int
) -> None:
    shards = Shards(sizes)
    batches = shards.numbers(replace(cursor, shuffle=False), window)
    assert [number for batch in batches for number in batch] == list(range(shards.num_rows))


@few
@given(sizes=st.lists(st.integers(3, 9), min_size=4, max_size=8), cursor=cursors)
def test_the_same_cursor_gives_the_same_bytes_and_another_epoch_another_order(
    sizes: list[int], cursor: Cursor
) -> None:
    cursor = replace(cursor, shuffle=True)
    shards = Shards(sizes)
    for one, two in zip(shards.batches(cursor), shards.batches(cursor), strict=True):
        same(one, two)
    epochs = [shards.numbers(replace(cursor, epoch=epoch, batch_size=999)) for epoch in range(8)]
    seeds = [shards.numbers(replace(cursor, seed=seed, batch_size=999)) for seed in range(8)]
    assert len({tuple(batch) for batches in epochs for batch in batches}) == 8
    assert len({tuple(batch) for batches in seeds for batch in batches}) == 8


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    shards = Shards([7, 3, 9, 5])
    cursor = Cursor(batch_size=1, seed=1, epoch=1)
    flat = [batch[0] for batch in shards.numbers(cursor)]
    assert shards.numbers(replace(cursor, batch_size=100)) == [flat]


def test_a_later_start_reads_no_shard_that_lies_before() -> None:
    shards = Shards([8] * 12)
    cursor = Cursor(batch_size=8, seed=0, epoch=0)
    list(shards.batches(cursor))
    order = shards.loaded.copy()
    shards.loaded.clear()
    list(shards.batches(replace(cursor, start=9)))
    assert shards.loaded == order[9:]


def test_shards_are_permuted_and_rows_are_mixed_within_windows() -> None:
    shards = Shards([100] * 12)
    window = 4 * max(shard.num_bytes for shard in shards.shards)
    cursor = Cursor(batch_size=400, seed=3, epoch=0)
    batches = shards.numbers(cursor, window)
    members = [{number // 100 for number in batch} for batch in batches]
    assert [len(found) for found in members] == [4, 4, 4]
    assert members[0] != {0, 1, 2, 3}
    for batch in batches:
        early = {number // 100 for number in batch[:50]}
        assert len(early) == 4
        order = np.argsort(np.argsort(batch))
        assert abs(np.corrcoef(order, np.arange(400))[0, 1]) < 0.2


def test_each_window_is_shuffled_in_its_own_way() -> None:
    shards = Shards([50] * 6)
    batches = shards.numbers(Cursor(batch_size=50, seed=0, epoch=0))
    orders = {tuple(number % 50 for number in batch) for batch in batches}
    assert len(orders) == 6


def test_every_place_of_an_epoch_is_as_likely_for_every_row() -> None:
    shards = Shards([4, 4, 4])
    counts = np.zeros((12, 12))
    for epoch in range(600):
        cursor = Cursor(batch_size=12, seed=0, epoch=epoch)
        (order,) = shards.numbers(cursor, 10**6)
        counts[np.arange(12), order] += 1
    chi_square = ((counts - 50) ** 2 / 50).sum()
    assert 60 < chi_square < 200  # 121 degrees of freedom: outside in 1 of 100,000 cases.


def test_at_most_two_windows_are_in_memory() -> None:
    shards = Shards([50] * 20)
    alive: set[int] = set()
    most = []

    def load(wanted: Sequence[Shard]) -> Rows:
        rows = shards.load(wanted)
        rows = Rows(rows.records.copy(), rows.values)
        alive.add(wanted[0].offset)
        most.append(len(alive))
        weakref.finalize(rows.records, alive.discard, wanted[0].offset)
        return rows

    cursor = Cursor(batch_size=7, seed=0, epoch=0)
    for _ in stream(windows_of(shards.shards, cursor, 1), cursor, FORM, load):
        pass
    assert len(most) == 20
    assert max(most) == 2
    assert not alive


def test_the_next_window_is_read_ahead_and_no_further() -> None:
    shards = Shards([10] * 6)
    batches = shards.batches(Cursor(batch_size=10, seed=0, epoch=0))
    next(batches)
    for thread in prefetching():
        thread.join(0.2)
    assert len(shards.loaded) <= 2
    batches.close()  # type: ignore[attr-defined]


def prefetching() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("polyrank-prefetch")]


def test_an_abandoned_epoch_leaves_no_thread() -> None:
    shards = Shards([10] * 6)
    for number in (0, 1, 7):
        batches = shards.batches(Cursor(batch_size=5, seed=0, epoch=0))
        list(islice(batches, number))
        del batches
    assert prefetching() == []


def test_a_shard_that_cannot_be_read_stops_the_epoch() -> None:
    shards = Shards([10] * 6)

    def load(wanted: Sequence[Shard]) -> Rows:
        if len(shards.loaded) == 3:
            raise ArtefactError("altered")
        return shards.load(wanted)

    cursor = Cursor(batch_size=10, seed=0, epoch=0)
    batches = stream(windows_of(shards.shards, cursor, 1), cursor, FORM, load)
    assert [len(batch) for batch in islice(batches, 2)] == [10, 10]
    with pytest.raises(ArtefactError, match="altered"):
        list(batches)
    assert prefetching() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"epoch": -1}, "`epoch` must be at least 0"),
        ({"start": -1}, "`start` must be at least 0"),
        ({"world": 0}, "`world` must be at least 1"),
        ({"rank": -1}, "`rank` must be at least 0"),
        ({"rank": 2, "world": 2}, "`rank` must be below `world` = 2, got 2"),
    ],
)
def test_an_impossible_cursor_is_refused(change: dict[str, Any], says: str) -> None:
    cursor = Cursor(batch_size=1, seed=0, epoch=0)
    with pytest.raises(ConfigError, match=says):
        replace(cursor, **change)
