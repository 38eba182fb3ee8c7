"""Columns that hold moments: one is the time of the row, none is a feature.

A model trained on yesterday has never seen today's date.
"""

from __future__ import annotations

import re

import numpy as np

from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.view import View

_EPOCHS = tuple((3e8 * scale, 4.2e9 * scale) for scale in (1, 1e3, 1e6, 1e9))
"""1979 to 2103 in seconds, milli-, micro- and nanoseconds since 1970."""
_STEP_NAMES = frozenset({"time", "timestamp", "ts", "t"})
_MIN_STEPS = 32
"""Different values from which whole numbers called ``time`` are moments, not parts of a day."""
_DATE_TEXT = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T].*)?|(19|20)\d{6}")


def is_moment(profile: Profile) -> bool:
    """Whether ``profile`` holds moments: times, dates, numbers since an epoch, dates as text."""
    if profile.kind == "instant":
        return True
    if profile.kind == "text":
        return all(_DATE_TEXT.fullmatch(value.strip()) for value in profile.uniques)
    if profile.kind not in ("integer", "number"):
        return False
    return _is_date_number(profile) or _is_epoch(profile) or _is_step(profile)


def _is_date_number(profile: Profile) -> bool:
    """20220425 and its like."""
    numbers = profile.numbers
    month, day = numbers // 100 % 100, numbers % 100
    valid = (numbers >= 19000101) & (numbers < 22000101)
    valid &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(valid.all()) and (profile.distinct > 1 or tell.tells_clock(profile.name))


def _is_epoch(profile: Profile) -> bool:
    if not tell.tells_clock(profile.name) and not tell.is_time_spent(profile.name):
        return False
    low, high = float(profile.numbers.min()), float(profile.numbers.max())
    return any(first <= low and high <= last for first, last in _EPOCHS)


def _is_step(profile: Profile) -> bool:
    """Seconds from the start of the log, and dates in a form of their own (14102100)."""
    said = tell.words(profile.name)
    if not tell.tells_clock(profile.name) or tell.is_time_spent(profile.name):
        return False
    if tell.tells_history(profile.name):
        return False
    if profile.kind == "integer" and int(profile.numbers.min()) >= 100_000:
        return True
    return bool(
        profile.is_whole
        and said[-1] in _STEP_NAMES
        and tell.owner(profile.name) is None
        and profile.distinct >= _MIN_STEPS
        and (profile.numbers >= 0).all()
    )


def guess_time(view: View) -> str | None:
    """The column of the row's moment: the finest that every row has."""
    usable = [
        profile
        for profile in view.profiles.values()
        if (profile.kind == "instant" or profile.is_whole)
        and is_moment(profile)
        and profile.nulls == 0
        and profile.distinct > 1
        and tell.is_event_clock(profile.name)
        and view.belongs_to(profile.name) is None
    ]
    return max(usable, key=lambda profile: profile.distinct).name if usable else None


def follows(profile: Profile, time: Profile) -> bool:
    """Whether whole numbers never fall as time goes by: a day's number, a counter of rows."""
    if profile.kind != "integer" or profile.nulls or profile.distinct < 3:
        return False
    order = np.lexsort((profile.numbers, time.moments))
    return bool((np.diff(profile.numbers[order]) >= 0).all())
