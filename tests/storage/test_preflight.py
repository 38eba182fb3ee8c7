"""What cannot be written to is found out before the work (A5)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyrank.errors import ConfigError, StorageError
from polyrank.storage import CheckpointStore, RunLock, check_writable, commit_directory
from tests.storage.samples import listing


def test_a_missing_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "a" / "b")
    assert listing(tmp_path / "a" / "b") == set()


@pytest.mark.parametrize("where", ["directory", "nowhere", "file"])
def test_a_link_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to(tmp_path / where)
    with pytest.raises(ConfigError, match="out: the output directory is a symbolic link"):
        check_writable(tmp_path / "out")
    assert listing(tmp_path / "directory") == set()


def test_a_file_or_a_path_below_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: the output directory is a file"):
        check_writable(tmp_path / "file")
    with pytest.raises(StorageError, match="[Cc]hoose another path"):
        check_writable(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="Choose a shorter name"):
        check_writable(tmp_path / ("x" * 300))


@contextmanager
def _nobody() -> Iterator[None]:
    """As a user that may not do everything, if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_without_permission_every_way_to_write_says_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "run"
        home.mkdir()
        Path(name).chmod(0o755)
        home.chmod(0o555)
        with _nobody():
            for write in (
                lambda: check_writable(home),
                lambda: check_writable(home / "new"),
                lambda: RunLock(home).acquire(),
                lambda: commit_directory(home / "x", {}, kind="note", format_version=1),
                lambda: CheckpointStore(home).save(1, {}),
            ):
                with pytest.raises(StorageError, match="permission on the directory") as caught:
                    write()
                assert caught.value.exit_code == 6
        assert listing(home) == set()
        home.chmod(0o755)
