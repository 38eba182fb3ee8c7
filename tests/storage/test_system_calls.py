"""Killed or refused at each system call of a save, for real, with strace (A2, A4, T1, T4)."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyrank.storage import CheckpointStore
from tests.storage.processes import Ended, Zygote, count_calls, require_strace
from tests.storage.samples import commit, contents, files_of, listing, reopen, sources_of

CALLS = ["fsync", "renameat2", "rename", "write", "mkdir", "openat", "unlinkat", "rmdir", "flock"]
CALLS += ["close", "getdents64"]
HINDERED = ["fsync", "renameat2", "write", "mkdir", "openat"]
ERRORS = ["ENOSPC", "EIO", "EROFS", "EDQUOT", "EACCES"]
NO_SWAP = "inject=renameat2:error=EINVAL"


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One for all."""
    require_strace()
    with Zygote() as found:
        yield found


def _store_of_two(directory: Path) -> Path:
    store = CheckpointStore(directory, keep=2)
    for step in (1, 2):
        store.save(step, sources_of(step))
    return directory


def _bundle(directory: Path) -> Path:
    commit(directory / "bundle", sources_of(2))
    return directory


def _points(zygote: Zygote, job: str, directory: Path, calls: list[str], *more: str) -> list[str]:
    """Every call of a job, as ``call:K``, from a run that nothing hinders."""
    log = directory.with_suffix(".log")
    ended = zygote.run(job, directory, f"trace={','.join([*calls, 'renameat2'])}", *more, log=log)
    assert ended.exit_code == 0, ended
    counts = count_calls(log, calls)
    return [f"{call}:{k}" for call in calls for k in range(1, counts[call] + 1)]


def _inject(point: str, what: str) -> tuple[str, str]:
    call, k = point.split(":")
    return f"trace={call},renameat2", f"inject={call}:{what}:when={k}"


def _newest_after(directory: Path, ended: Ended) -> int:
    """The step found by a run that starts now; it must be whole and not older than acknowledged."""
    store = CheckpointStore(directory, keep=2)
    found = store.newest()
    assert found is not None
    assert store.notices == []
    with found:
        step = int(found.path.name.removeprefix("step-"))
        assert contents(found) == files_of(step)
    assert step >= max(ended.acknowledged, default=2)
    assert all(not name.startswith((".tmp-", ".trash-")) for name in listing(directory))
    store.save(step + 1, sources_of(step + 1))
    return step


def _bundle_after(directory: Path, ended: Ended) -> int:
    with reopen(directory / "bundle") as found:
        (version,) = [n for n in (2, 3, 4) if contents(found) == files_of(n)]
    assert version >= max(ended.acknowledged, default=2)
    commit(directory / "bundle", sources_of(5), replace=True)
    assert listing(directory) == {"bundle"}
    return version


