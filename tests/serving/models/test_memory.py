"""What a version leaves behind goes back to the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

FREED = """
import numpy as np
from polyrank.serving.models.memory import give_back

def resident():
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmRSS")) / 1024

blocks = [np.ones(100 << 10, dtype=np.uint8) for _ in range(2000)]
full = resident()
del blocks[:-1]  # all but the last, which the heap ends with
freed = resident()
give_back()
print(full - freed, freed - resident())
"""

IN_TURN = """
import sys, threading
import numpy as np
import pyarrow as pa
from polyrank.serving.models.memory import share_one_heap

def resident():
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmRSS")) / 1024

def work(done, leave):
    blocks = [np.ones(100 << 10, dtype=np.uint8) for _ in range(100)]
    blocks[:-1] = []  # all but the last, which the heap ends with
    done.set()
    leave.wait()

if sys.argv[1] == "shared":
    share_one_heap()
before, leave, threads = resident(), threading.Event(), []
for _ in range(8):
    done = threading.Event()
    threads.append(threading.Thread(target=work, args=(done, leave)))
    threads[-1].start()
    done.wait()
print(resident() - before, pa.default_memory_pool().backend_name)
leave.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there is it known how")
def test_pages_that_are_free_between_others_go_back_when_asked_for() -> None:
    """195 MiB are freed below a block that stays."""
    unasked, asked = map(float, _told(FREED).split())
    assert unasked < 1
    assert asked > 180


@pytest.mark.skipif(sys.platform != "linux", reason="only there is it known how")
def test_what_one_thread_has_freed_another_one_takes() -> None:
    """Eight threads, one after the other, each of which frees what it took."""
    apart, _ = _told(IN_TURN, "apart").split()
    shared, arrow = _told(IN_TURN, "shared").split()
    assert float(apart) > 60
    assert float(shared) < 25
    assert arrow == "system"  # Arrow, too, asks the C library


def _told(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
