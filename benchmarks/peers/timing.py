"""Timing a call as a server would see it. Runs in each program's own Python."""

import json
import sys
import time

WARM_UP = 3


def timed(call, turns):
    """Milliseconds of the clock and of the process for each call."""
    for _ in range(WARM_UP):
        call()
    wall, cpu = [], []
    for _ in range(turns):
        start, used = time.perf_counter(), time.process_time()
        call()
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - used))
    return {"wall": wall, "cpu": cpu}


def tell(found):
    """One line of JSON on standard output, the last one."""
    sys.stdout.write("\n" + json.dumps(found) + "\n")
