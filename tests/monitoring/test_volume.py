"""Counting what passes, however long the log is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.monitoring import volume
from polyrank.monitoring.volume import Distinct

Codes = NDArray[np.uint64]


def test_values_are_made_distinct_in_time_linear_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of parts that are all new, and then all old: no value is merged more than four times."""
    merged, rounds, size = 0, 100, 50
    monkeypatch.setattr(volume, "LEAST_MERGED", 100)

    def merge(parts: Sequence[Codes]) -> Codes:
        nonlocal merged
        merged += sum(map(len, parts))
        return np.unique(np.concatenate(parts))

    seen = Distinct(merge)
    for place in (*range(rounds), *range(rounds)):
        seen.add(np.arange(place * size, (place + 1) * size, dtype=np.uint64))
    found = seen.all()
    assert found is not None
    assert found.tolist() == list(range(rounds * size))
    assert merged <= 4 * 2 * rounds * size
    assert Distinct(merge).all() is None
