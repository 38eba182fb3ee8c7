"""Sample spaces: where a label means something, by where it is null."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from polyrank.schema.guessing.labels import observed, ones
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.tasks import Found
from polyrank.schema.tasks import Binary

MIN_ONES = 20
"""Ones that must all lie where another label is 1 before a note calls it a rule."""
MAX_RATE = 0.9
"""Rate of the other label above which that says nothing."""

Rows = npt.NDArray[np.bool_]


def guess_spaces(found: Found, profiles: Mapping[str, Profile]) -> None:
    """Set ``within`` where a label was observed only where another is 1, in place.

    A label that is 1 only where another is 1, yet 0 elsewhere, keeps the whole log as its space:
    there a 0 is an observation. Its note says so.
    """
    known = {
        name: observed(profiles[task.label], task, profiles[task.mask] if task.mask else None)
        for name, task in found.tasks.items()
    }
    yes = {
        name: known[name] & ones(profiles[task.label], task)
        for name, task in found.tasks.items()
        if isinstance(task, Binary)
    }
    for name, task in found.tasks.items():
        others = {other: rows for other, rows in yes.items() if other != name}
        parent = _tightest(known[name], others)
        if parent is not None:
            found.tasks[name] = task.model_copy(update={"within": parent})
            found.notes[name] += f"; null unless {parent!r} is 1, so that is its space"
        elif name in yes:
            found.notes[name] += _implied(yes[name], others, known)


def _tightest(rows: Rows, others: Mapping[str, Rows]) -> str | None:
    """The task with the fewest ones that covers ``rows``."""
    covering = [name for name, wide in others.items() if not (rows & ~wide).any()]
    return min(covering, key=lambda name: int(others[name].sum()), default=None)


def _implied(rows: Rows, others: Mapping[str, Rows], known: Mapping[str, Rows]) -> str:
    """A remark on the task whose ones lie all where another one's do."""
    telling = {
        name: wide
        for name, wide in others.items()
        if rows.sum() < wide.sum() <= MAX_RATE * known[name].sum()
    }
    parent = _tightest(rows, telling) if rows.sum() >= MIN_ONES else None
    if parent is None:
        return ""
    return f"; 1 only where {parent!r} is 1, but observed elsewhere too, so its space is the log"