def _kill_at_points(zygote: Zygote, directory: Path, amount: int, seed: int) -> int:
    """Kills before ``amount`` of the calls of three jobs; all calls if there are no more."""
    jobs = [
        ("save", _store_of_two, _newest_after, ()),
        ("replace", _bundle, _bundle_after, ()),
        ("replace", _bundle, _bundle_after, (NO_SWAP,)),
    ]
    killed = 0
    for turn, (job, prepare, check, more) in enumerate(jobs):
        calls = [call for call in CALLS if not (more and call == "renameat2")]
        points = _points(zygote, job, prepare(directory / f"plain{turn}"), calls, *more)
        assert ("rename:1" in points) == bool(more)
        share = -(-amount // len(jobs))
        chosen = random.Random(seed).sample(points, min(share, len(points)))
        seen = set()
        for point in chosen:
            home = prepare(directory / f"{turn}-{point}")
            trace, inject = _inject(point, "signal=KILL")
            ended = zygote.run(job, home, trace, inject, *more)
            assert ended.exit_code == -9, (point, ended)
            seen.add(check(home, ended))
            killed += 1
        assert len(seen) > 1, "every kill left the same version: the points are blind"
    return killed


def test_killed_at_60_system_calls(zygote: Zygote, memory: Path) -> None:
    assert _kill_at_points(zygote, memory, 60, seed=1) >= 60


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_killed_at_400_system_calls(zygote: Zygote, memory: Path) -> None:
    assert _kill_at_points(zygote, memory, 10**6, seed=2) >= 400


def _refuse_at_points(zygote: Zygote, directory: Path, amount: int, seed: int) -> list[Ended]:
    """Lets ``amount`` of the calls fail; ends with exit code 6 or, after the commit, a notice."""
    points = _points(zygote, "save", _store_of_two(directory / "plain"), HINDERED)
    draw = random.Random(seed)
    cases = [(point, error) for point in points for error in ERRORS]
    outcomes = []
    for number, (point, error) in enumerate(draw.sample(cases, min(amount, len(cases)))):
        home = _store_of_two(directory / str(number))
        ended = zygote.run("save", home, *_inject(point, f"error={error}"))
        outcomes.append(ended)
        if ended.exit_code == 0:
            assert ended.acknowledged == [3, 4, 4], (point, error, ended)
        else:
            assert ended.exit_code == 6, (point, error, ended)
            _check_refusal(json.loads(ended.said[-1].removeprefix("error ")), error)
            left = {name for name in listing(home) if name.startswith(".tmp-")}
            assert not left or ended.acknowledged == [3, 4], (point, error, left)
        _newest_after(home, ended)
    return outcomes


def _check_refusal(error: dict[str, str], errno_name: str) -> None:
    assert error["code"] == "storage"
    assert errno_name in error["message"]
    assert error["hint"]
    assert "/" not in error["where"]


def test_refused_at_40_system_calls(zygote: Zygote, memory: Path) -> None:
    outcomes = _refuse_at_points(zygote, memory, 40, seed=3)
    assert len(outcomes) >= 30
    assert sum(ended.exit_code == 6 for ended in outcomes) >= 20


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_refused_at_200_system_calls(zygote: Zygote, memory: Path) -> None:
    assert len(_refuse_at_points(zygote, memory, 10**6, seed=4)) >= 200


@pytest.mark.parametrize("error", ERRORS)
def test_a_sync_that_failed_is_not_tried_again(zygote: Zygote, memory: Path, error: str) -> None:
    """After the first failing ``fsync`` there is no other one: what it lost may be gone."""
    home = _store_of_two(memory / "store")
    log = memory / "log"
    ended = zygote.run("save", home, "trace=fsync", f"inject=fsync:error={error}:when=1", log=log)
    assert ended.exit_code == 6
    assert ended.said[-1].startswith("error ")
    assert count_calls(log, ["fsync"]) == {"fsync": 1}
    assert listing(home) == {"step-0000000001", "step-0000000002"}


def test_a_swap_that_fails_is_not_done_in_another_way(zygote: Zygote, memory: Path) -> None:
    """Two renames are for file systems that cannot swap, not for disks that fail."""
    for job, k in (("save", 1), ("replace", 1)):
        home = _bundle(_store_of_two(memory / job))
        ended = zygote.run(job, home, *_inject(f"renameat2:{k}", "error=EIO"))
        assert (ended.exit_code, ended.acknowledged) == (6, [])
        assert listing(home) == {"bundle", "step-0000000001", "step-0000000002"}


def test_all_is_synced_in_order(zygote: Zygote, memory: Path) -> None:
    """The kernel's own record of a commit: files, folder, directory, rename, parent."""
    log, home = memory / "log", _bundle(memory / "home")
    ended = zygote.run("replace", home, "trace=fsync,renameat2", "decode-fds=path", log=log)
    assert ended.exit_code == 0
    order = []
    for line in log.read_text().splitlines():
        if match := re.search(r"fsync\(\d+<(.*?)>\) += 0", line):
            order.append(re.sub(r"\.tmp-bundle-\d+-\w+", "TMP", match[1]))
        elif "renameat2(" in line and "RENAME_EXCHANGE) = 0" in line:
            order.append("swap")
    files = [*sorted(files_of(3)), "MANIFEST.json", "state"]
    temporary = home / "TMP"
    once = [*(str(temporary / name) for name in files), str(temporary), "swap", str(home)]
    assert order == once * 2


@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "fsync"])
@pytest.mark.parametrize("error", ["EROFS", "ENOSPC", "EACCES"])
def test_a_directory_that_cannot_be_written_is_found_out_before_the_work(
    zygote: Zygote, memory: Path, call: str, error: str
) -> None:
    ended = zygote.run("write_probe", memory / "run", *_inject(f"{call}:1", f"error={error}"))
    assert ended.exit_code == 6
    _check_refusal(json.loads(ended.said[-1].removeprefix("error ")), error)
    left = [path for path in memory.rglob("*") if path.is_file()]
    assert left == []
