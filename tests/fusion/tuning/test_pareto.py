"""Fronts, volumes and knees against their definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.fusion.tuning import front_of, hypervolume, knee_of
from polyrank.fusion.tuning.pareto import course, told_course

Floats = NDArray[np.float64]
few = settings(max_examples=60, deadline=None)


@st.composite
def clouds(draw: st.DrawFn, most: int = 9, dims: tuple[int, int] = (1, 5)) -> Floats:
    """Points on a coarse grid, so that equal values and equal points happen."""
    shape = draw(st.integers(1, most)), draw(st.integers(*dims))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(-1, 6, shape).astype(np.float64)


@few
@given(cloud=clouds(most=25))
def test_front_by_definition(cloud: Floats) -> None:
    by_definition = {
        mine
        for mine in range(len(cloud))
        if not any(
            (cloud[other] >= cloud[mine]).all() and (cloud[other] > cloud[mine]).any()
            for other in range(len(cloud))
        )
    }
    found = front_of(cloud)
    assert set(found.tolist()) == by_definition
    assert len(found) == len(by_definition)
    assert (np.diff(cloud[found, 0]) <= 0).all()


def union(side_PM: Floats) -> float:
    """The volume of a union of boxes at 0, by inclusion and exclusion."""
    total = 0.0
    for size in range(1, len(side_PM) + 1):
        for chosen in combinations(range(len(side_PM)), size):
            total -= (-1) ** size * float(side_PM[list(chosen)].min(axis=0).prod())
    return total


@few
@given(cloud=clouds(most=7))
def test_hypervolume_by_inclusion_and_exclusion(cloud: Floats) -> None:
    reference_M = np.zeros(cloud.shape[1])
    assert hypervolume(cloud, reference_M) == union(np.maximum(cloud, 0.0))
    assert hypervolume(cloud + 3, reference_M + 3) == hypervolume(cloud, reference_M)


def test_hypervolume_by_hand() -> None:
    stairs = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert hypervolume(stairs, np.zeros(2)) == 6.0
    assert hypervolume(stairs, np.array([1.0, 1.0])) == 1.0
    assert hypervolume(stairs, np.full(2, 3.0)) == 0.0
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0.0
    assert hypervolume(np.array([[2.0, 3.0, 4.0], [4.0, 3.0, 2.0]]), np.zeros(3)) == 36.0


@few
@given(cloud=clouds(most=12, dims=(1, 4)), data=st.data())
def test_the_course_is_the_volume_so_far(cloud: Floats, data: st.DataObject) -> None:
    feasible_P = np.array(data.draw(st.lists(st.booleans(), min_size=12, max_size=12)))
    feasible_P = feasible_P[: len(cloud)]
    reference_M = np.zeros(cloud.shape[1])
    found_P = course(cloud, feasible_P, reference_M)
    for place in range(len(cloud)):
        so_far = hypervolume(cloud[: place + 1][feasible_P[: place + 1]], reference_M)
        if cloud.shape[1] <= 3 or place == len(cloud) - 1:
            assert found_P[place] == pytest.approx(so_far, rel=1e-12)
        else:
            assert np.isnan(found_P[place])
    assert told_course(found_P)[-1] == len(cloud) - 1


def test_a_long_course_is_thinned() -> None:
    chosen = told_course(np.arange(5000.0))
    assert (len(chosen), chosen[0], chosen[-1]) == (200, 0, 4999)


def test_knee_by_hand() -> None:
    # Above the line from (0, 1) to (10, 0): .2 at the second point, .4 at the third.
    assert knee_of(np.array([[10.0, 0.0], [7.0, 0.5], [5.0, 0.9], [0.0, 1.0]])) == 2
    assert knee_of(np.array([[10.0, 0.0, 7.0], [9.0, 0.5, 7.0], [0.0, 1.0, 7.0]])) == 1
    assert knee_of(np.array([[3.0, 4.0]])) == 0
    assert knee_of(np.array([[1.0, 0.0], [0.0, 1.0]])) == 0
