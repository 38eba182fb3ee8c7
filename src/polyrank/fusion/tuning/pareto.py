"""The best trade-offs: who is dominated, how large the front is, where it bends.

Shapes: P points, M objectives, all to be maximised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_FOLLOWED = 3
"""Objectives up to which the hypervolume is followed from trial to trial."""
MOST_POINTS = 200
"""Of the course."""


def front_of(value_PM: Floats) -> Ints:
    """Numbers of the points that no other dominates: is as good in all and better in one.

    By the first objective from the best down; equal points are all on it.
    """
    order_P = np.lexsort(np.vstack([np.arange(len(value_PM)), -value_PM.T[::-1]]))
    # Whatever dominates a point comes before it in this order.
    kept = np.empty_like(value_PM)
    found: list[int] = []
    for place in order_P:
        point_M, above = value_PM[place], kept[: len(found)]
        better = (above >= point_M).all(axis=1) & (above > point_M).any(axis=1)
        if not better.any():
            kept[len(found)] = point_M
            found.append(int(place))
    return np.array(found, dtype=np.int64)


def hypervolume(value_PM: Floats, reference_M: Floats) -> float:
    """The volume of all that some point dominates and that dominates the reference; exact.

    By exclusive volumes (While, Bradstreet and Barone, 2012, "A fast way of calculating exact
    hypervolumes"), and by a sweep where two objectives are left.
    """
    side_PM = np.maximum(value_PM - reference_M, 0.0)
    return _volume(side_PM[(side_PM > 0).all(axis=1)])


def _volume(side_PM: Floats) -> float:
    if not len(side_PM):
        return 0.0
    if side_PM.shape[1] == 1:
        return float(side_PM.max())
    if side_PM.shape[1] == 2:
        return _area(side_PM)
    front_FM = side_PM[front_of(side_PM)][::-1]
    total = 0.0
    for place, point_M in enumerate(front_FM):
        total += _exclusive(point_M, front_FM[place + 1 :])
    return total


def _exclusive(point_M: Floats, others_PM: Floats) -> float:
    """What the point adds to the volume of the others."""
    box = float(point_M.prod())
    if not len(others_PM):
        return box
    limited_PM = np.minimum(others_PM, point_M)
    full_M = (limited_PM == point_M).sum(axis=0)
    if len(point_M) > 2 and full_M.max(initial=0) == len(others_PM):
        # All reach the point in one objective: what is left has one fewer.
        axis = int(full_M.argmax())
        return box - float(point_M[axis]) * _volume(np.delete(limited_PM, axis, axis=1))
    return box - _volume(limited_PM)


def _area(side_P2: Floats) -> float:
    """Two objectives: a staircase."""
    order_P = np.lexsort((-side_P2[:, 1], -side_P2[:, 0]))
    width_P, height_P = side_P2[order_P].T
    top_P = np.maximum.accumulate(height_P)
    rise_P = np.diff(top_P, prepend=0.0)
    return float(np.dot(width_P, rise_P))


def course(value_PM: Floats, feasible_P: NDArray[np.bool_], reference_M: Floats) -> Floats:
    """(P,) the hypervolume of the feasible ones among the first 1, 2, ... points.

    With more than ``MOST_FOLLOWED`` objectives every entry but the last is NaN: it would take long.
    """
    if value_PM.shape[1] > MOST_FOLLOWED:
        found_P = np.full(len(value_PM), np.nan)
        found_P[-1:] = hypervolume(value_PM[feasible_P], reference_M)
        return found_P
    side_PM = np.maximum(value_PM - reference_M, 0.0)
    added_P = np.zeros(len(value_PM))
    front_FM = np.empty((0, value_PM.shape[1]))
    for place in np.flatnonzero(feasible_P & (side_PM > 0).all(axis=1)):
        point_M = side_PM[place]
        if (front_FM >= point_M).all(axis=1).any():
            continue
        added_P[place] = _exclusive(point_M, front_FM)
        front_FM = np.vstack([front_FM[(front_FM > point_M).any(axis=1)], point_M])
    return np.cumsum(added_P)


def told_course(found_P: Floats) -> Ints:
    """Places of the course that are told: at most ``MOST_POINTS``, the last among them."""
    known_P = np.flatnonzero(~np.isnan(found_P))
    chosen = np.linspace(0, len(known_P) - 1, min(MOST_POINTS, len(known_P))).round()
    return known_P[chosen.astype(np.int64)]


def knee_of(value_FM: Floats) -> int:
    """The place, on a front, of the point with the highest mean objective, each scaled to 0 at its
    worst and 1 at its best on the front; the first of equals.

    With two objectives it is the point farthest above the line through both ends (Das, 1999, "On
    characterizing the knee of the Pareto curve"). An objective that is the same all along has no
    say.
    """
    low_M, high_M = value_FM.min(axis=0), value_FM.max(axis=0)
    width_M = np.where(high_M > low_M, high_M - low_M, 1.0)
    return int(np.argmax(((value_FM - low_M) / width_M).mean(axis=1)))
