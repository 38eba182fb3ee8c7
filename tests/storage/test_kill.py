"""Killed at any time while saving for ever; read while another process retires (A1, A11, T1)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyrank.storage import CheckpointStore
from tests.storage.processes import Zygote
from tests.storage.samples import contents, files_of


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One for all."""
    with Zygote() as found:
        yield found


def _kill_at_random(zygote: Zygote, directory: Path, times: int, seed: int) -> None:
    """Each start goes on in the directory as the last kill left it, or in a new one."""
    draw = random.Random(seed)
    saved = 0
    for turn in range(times):
        home = directory / str(turn // 2)
        before = _newest(home)
        if before > 2:
            CheckpointStore(home).discard_after(2)
        ended = zygote.run_and_kill("save_on", home, draw.uniform(0, 0.04))
        assert ended.exit_code == -9, ended
        assert _newest(home) >= max(ended.acknowledged, default=0)
        saved += len(ended.acknowledged)
    assert saved >= times


def _newest(directory: Path) -> int:
    """The newest step, whole; 0 if there is none."""
    store = CheckpointStore(directory, keep=2)
    found = store.newest()
    assert store.notices == []
    if found is None:
        return 0
    with found:
        step = int(found.path.name.removeprefix("step-"))
        assert contents(found) == files_of(step)
    return step


def test_killed_40_times_at_random(zygote: Zygote, memory: Path) -> None:
    _kill_at_random(zygote, memory, 40, seed=5)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_killed_500_times_at_random(zygote: Zygote, memory: Path) -> None:
    _kill_at_random(zygote, memory, 500, seed=6)


def test_a_reader_always_gets_a_whole_one_while_old_ones_are_retired(
    zygote: Zygote, memory: Path
) -> None:
    home = memory / "store"
    child = zygote.start("save_on", home)
    try:
        seen: list[int] = []
        deadline = time.monotonic() + 20
        while len(set(seen)) < 40 and time.monotonic() < deadline:
            step = _newest(home)
            if step:
                seen.append(step)
    finally:
        ended = zygote.end(child)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 10
    assert ended.acknowledged[-1] >= seen[-1] - 1
