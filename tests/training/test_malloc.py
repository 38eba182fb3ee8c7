"""The allocator keeps its pages, where the C library lets it."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from polyrank.training import malloc

PROGRAM = """
import resource, runpy, sys
import numpy as np
# By its path: the package would import torch.
assert sys.argv[2] == "no" or runpy.run_path(sys.argv[1])["tune_allocator"]()
for _ in range(10):
    np.ones(12_000_000, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(12_000_000, np.float32)
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def faults(tuned: str) -> int:
    """Page faults of ten arrays of 48 MB, one after the other, after ten more."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, malloc.__file__, tuned],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_tuned_process_keeps_its_pages() -> None:
    # glibc by itself learns to keep blocks of up to 32 MiB.
    assert faults("yes") * 20 < faults("no")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_glibc_is_found() -> None:
    assert malloc._mallopt() is not None


def test_another_platform_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not malloc.tune_allocator()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Musl:
        def __init__(self, name: None) -> None:
            del name

    monkeypatch.setattr(ctypes, "CDLL", Musl)
    assert not malloc.tune_allocator()


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_mallopt", lambda: lambda _option, _value: 0)
    assert not malloc.tune_allocator()
