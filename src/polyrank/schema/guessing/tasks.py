"""Tasks: the responses of users that the log observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.clock import is_moment
from polyrank.schema.guessing.labels import AnyTask, binary, duration, rare_class, regression
from polyrank.schema.guessing.names import name_for
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.view import View
from polyrank.schema.tasks import Binary, Duration, Regression

MAX_ZEROS = 0.9
"""Share of zeros above which a time spent is no label to regress: it nearly never happened."""

MAX_LEVELS = 10
"""Different grades up to which it is worth telling that they may be levels."""

MAX_ACTS = 12
"""Different values up to which text may list the kinds of responses."""
_HOW = "Name it in `labels` to make it a task."


@dataclass
class Found:
    """What the log observed after the impression."""

    tasks: dict[str, AnyTask] = field(default_factory=dict)
    """By name."""
    notes: dict[str, str] = field(default_factory=dict)
    """Why a task is one, by name."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a column is neither label nor feature."""


Verdict = tuple[AnyTask, str] | str | None
"""A task and why; or why the column is nothing; or None: no response, perhaps a feature."""


def guess_tasks(view: View) -> Found:
    """The tasks that the names and values of the log show, with their masks."""
    found = Found()
    masks = find_masks(view.profiles)
    for column, profile in view.profiles.items():
        if column in view.keys.values() or column in masks.values():
            continue
        name = name_for(column, found.tasks)
        verdict = _judge(view, profile, name)
        if isinstance(verdict, str):
            found.refused[column] = verdict
        elif verdict is not None:
            found.tasks[name], found.notes[name] = verdict
    attach_masks(found, masks)
    return found


def find_masks(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Label to the 0/1 column that says where it was observed: ``like`` to ``like_mask``."""
    by_words = {frozenset(tell.words(column)) - {"is", "label"}: column for column in profiles}
    found: dict[str, str] = {}
    for column, profile in profiles.items():
        masked = tell.masked_by(column)
        label = by_words.get(masked) if masked else None
        if label not in (None, column) and _is_yes_or_no(profile):
            found[str(label)] = column
    return found


def attach_masks(found: Found, masks: Mapping[str, str]) -> None:
    """Give each task its mask; the mask of another column is nothing."""
    for label, mask in masks.items():
        masked = [name for name, task in found.tasks.items() if task.label == label]
        for name in masked:
            found.tasks[name] = found.tasks[name].model_copy(update={"mask": mask})
            found.notes[name] += f"; observed where {mask!r} is 1"
        if not masked:
            found.refused[mask] = f"It is named like the mask of {label!r}, which is no task."


def _judge(view: View, profile: Profile, name: str) -> Verdict:
    column = profile.name
    is_scalar = profile.kind in ("boolean", "integer", "number", "text")
    if not is_scalar or view.belongs_to(column) is not None or is_moment(profile):
        return None
    if tell.is_time_spent(column):
        return _time_spent(profile, name)
    if tell.is_rating(column) or tell.is_share_seen(column):
        return _grade(profile, name)
    sign = tell.response(column)
    if sign is not None:
        return _response(profile, name, sign)
    if tell.is_flag(column):
        return _flag(profile, name)
    if profile.kind == "text" and _names_acts(profile):
        return "Its values are responses, known only after the impression. " + _HOW
    if tell.tells_amount(column) and profile.kind != "text":
        return "It is named like money that a response brought: known only after the impression."
    if "duration" in tell.words(column) and view.constancy(column, "item") == "varies":
        return "A duration that differs between rows of one item may be time spent: a leak."
    return None


def _time_spent(profile: Profile, name: str) -> Verdict:
    task = duration(profile, name)
    if task is None:
        return "It is named like time spent, known only after the impression, but is no time >= 0."
    zeros = float((profile.numbers == 0).mean())
    if zeros > MAX_ZEROS or profile.distinct < 3:
        return (
            f"It is time spent, known only after the impression, and 0 in {zeros:.1%} of the rows: "
            "too little to regress."
        )
    return task, f"It is named like time spent{_unit_note(profile, task)}"


def _unit_note(profile: Profile, task: Duration) -> str:
    if tell.unit(profile.name) is None:
        note = f"; its size suggests the unit {task.unit}, so check it"
    else:
        note = f", in {task.unit}"
    if "limit" in task.model_fields_set and task.limit != Duration.model_fields["limit"].default:
        note += "; the sample holds more than a day, so look at `limit`"
    return note


def _grade(profile: Profile, name: str) -> Verdict:
    yes_or_no = binary(profile, name, "good")
    if yes_or_no is not None:
        return _learnable(profile, yes_or_no, "It is named like a grade and holds two values")
    task = regression(profile, name)
    if task is None or profile.distinct < 3:
        return "It is named like a grade, known only after the impression, but holds no scale."
    why = "It is named like a grade that the user gave; known only after the impression"
    return task, why + _levels_note(profile, task)


def _levels_note(profile: Profile, task: Regression) -> str:
    levels = sorted(value for value in profile.uniques if value not in task.missing_values)
    if len(levels) > MAX_LEVELS:
        return ""
    told = ", ".join(f"{level:g}" for level in levels)
    return f"; of so few levels it may be kind: ordinal, levels: [{told}]"


def _response(profile: Profile, name: str, sign: Literal["good", "bad"]) -> Verdict:
    task = binary(profile, name, sign)
    if task is None:
        return (
            f"It is named like a response but holds {_values(profile)}: a leak if it were a "
            f"feature. {_HOW}"
        )
    wanted = "" if sign == "good" else " that nobody wants"
    return _learnable(profile, task, f"It is named like a response{wanted} and is yes or no")


def _flag(profile: Profile, name: str) -> Verdict:
    task = binary(profile, name, "good")
    if task is None:
        return None
    why = "`is_` and two values suggest a response; if it is known beforehand, it is a feature"
    return _learnable(profile, task, why)


def _learnable(profile: Profile, task: Binary, why: str) -> Verdict:
    fault = rare_class(profile, task)
    return (task, why) if fault is None else f"{why}, but {fault}."


def _names_acts(profile: Profile) -> bool:
    """Whether the values are responses: pv, cart, buy."""
    return 1 < profile.distinct <= MAX_ACTS and all(map(tell.is_act, profile.uniques))


def _is_yes_or_no(profile: Profile) -> bool:
    return profile.kind in ("boolean", "integer", "number") and set(profile.uniques) <= {0, 1}


def _values(profile: Profile) -> str:
    if profile.distinct == 1:
        return f"only {repr(profile.uniques[0])[:40]} in the sample"
    return f"{profile.distinct:,} different values"
