"""The checkpoints of a run: the newest whole one, retention, and what is set aside."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from polyrank.errors import ArtefactError, ConfigError, StorageError
from polyrank.storage import CheckpointStore, Committed, UnsupportedFormat
from polyrank.storage.disk import RealDisk
from polyrank.storage.verify import open_committed
from tests.storage.samples import commit, contents, files_of, flip, listing, sources_of


def _saved(directory: Path, *steps: int, keep: int = 3) -> CheckpointStore:
    store = CheckpointStore(directory, keep)
    for step in steps:
        store.save(step, sources_of(step))
    return store


def _step(found: Committed | None) -> int | None:
    return None if found is None else int(found.path.name.removeprefix("step-"))


def _damage(directory: Path, step: int) -> None:
    flip(directory / f"step-{step:010d}" / "cursor.json", 2, 3)


def test_the_newest_is_found_by_step_and_not_by_time(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run", keep=3)
    assert store.newest() is None
    assert store.steps() == []
    path = store.save(9, sources_of(9), extra={"epoch": 1})
    assert path == tmp_path / "run" / "step-0000000009"
    store.save(1234, sources_of(1234))
    os.utime(tmp_path / "run" / "step-0000001234", (0, 0))
    found = store.newest()
    assert found is not None
    assert contents(found) == files_of(1234)
    assert found.manifest.kind == "checkpoint"
    assert store.steps() == [9, 1234]
    with open_committed(path, kind="checkpoint", supported_versions={1}) as old:
        assert old.manifest.extra == {"epoch": 1}


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_only_the_last_ones_are_kept(tmp_path: Path, keep: int) -> None:
    store = _saved(tmp_path, 1, 2, 3, 4, keep=keep)
    assert store.steps() == [1, 2, 3, 4][-keep:]
    assert listing(tmp_path) == {f"step-{step:010d}" for step in store.steps()}


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_none_is_refused(tmp_path: Path, keep: int) -> None:
    with pytest.raises(ConfigError, match=f"`keep` must be at least 1, got {keep}"):
        CheckpointStore(tmp_path, keep)


def test_the_newest_step_can_be_saved_again(tmp_path: Path) -> None:
    store = _saved(tmp_path, 1, 2)
    store.save(2, {"other": b"content"})
    found = store.newest()
    assert found is not None
    assert contents(found) == {"other": b"content"}


@pytest.mark.parametrize("step", [-1, 4, 10**10])
def test_a_step_out_of_range_or_order_is_refused(tmp_path: Path, step: int) -> None:
    store = _saved(tmp_path, 5)
    with pytest.raises(ConfigError, match=f"`step` must be from 5 .* to 9999999999, got {step}"):
        store.save(step, {})
    assert store.steps() == [5]


def test_the_first_and_last_step(tmp_path: Path) -> None:
    assert _saved(tmp_path, 0, 10**10 - 1).steps() == [0, 10**10 - 1]
    with pytest.raises(ConfigError, match="from 0"):
        CheckpointStore(tmp_path / "new").save(-1, {})


def test_going_back_discards_what_came_after(tmp_path: Path) -> None:
    store = _saved(tmp_path, 1, 2, 3)
    store.discard_after(1)
    assert store.steps() == [1]
    store.save(2, {"again": b""})
    assert listing(tmp_path) == {"step-0000000001", "step-0000000002"}
    store.discard_after(2)
    assert store.steps() == [1, 2]


# Damage


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.rename(path.parent / "elsewhere")
    make(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bit": lambda path: flip(path / "weights.bin", 5, 1),
    "truncation": lambda path: os.truncate(path / "weights.bin", 3),
    "missing file": lambda path: (path / "cursor.json").unlink(),
    "missing manifest": lambda path: (path / "MANIFEST.json").unlink(),
    "manifest bit": lambda path: flip(path / "MANIFEST.json", 5, 1),
    "extra file": lambda path: (path / "extra").touch(),
    "empty": lambda path: _replace(path, Path.mkdir),
    "file": lambda path: _replace(path, Path.touch),
    "link": lambda path: _replace(path, lambda it: it.symlink_to(it.parent / "elsewhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_set_aside_and_the_one_before_taken(tmp_path: Path, damage: str) -> None:
    _saved(tmp_path, 1, 2, 3)
    DAMAGES[damage](tmp_path / "step-0000000003")
    store = CheckpointStore(tmp_path)
    with pytest.raises(ArtefactError):
        store.newest(strict=True)
    assert store.notices == []
    assert _step(store.newest()) == 2
    (notice,) = store.notices
    assert notice.startswith("checkpoint step-0000000003 is damaged (")
    assert "it is now .quarantined-step-0000000003-" in notice
    assert store.steps() == [1, 2]
    assert _step(store.newest(strict=True)) == 2
    assert any(name.startswith(".quarantined-step-0000000003-") for name in listing(tmp_path))
    store.save(3, sources_of(3))
    assert _step(store.newest()) == 3


def test_none_left_is_an_error_now_and_at_the_next_start(tmp_path: Path) -> None:
    _saved(tmp_path, 1, 2)
    _damage(tmp_path, 1)
    _damage(tmp_path, 2)
    store = CheckpointStore(tmp_path)
    with pytest.raises(ArtefactError, match=r"no checkpoint is intact; set aside: \.quarantined-"):
        store.newest()
    assert len(store.notices) == 2
    with pytest.raises(ArtefactError, match="to start afresh") as caught:
        CheckpointStore(tmp_path).newest()
    assert caught.value.exit_code == 4
    for path in tmp_path.iterdir():
        shutil.rmtree(path)
    assert CheckpointStore(tmp_path).newest() is None


class _CannotRename(RealDisk):
    def rename(self, source: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "planted")


def test_where_nothing_can_be_renamed_the_one_before_is_taken_all_the_same(tmp_path: Path) -> None:
    _saved(tmp_path, 1, 2, 3)
    _damage(tmp_path, 3)
    store = CheckpointStore(tmp_path, disk=_CannotRename())
    assert _step(store.newest()) == 2
    assert "read-only" in store.notices[0]
    assert store.steps() == [1, 2, 3]
    _damage(tmp_path, 2)
    _damage(tmp_path, 1)
    with pytest.raises(ArtefactError, match="set aside: none"):
        store.newest()


@pytest.mark.parametrize(("kind", "version"), [("checkpoint", 2), ("note", 1)])
def test_an_intact_one_of_another_format_is_refused_and_left_alone(
    tmp_path: Path, kind: str, version: int
) -> None:
    _saved(tmp_path, 1)
    CheckpointStore(tmp_path, kind=kind, format_version=version).save(2, {})
    store = CheckpointStore(tmp_path)
    with pytest.raises(UnsupportedFormat):
        store.newest()
    assert store.steps() == [1, 2]
    assert store.notices == []
    both = CheckpointStore(tmp_path, kind=kind, supported_versions={1, 2})
    assert _step(both.newest()) == 2


# Other processes


def test_what_dead_processes_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    for name in (".tmp-step-0000000002-99-0123abcd", ".trash-step-0000000000-99-0123abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    for name in (".tmp-mine", "notes", ".quarantined-step-0000000000-99-0123abcd"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-12").mkdir()
    store = CheckpointStore(tmp_path)
    assert listing(tmp_path) == {
        "step-0000000001", ".tmp-mine", "notes", "step-12",
        ".quarantined-step-0000000000-99-0123abcd",
    }  # fmt: skip
    assert store.steps() == [1]


def test_one_that_is_retired_while_it_is_opened_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _saved(tmp_path, 1, 2, keep=1)
    other = CheckpointStore(tmp_path, keep=1)
    waiting = [3, 4]

    def save_first(path: Path, **options: object) -> Committed:
        if waiting:
            step = waiting.pop(0)
            other.save(step, sources_of(step))
        return open_committed(path, kind="checkpoint", supported_versions={1})

    monkeypatch.setattr("polyrank.storage.store.open_committed", save_first)
    assert _step(store.newest()) == 4
    assert store.notices == []


def test_a_directory_that_never_rests_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _saved(tmp_path, 1)
    numbers = iter(range(1000))
    monkeypatch.setattr("polyrank.storage.store._identity", lambda _: (0, next(numbers)))
    _damage(tmp_path, 1)
    with pytest.raises(ArtefactError, match="no checkpoint could be opened in 100 attempts"):
        store.newest()
    assert store.steps() == [1]


class _CannotRetire(RealDisk):
    def rename(self, source: Path, target: Path) -> None:
        if target.name.startswith(".trash-"):
            raise OSError(errno.EIO, "planted")
        super().rename(source, target)


def test_an_old_one_that_cannot_be_removed_is_a_notice_after_a_save(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run", keep=1, disk=_CannotRetire())
    store.save(1, sources_of(1))
    store.save(2, sources_of(2))
    assert store.steps() == [1, 2]
    assert store.notices == [
        "run: cannot remove old checkpoints: Input/output error (EIO). "
        "The disk is failing: check the system log and move to another disk."
    ]
    with pytest.raises(StorageError, match="cannot remove old checkpoints"):
        store.discard_after(1)


class _CannotPublish(RealDisk):
    def rename(self, source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "planted")


def test_a_save_that_fails_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    store = CheckpointStore(tmp_path, disk=_CannotPublish())
    with pytest.raises(StorageError, match="Free space"):
        store.save(2, sources_of(2))
    assert listing(tmp_path) == {"step-0000000001"}
    assert _step(_saved(tmp_path, 2).newest()) == 2


def test_a_swap_cut_short_hides_no_checkpoint(tmp_path: Path) -> None:
    """Between the two renames of a file system without exchange the step stands aside."""
    _saved(tmp_path, 1, 2)
    (tmp_path / "step-0000000002").rename(tmp_path / ".replaced-step-0000000002")
    store = CheckpointStore(tmp_path)
    assert store.steps() == [1, 2]
    found = store.newest()
    assert found is not None
    assert contents(found) == files_of(2)
    flip(tmp_path / ".replaced-step-0000000002" / "cursor.json", 0, 0)
    assert _step(store.newest()) == 1
    assert store.steps() == [1]


def test_a_path_that_cannot_be_looked_at_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENAMETOOLONG"):
        CheckpointStore(tmp_path / ("x" * 300))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not a directory"):
        CheckpointStore(tmp_path / "file").newest()


def test_a_damaged_artefact_elsewhere_is_not_touched(tmp_path: Path) -> None:
    commit(tmp_path / "bundle")
    _saved(tmp_path, 1)
    CheckpointStore(tmp_path).newest()
    assert listing(tmp_path) == {"bundle", "step-0000000001"}
