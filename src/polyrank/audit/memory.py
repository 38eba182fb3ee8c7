"""How much memory there is, and how much a process took; Linux knows, elsewhere it is guessed."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_GUESS = 4 << 30


def peak_bytes() -> int:
    """The most that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes() -> int:
    """What new processes may take: what the machine has to spare, within the group's limit."""
    return min(_machine(), _group())


def cores() -> int:
    """Those this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine() -> int:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return _GUESS
    found = {line.split(":")[0]: line.split()[1] for line in lines if ":" in line}
    return int(found.get("MemAvailable", _GUESS >> 10)) * 1024


def _group() -> int:
    """What the control group leaves, if it says."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return sys.maxsize
    kept = (int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return max(0, int(limit) - used + sum(kept)) if limit.isdigit() else sys.maxsize
