"""Comparing in single precision says what comparing in double precision says, to the last tie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.fusion.tuning.quick import Quick

Floats = NDArray[np.float64]
WIDTHS = [40, 40, 12, 1]
LENGTH, LISTS = 7, 40


def world(seed: int, num_parts: int) -> tuple[list[Floats], Floats]:
    """Rows an ulp or a float32 apart in all parts or in one, or in their sums under the first
    vector; copies; and parts of any size."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(LENGTH, LISTS)) for _ in range(num_parts)]
    weight_BT = rng.normal(size=(6, num_parts))
    apart = rng.uniform(-1, 1, LISTS) * 2.0**-22
    rest = sum(w * (part[1] - part[0]) for w, part in zip(weight_BT[0], parts[:-1], strict=False))
    parts[-1][1] = parts[-1][0] - (rest + apart) / weight_BT[0, -1]
    for at in range(0, LISTS, 3):
        step = rng.choice([0.0, 2.0**-52, 2.0**-30, 2.0**-24, 2.0**-20])
        for part in parts[: int(rng.integers(1, num_parts + 1))]:
            part[4, at] = part[0, at] * (1 + step)
    for place, part in enumerate(parts):
        size = 10.0 ** rng.integers(-40, 40)
        part *= size
        part[:, at] *= 1e-39  # far below the block's largest
        part[-1, ::2] = np.nan  # a shorter list
        weight_BT[:4, place] /= size
    weight_BT[3, 1:] = 0.0
    return parts, weight_BT


def slowly(parts: list[Floats], weight_T: Floats) -> tuple[list[int], list[int]]:
    score = weight_T[0] * parts[0]
    for weight, part in zip(weight_T[1:], parts[1:], strict=True):
        score = score + weight * part
    above, tied = [], []
    for place, width in enumerate(WIDTHS):
        for at in range(width):
            above.append(sum(score[:, at] > score[place, at]))
            tied.append(sum(score[:, at] == score[place, at]))
    return above, tied


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_parts=st.integers(1, 5))
def test_says_what_float64_says(seed: int, num_parts: int) -> None:
    parts, weight_BT = world(seed, num_parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyrank.fusion.tuning.quick.MOST_UNSURE", 1.0)
        stood = Quick(parts, WIDTHS).stood(weight_BT)
    assert stood is not None
    above_BC = stood.above_BC.astype(int)
    tied_BC = np.ones_like(above_BC)
    above_BC[stood.vector_M, stood.row_M] = stood.above_M
    tied_BC[stood.vector_M, stood.row_M] = stood.tied_M
    for weight_T, above_C, tied_C in zip(weight_BT, above_BC, tied_BC, strict=True):
        above, tied = slowly(parts, weight_T)
        assert above_C.tolist() == above
        assert tied_C.tolist() == tied


def test_few_rows_are_compared_twice() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((LENGTH, 1000)) for _ in range(5)]
    stood = Quick(parts, [1000, 400]).stood(rng.random((10, 5)))
    assert stood is not None
    assert len(stood.row_M) < 10  # of 14,000


@pytest.mark.parametrize(
    ("size", "weight_T"), [(1.0, [0.0, 0.0]), (1e200, [1e200, 1.0]), (1e-200, [1e-200, 0.0])]
)
def test_leaves_to_float64_what_it_cannot_tell(size: float, weight_T: list[float]) -> None:
    """No weight at all, and scores that overflow or underflow, so that rows tie as served."""
    rng = np.random.default_rng(0)
    parts: list[Floats] = [rng.uniform(0, size, (LENGTH, LISTS)) for _ in weight_T]
    assert Quick(parts, WIDTHS).stood(np.array([[1.0, 1.0], weight_T])) is None


def test_leaves_to_float64_what_ties() -> None:
    parts: list[Floats] = [np.random.default_rng(0).integers(0, 3, (LENGTH, LISTS)) / 8.0]
    assert Quick(parts, WIDTHS).stood(np.array([[0.3]])) is None
