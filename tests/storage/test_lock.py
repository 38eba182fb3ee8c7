"""One trainer per directory, with real processes (A7)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyrank.errors import ConfigError, StorageError
from polyrank.storage import RunLock
from tests.child import ROOT
from tests.storage.samples import listing, open_descriptors

HOLD = """
import os, sys, time
from pathlib import Path
from polyrank.errors import PolyrankError
from polyrank.storage import RunLock
try:
    lock = RunLock(Path(sys.argv[1]))
    lock.acquire()
except PolyrankError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
child = os.fork() if sys.argv[2] == "fork" else -1
if child == 0:
    time.sleep(60)
print(child, *lock.notices, sep="|", flush=True)
if sys.argv[2] != "once":
    time.sleep(60)
lock.release()
"""


@contextmanager
def _process(directory: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(directory), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_process_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    with _process(tmp_path, "hold") as first:
        assert _line(first) == "-1"
        with _process(tmp_path, "once") as second:
            message = _line(second)
            assert second.wait(10) == 2
        assert f"another trainer holds this run directory: pid {first.pid} on " in message
        assert "(this boot)" in message
        record = json.loads((tmp_path / ".lock").read_bytes())
        assert record["pid"] == first.pid
        assert record["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("how", ["hold", "fork"])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path, how: str) -> None:
    """Also while a child that it forked lives on, as data loaders do."""
    with _process(tmp_path, how) as first:
        child = int(_line(first))
        first.kill()
        first.wait(10)
        try:
            with _process(tmp_path, "once") as second:
                answer = _line(second)
                assert second.wait(10) == 0
            assert f"took over the lock of a dead process: pid {first.pid}" in answer
        finally:
            if child > 0:
                os.kill(child, signal.SIGKILL)


def test_a_released_lock_leaves_nothing_to_take_over(tmp_path: Path) -> None:
    before = open_descriptors(tmp_path)
    for _ in range(2):
        with RunLock(tmp_path) as lock:
            assert lock.notices == []
            with pytest.raises(ConfigError, match=f"pid {os.getpid()} "):
                RunLock(tmp_path).acquire()
    lock.release()
    assert listing(tmp_path) == {".lock"}
    assert (tmp_path / ".lock").read_bytes() == b""
    assert open_descriptors(tmp_path) == before


def test_the_lock_is_released_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunLock(tmp_path):
        raise RuntimeError
    RunLock(tmp_path).acquire()


@pytest.mark.parametrize("record", [b"{", b"[1]", b"\xff" * 9000])
def test_a_record_that_makes_no_sense_is_no_obstacle(tmp_path: Path, record: bytes) -> None:
    (tmp_path / ".lock").write_bytes(record)
    with RunLock(tmp_path) as lock:
        assert lock.notices == [
            "took over the lock of a dead process: a process that left no readable record"
        ]
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()


def test_a_record_of_another_machine_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").write_text('{"pid": 7, "boot_id": "x", "host": "far"}')
    monkeypatch.setattr("polyrank.storage.lock._BOOT_ID", tmp_path / "nowhere")
    with RunLock(tmp_path) as lock:
        assert lock.notices[0].endswith("pid 7 on 'far' (another boot or machine)")
        assert json.loads((tmp_path / ".lock").read_bytes())["boot_id"] == "unknown"


def test_what_cannot_be_locked_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="cannot lock the run directory: No such file"):
        RunLock(tmp_path / "missing").acquire()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="ELOOP"):
        RunLock(tmp_path / "run").acquire()
    assert (tmp_path / "precious").read_text() == "mine"

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    before = open_descriptors(tmp_path)
    with pytest.raises(StorageError, match="choose a directory on a local disk"):
        RunLock(tmp_path).acquire()
    assert open_descriptors(tmp_path) == before
