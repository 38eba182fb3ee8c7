"""After a power loss at any moment: nothing corrupt accepted, nothing acknowledged lost (A3, T1).

The states are enumerated by ``crash_model`` and made real; the true reader then judges them. The
controls show that the enumeration finds the faults that the protocol guards against.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from polyrank.errors import ArtefactError
from polyrank.storage import CheckpointStore, open_committed
from tests.storage.crash_model import (
    Operation,
    RecordingDisk,
    Tree,
    crash_states,
    put,
    without_syncs,
)
from tests.storage.samples import commit, contents, files_of, sources_of

KEEP = 2
Content: TypeAlias = "dict[str, bytes]"
Reader: TypeAlias = "Callable[[Path], Content | None]"


@dataclass(frozen=True)
class Recording:
    """A trace, and what each acknowledged write in it wrote."""

    trace: list[Operation]
    written: list[Content]


@dataclass
class Verdict:
    """How many states were tried and what the reader got wrong."""

    states: int = 0
    corrupt: int = 0
    lost: int = 0


def record_store(root: Path, steps: list[int], *, exchanges: bool = True) -> Recording:
    """Saves these steps, the last one twice, into a directory that is made on the way."""
    root.mkdir()
    disk = RecordingDisk(root, exchanges=exchanges)
    written = []
    for turn, step in enumerate([*steps, steps[-1]]):
        store = CheckpointStore(root / "checkpoints", KEEP, disk=disk)
        files = {**sources_of(step), "turn": str(turn).encode()}
        store.save(step, files)
        disk.acknowledge()
        written.append({**files_of(step), "turn": str(turn).encode()})
    return Recording(disk.trace, written)


def record_bundle(root: Path, versions: int, *, exchanges: bool = True) -> Recording:
    """Commits a bundle and replaces it again and again."""
    root.mkdir()
    disk = RecordingDisk(root, exchanges=exchanges)
    written = []
    for version in range(versions):
        commit(root / "bundle", sources_of(version), replace=True, disk=disk)
        disk.acknowledge()
        written.append(files_of(version))
    return Recording(disk.trace, written)


def read_store(root: Path) -> Content | None:
    """The newest checkpoint, as a run that resumes would find it.

    Also refuses the state if anything under a checkpoint's name is not a whole one.
    """
    for path in (root / "checkpoints").glob("step-*"):
        open_committed(path, kind="checkpoint", supported_versions={1}).close()
    found = CheckpointStore(root / "checkpoints", KEEP).newest()
    if found is None:
        return None
    with found:
        return contents(found)


def read_bundle(root: Path) -> Content | None:
    """The bundle, or None if there is none."""
    if not any(path.name in {"bundle", ".replaced-bundle"} for path in root.iterdir()):
        return None
    with open_committed(root / "bundle", kind="note", supported_versions={1}) as found:
        return contents(found)


def trust(root: Path) -> Content | None:
    """A reader that believes a manifest where it sees one (for the controls)."""
    paths = sorted((root / "checkpoints").glob("step-*/MANIFEST.json"))
    if not paths:
        return None
    files = [path for path in paths[-1].parent.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(paths[-1].parent)): path.read_bytes()
        for path in files
        if path.name != "MANIFEST.json"
    }


def judge(
    recording: Recording, read: Reader, scratch: Path, *, each: int, until_lost: bool = False
) -> Verdict:
    """Makes every state real and compares what the reader finds with what was written."""
    verdict = Verdict()
    for tree, acknowledged in crash_states(recording.trace, each=each):
        verdict.states += 1
        found = _read_state(tree, read, scratch)
        if isinstance(found, ArtefactError):
            verdict.lost += 1
        elif found is not None and found not in recording.written:
            verdict.corrupt += 1
        else:
            index = -1 if found is None else recording.written.index(found)
            verdict.lost += index < acknowledged - 1
        if verdict.lost and until_lost:
            break
    return verdict


def _read_state(tree: Tree, read: Reader, scratch: Path) -> Content | ArtefactError | None:
    put(tree, scratch)
    try:
        return read(scratch)
    except ArtefactError as error:
        return error
    finally:
        shutil.rmtree(scratch)


def _enumerate(memory: Path, *, saves: int, each: int) -> int:
    recordings = [
        (record_store(memory / "store", list(range(10, 10 + saves))), read_store),
        (record_store(memory / "plain", [1, 2], exchanges=False), read_store),
        (record_bundle(memory / "bundle", saves), read_bundle),
        (record_bundle(memory / "aside", saves, exchanges=False), read_bundle),
    ]
    states = 0
    for recording, read in recordings:
        verdict = judge(recording, read, memory / "state", each=each)
        assert (verdict.corrupt, verdict.lost) == (0, 0)
        states += verdict.states
    return states


def test_5000_states_none_corrupt_none_lost(memory: Path) -> None:
    assert _enumerate(memory, saves=6, each=140) >= 5_000


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_100000_states_none_corrupt_none_lost(memory: Path) -> None:
    assert _enumerate(memory, saves=40, each=1_500) >= 100_000


# Controls: the same states, read after faults that the protocol guards against

SYNCS: dict[str, Callable[[str], bool]] = {
    "files": lambda path: path.endswith((".bin", "cursor.json", "turn")),
    "manifest": lambda path: path.endswith("MANIFEST.json"),
    "folders": lambda path: path.endswith("/state"),
    "temporary directory": lambda path: re.fullmatch(r"checkpoints/\.tmp-[^/]+", path) is not None,
    "directory of the checkpoints": lambda path: path == "checkpoints",
    "directory above": lambda path: path == "",
    "all": lambda path: True,
}  # fmt: skip


@pytest.mark.parametrize("left_out", SYNCS)
def test_no_sync_can_be_left_out(memory: Path, left_out: str) -> None:
    recording = record_store(memory / "store", [1, 2, 3])
    trace = without_syncs(recording.trace, SYNCS[left_out])
    assert len(trace) < len(recording.trace)
    faulty = Recording(trace, recording.written)
    verdict = judge(faulty, read_store, memory / "state", each=20, until_lost=True)
    assert verdict.corrupt == 0
    assert verdict.lost > 0


def test_an_old_one_is_not_removed_before_its_new_name_is_safe(memory: Path) -> None:
    recording = record_store(memory / "store", [1, 2, 3])
    trace = [
        step
        for before, step in zip([None, *recording.trace], recording.trace, strict=False)
        if not (step.kind == "sync" and before is not None and ".trash-" in before.other)
    ]
    assert len(trace) < len(recording.trace)
    faulty = Recording(trace, recording.written)
    assert judge(faulty, read_store, memory / "state", each=100, until_lost=True).lost == 1


def test_without_syncs_a_trusting_reader_accepts_corrupt_ones(memory: Path) -> None:
    recording = record_store(memory / "store", [1, 2, 3])
    faulty = Recording(without_syncs(recording.trace, SYNCS["all"]), recording.written)
    assert judge(faulty, trust, memory / "state", each=20).corrupt > 0


@pytest.mark.parametrize("manifest_first", [True, False])
def test_a_manifest_written_first_and_in_place_is_found_out(
    memory: Path, manifest_first: bool
) -> None:
    root = memory / "store"
    root.mkdir()
    disk = RecordingDisk(root)
    disk.make_directory(root / "checkpoints")
    disk.sync(root)
    written = []
    for step in (1, 2):
        path = root / "checkpoints" / f"step-{step}"
        files = {"a": b"a" * step, "b": b"b" * step}
        disk.make_directory(path)
        disk.sync(path.parent)
        names = ["MANIFEST.json", *files] if manifest_first else [*files, "MANIFEST.json"]
        for name in names:
            disk.write(path / name, files.get(name, b"{}"))
            disk.sync(path)
        disk.acknowledge()
        written.append(files)
    verdict = judge(Recording(disk.trace, written), trust, memory / "state", each=64)
    assert (verdict.corrupt > 0) == manifest_first
    assert verdict.lost == 0


def test_the_model_by_hand(memory: Path) -> None:
    """Four operations whose outcomes are listed one by one."""
    root = memory / "root"
    root.mkdir()
    disk = RecordingDisk(root)
    disk.write(root / "a", b"xy")
    disk.trace.pop()
    disk.rename(root / "a", root / "b")
    found = [tree for tree, _ in crash_states(disk.trace, each=1000)]
    damages: list[bytes] = [b"xy", b"", b"x", b"\0\0"]
    assert len(found) == 9
    for name in ("a", "b"):
        assert all({name: content} in found for content in damages)
    assert {} in found
    disk.sync(root)
    disk.trace.append(Operation("sync", "b"))
    disk.acknowledge()
    last = [tree for tree, acknowledged in crash_states(disk.trace, each=1000) if acknowledged]
    assert last == [{"b": b"xy"}]
