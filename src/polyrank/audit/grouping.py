"""Tasks that help one another together, others apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

Pairs = Mapping[tuple[str, str], float]
"""By source and target, what the target gains by the source; above 0 where it helps."""


def groups_of(tasks: Sequence[str], gains: Pairs) -> tuple[tuple[str, ...], ...]:
    """Begin with each task alone, and join the two groups that gain the most by it, as long as
    there are two that gain: the mean over all their pairs, both ways.

    >>> groups_of("abc", {("a", "b"): 2.0, ("b", "a"): 1.0, ("a", "c"): -1.0})
    (('a', 'b'), ('c',))
    """
    groups: list[tuple[str, ...]] = [(task,) for task in tasks]
    while len(groups) > 1:
        one, other = max(combinations(groups, 2), key=lambda two: _gain(two[0], two[1], gains))
        if _gain(one, other, gains) <= 0:
            break
        joined = tuple(task for task in tasks if task in one or task in other)
        groups = [joined if group == one else group for group in groups if group != other]
    return tuple(groups)


def _gain(one: Sequence[str], other: Sequence[str], gains: Pairs) -> float:
    """Mean over the pairs of two groups; a pair that was not measured counts 0."""
    both = [gains.get((a, b), 0.0) + gains.get((b, a), 0.0) for a in one for b in other]
    return sum(both) / len(both)
