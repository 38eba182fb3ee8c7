"""What is read is what was verified, whatever happens to the files meanwhile (D11)."""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from polyrank.errors import ArtefactError
from polyrank.storage import arrays_writer
from tests.storage.samples import (
    commit,
    contents,
    flip,
    listing,
    open_descriptors,
    reopen,
)


def test_a_change_in_place_after_verifying_is_noticed(tmp_path: Path) -> None:
    arrays = {"x": np.arange(5.0)}
    path = commit(tmp_path / "note", {"a": b"abc", "j.json": b"[1]", "w": arrays_writer(arrays)})
    found = reopen(path)
    np.testing.assert_array_equal(found.arrays("w")["x"], np.arange(5.0))
    for name in found.names:
        flip(path / name, (path / name).stat().st_size - 1, 0)
    for read in (found.read, found.json, found.arrays):
        for name in found.names:
            with pytest.raises(ArtefactError, match=f"{name}: changed after it was verified"):
                read(name)


@pytest.mark.parametrize("size", [0, 1])
def test_a_file_cut_short_after_verifying_is_noticed(tmp_path: Path, size: int) -> None:
    path = commit(tmp_path / "note", {"a": b"abc"})
    found = reopen(path)
    os.truncate(path / "a", size)
    for read in (found.read, found.arrays):
        with pytest.raises(ArtefactError, match="changed after it was verified"):
            read("a")


def test_a_file_grown_after_verifying_is_read_as_verified(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"abc"})
    found = reopen(path)
    with (path / "a").open("ab") as file:
        file.write(b"more")
    assert found.read("a") == b"abc"


def test_a_file_or_artefact_replaced_after_verifying_is_read_as_verified(tmp_path: Path) -> None:
    path = commit(tmp_path / "note", {"a": b"abc"})
    found = reopen(path)
    (tmp_path / "evil").write_bytes(b"xyz")
    (tmp_path / "evil").rename(path / "a")
    assert found.read("a") == b"abc"
    commit(path, {"a": b"new"}, replace=True)
    assert found.read("a") == b"abc"
    assert contents(reopen(path)) == {"a": b"new"}


def test_a_race_of_renames_never_yields_other_bytes(tmp_path: Path) -> None:
    """Another thread keeps swapping the file for one of the same size and back."""
    good, evil = b"good" * 5000, b"evil" * 5000
    path = commit(tmp_path / "note", {"a": good})
    done = threading.Event()

    def swap() -> None:
        for turn in range(10**9):
            if done.is_set():
                return
            spare = tmp_path / "spare"
            spare.write_bytes(evil if turn % 2 else good)
            spare.rename(path / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = {"read": 0, "refused": 0}
    try:
        deadline = time.monotonic() + 30
        while min(outcomes.values()) < 20 and time.monotonic() < deadline:
            try:
                with reopen(path) as found:
                    assert found.read("a") == good
                outcomes["read"] += 1
            except ArtefactError:
                outcomes["refused"] += 1
    finally:
        done.set()
        thread.join()
    assert min(outcomes.values()) >= 20


def test_arrays_are_checked_for_finite_values_where_asked(tmp_path: Path) -> None:
    bad = {"x": np.array([1.0, np.nan])}
    found = reopen(commit(tmp_path / "note", {"w": arrays_writer(bad)}))
    assert np.isnan(found.arrays("w")["x"][1])
    with pytest.raises(ArtefactError, match="w: tensor 'x' holds 1 values that are not finite"):
        found.arrays("w", finite=True)


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    found = reopen(commit(tmp_path / "note"))
    with pytest.raises(ArtefactError, match=r"no file 'x'.*It holds card\.json, state/cursor"):
        found.read("x")
    with pytest.raises(ArtefactError, match=r"no file 'MANIFEST\.json'"):
        found.json("MANIFEST.json")


def test_files_are_closed_with_it_or_when_it_is_forgotten(tmp_path: Path) -> None:
    path = commit(tmp_path / "note")
    before = open_descriptors(tmp_path)
    with reopen(path) as found:
        assert len(open_descriptors(tmp_path)) > len(before)
    assert open_descriptors(tmp_path) == before
    with pytest.raises(AssertionError, match="read after close"):
        found.read("card.json")
    found = reopen(path)
    del found
    gc.collect()
    assert open_descriptors(tmp_path) == before


def test_verifying_and_reading_hold_one_copy_at_most(tmp_path: Path) -> None:
    size = 24 << 20
    arrays = {"x": np.ones(size // 4, dtype=np.float32)}
    path = commit(tmp_path / "note", {"w": arrays_writer(arrays), "b": bytes(size)})
    del arrays
    tracemalloc.start()
    found = reopen(path)
    _, verifying = tracemalloc.get_traced_memory()
    assert found.arrays("w")["x"].shape == (size // 4,)
    assert len(found.read("b")) == size
    _, reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert verifying < 4 << 20
    assert reading < size * 1.1
    assert listing(tmp_path) == {"note"}
