"""Run as a program: forks a child per job that uses the store for real, to be killed or hindered.

Forking from a process that has everything imported makes a child ready in a millisecond, and the
system calls that a tracer counts in it are those of the job alone. A job is one line of JSON; the
child waits for SIGUSR1, so that a tracer can be attached; what it acknowledges goes as datagrams
to the socket whose number is the first argument. Answers on standard output: the child's process
id, then its wait status.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyrank.errors import PolyrankError
from polyrank.storage import CheckpointStore, check_writable, commit_directory
from tests.child import asked, forked, tell
from tests.storage.samples import sources_of

_PR_SET_PTRACER = 0x59616D61

assert ctypes, shutil  # imported here so that no job has to


class Reporter:
    """Sends what a job says, without a ``write`` that a tracer might count."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def say(self, word: str) -> None:
        self._socket.send(word.encode())


def save(directory: Path, reporter: Reporter) -> None:
    """Saves steps 3 and 4 beside 1 and 2, then 4 again."""
    store = CheckpointStore(directory, keep=2)
    for step in (3, 4, 4):
        store.save(step, sources_of(step))
        reporter.say(str(step))


def replace(directory: Path, reporter: Reporter) -> None:
    """Replaces a bundle twice."""
    for version in (3, 4):
        commit_directory(
            directory / "bundle", sources_of(version), kind="note", format_version=1, replace=True
        )
        reporter.say(str(version))


def save_on(directory: Path, reporter: Reporter) -> None:
    """Saves steps from 3 on for ever."""
    store = CheckpointStore(directory, keep=2)
    for step in range(3, 10**9):
        store.save(step, sources_of(step))
        reporter.say(str(step))


def write_probe(directory: Path, reporter: Reporter) -> None:
    """Looks whether it can write."""
    check_writable(directory / "a" / "b")
    reporter.say("writable")


JOBS: dict[str, Callable[[Path, Reporter], None]] = {
    job.__name__: job for job in (save, replace, save_on, write_probe)
}


def run_job(job: dict[str, str], reporter: Reporter) -> int:
    """The exit code of the job, as the command line would give it."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    signal.sigwait({signal.SIGUSR1})
    try:
        JOBS[job["name"]](Path(job["directory"]), reporter)
    except PolyrankError as error:
        reporter.say(f"error {error.to_json()}")
        return error.exit_code
    except OSError as error:
        reporter.say(f"bug {errno.errorcode.get(error.errno or 0)} {error}")
        return 1
    return 0


def main() -> None:
    """Serves jobs until standard input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    reporter = Reporter(int(sys.argv[1]))
    for job in asked():
        child = forked(partial(run_job, job, reporter))
        tell(child)
        _, status = os.waitpid(child, 0)
        tell(status)


if __name__ == "__main__":
    main()
