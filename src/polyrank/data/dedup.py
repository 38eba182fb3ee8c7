"""Rows that repeat an earlier one.

Rows are compared by a 64-bit hash: among n rows one is taken for a repetition that is none with a
probability below n^2 / 2^65 (20 million rows: 1 in 90,000). Remembering the whole log takes 8
bytes a row; with a window, 8 bytes a row of the window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polyrank.data.hashing import U64


class Repetitions:
    """Tells, chunk by chunk, which rows repeat an earlier one.

    Args:
        window: How many rows back count as earlier; 0: all.
    """

    def __init__(self, window: int = 0) -> None:
        self._window = window
        self._recent = np.empty(0, dtype=np.uint64)
        self._runs: list[U64] = []

    def find(self, hash_B: U64) -> NDArray[np.bool_]:
        """Which of the next rows repeat one before them."""
        return self._in_window(hash_B) if self._window else self._in_all(hash_B)

    def known(self, hash_B: U64) -> NDArray[np.bool_]:
        """Which rows repeat one that ``find`` saw (without a window); they are not remembered."""
        known_B = np.zeros(len(hash_B), dtype=np.bool_)
        for run in self._runs:
            at_B = np.searchsorted(run, hash_B).clip(max=len(run) - 1)
            known_B |= run[at_B] == hash_B
        return known_B

    def absorb(self, other: Repetitions) -> None:
        """Know what ``other`` knows (both without a window)."""
        for run in other._runs:
            self._remember(run)

    def _in_window(self, hash_B: U64) -> NDArray[np.bool_]:
        num_old = len(self._recent)
        all_N = np.concatenate([self._recent, hash_B])
        order_N = np.argsort(all_N, kind="stable")
        same_N = all_N[order_N][1:] == all_N[order_N][:-1]
        near_N = np.diff(order_N) <= self._window
        repeats_N = np.zeros(len(all_N), dtype=np.bool_)
        repeats_N[order_N[1:][same_N & near_N]] = True
        self._recent = all_N[-self._window :]
        return repeats_N[num_old:]

    def _in_all(self, hash_B: U64) -> NDArray[np.bool_]:
        order_B = np.argsort(hash_B, kind="stable")
        sorted_B = hash_B[order_B]
        known_B = np.zeros(len(hash_B), dtype=np.bool_)
        known_B[1:] = sorted_B[1:] == sorted_B[:-1]
        known_B |= self.known(sorted_B)
        self._remember(sorted_B[~known_B])
        repeats_B = np.empty(len(hash_B), dtype=np.bool_)
        repeats_B[order_B] = known_B
        return repeats_B

    def _remember(self, sorted_N: U64) -> None:
        """Keep sorted runs, each at least twice as long as the next, so that few are searched."""
        if not len(sorted_N):
            return
        self._runs.append(sorted_N)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            merged = np.concatenate([self._runs.pop(), last])
            merged.sort(kind="stable")
            self._runs.append(merged)
