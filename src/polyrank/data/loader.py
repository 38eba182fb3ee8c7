"""The order of the rows in an epoch, and batches in that order from any cursor on.

The order is a function of (seed, epoch) alone: first the shards are permuted and cut into windows,
then the rows within each window, or its requests. So batch i is known without the batches before
it, and what a run must remember is one integer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.data.batch import Batch
from polyrank.data.records import RecordFormat, Rows, join
from polyrank.data.requests import Requests
from polyrank.data.shards import Shard
from polyrank.errors import ConfigError

WINDOW_BYTES = 64 << 20
"""Shards shuffled together fill at most this, but one at least; two windows are in memory."""

Load = Callable[[Sequence[Shard]], Rows]


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Which batches of which epoch, for whom.

    Raises:
        ConfigError: An impossible value.
    """

    batch_size: int
    """Rows of the batch of all processes together."""
    seed: int
    epoch: int
    start: int = 0
    """The first batch to give."""
    shuffle: bool = True
    rank: int = 0
    world: int = 1
    whole_requests: bool = False
    """Shuffle requests, not rows, and split none; the rows of each must stand together."""

    def __post_init__(self) -> None:
        _at_least("batch_size", self.batch_size, 1)
        _at_least("seed", self.seed, 0)
        _at_least("epoch", self.epoch, 0)
        _at_least("start", self.start, 0)
        _at_least("world", self.world, 1)
        _at_least("rank", self.rank, 0)
        if self.rank >= self.world:
            raise ConfigError(f"`rank` must be below `world` = {self.world}, got {self.rank}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"`{name}` must be at least {least}, got {value}")


@dataclass(frozen=True)
class Window:
    """Shards whose rows are shuffled together."""

    number: int
    start: int
    """The first of its rows, counted over the epoch."""
    stop: int
    shards: tuple[Shard, ...]


def windows_of(shards: Sequence[Shard], cursor: Cursor, window_bytes: int) -> list[Window]:
    """The windows of an epoch, in order."""
    order = np.arange(len(shards))
    if cursor.shuffle:
        order = _generator(cursor.seed, cursor.epoch, 0).permutation(len(shards))
    width = max(1, window_bytes // max((shard.num_bytes for shard in shards), default=1))
    windows: list[Window] = []
    start = 0
    for number, first in enumerate(range(0, len(shards), width)):
        members = tuple(shards[place] for place in order[first : first + width])
        stop = start + sum(shard.num_rows for shard in members)
        windows.append(Window(number, start, stop, members))
        start = stop
    return windows


def stream(
    windows: Sequence[Window], cursor: Cursor, form: RecordFormat, load: Load
) -> Iterator[Batch]:
    """The batches from ``cursor.start`` on; the last one may be smaller.

    Batch i holds the rows [i * batch_size, (i + 1) * batch_size) of the epoch, of which the process
    takes every ``world``-th from its rank on; possibly none, so that processes stay in step. With
    whole requests, it holds those whose last row is one of these.
    """
    total = windows[-1].stop if windows else 0
    first = cursor.start * cursor.batch_size
    loaded = _prefetched([w for w in windows if w.stop > first], cursor, form, load)
    with closing(loaded):
        current: _Loaded | None = None
        for start in range(first, total, cursor.batch_size):
            stop = min(start + cursor.batch_size, total)
            parts = [] if current is None else [current.take(start, stop)]
            while current is None or current.window.stop < stop:
                current = None  # Let go of it before the next but one is read.
                current = next(loaded)
                parts.append(current.take(start, stop))
            yield form.unpack(join(parts))
            if current.window.stop == stop:
                current = None


class _Loaded:
    """A window in memory."""

    def __init__(self, window: Window, cursor: Cursor, form: RecordFormat, load: Load) -> None:
        self.window = window
        self._cursor, self._form = cursor, form
        self._rows = load(window.shards)
        self._starts = form.starts_of(self._rows)
        generator = _generator(cursor.seed, cursor.epoch, 1 + window.number)
        shuffle = generator.permutation if cursor.shuffle else np.arange
        self._requests: Requests | None = None
        self._order: NDArray[np.int64] | None = None
        if cursor.whole_requests:
            self._requests = Requests.of(form.codes(self._rows, "request"), shuffle)
        elif cursor.shuffle:
            self._order = shuffle(len(self._rows))

    def take(self, start: int, stop: int) -> Rows:
        """This process's share of a batch's rows, ``start`` to ``stop`` of the epoch, in this
        window."""
        return self._form.take(self._rows, self._starts, self._places(start, stop))

    def _places(self, start: int, stop: int) -> NDArray[np.int64]:
        rank, world, window = self._cursor.rank, self._cursor.world, self.window
        if self._requests is not None:
            return self._requests.rows(start - window.start, stop - window.start, rank, world)
        wanted = np.arange(start + rank, stop, world)
        low, high = np.searchsorted(wanted, [window.start, window.stop])
        at = wanted[low:high] - window.start
        return at if self._order is None else self._order[at]


def _prefetched(
    windows: Sequence[Window], cursor: Cursor, form: RecordFormat, load: Load
) -> Generator[_Loaded, None, None]:
    """Each window in order, the next one read by a thread meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="polyrank-prefetch") as pool:
        ahead: deque[Future[_Loaded]] = deque()
        for window in windows:
            ahead.append(pool.submit(_Loaded, window, cursor, form, load))
            if len(ahead) == 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch, stream))))
