"""Give back what a version that is gone has left behind."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa

_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Let all threads and Arrow take memory from one heap of the C library; for the whole process,
    for good. Call it before the first thread.

    glibc gives threads heaps of their own, and Arrow keeps pages of threads that have ended: what
    one thread has freed no other one can take, and whoever loads the next version is another one.
    With a C library other than glibc only Arrow is told.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Hand free pages of this process back to the kernel; without glibc, nothing.

    Two versions are loaded while one replaces the other, and the pages of the old one lie between
    those of the new: the C library does not give such pages back unasked, so reloads would leave
    the process larger than it has to be.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
