"""Labels that the user names.

``{"income": "income_50k"}`` is a column; ``{"single": "marital=Never married"}`` also says which of
its values means 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from shlex import quote

from polyrank.errors import ConfigError, suggest
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.labels import AnyTask, binary, duration, rare_class, regression
from polyrank.schema.guessing.names import check_name, name_for
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.tasks import Found, attach_masks, find_masks
from polyrank.schema.tasks import Binary

MAX_CHOICES = 12
"""Different values up to which a column may be offered as a label."""
_SCALAR = ("boolean", "integer", "number", "text")

Asked = Mapping[str, tuple[str, str | None]]
"""Task name to column and the value that means 1."""


def read_asked(labels: Mapping[str, str], profiles: Mapping[str, Profile]) -> Asked:
    """What ``labels`` asks for.

    Raises:
        ConfigError: A column that the log does not have, or that holds no labels.
    """
    for name in labels:
        check_name(name, "label")
    return {name: _split(name, asked, profiles) for name, asked in labels.items()}


def _split(name: str, asked: str, profiles: Mapping[str, Profile]) -> tuple[str, str | None]:
    cuts = [at for at, letter in enumerate(asked) if letter == "="]
    readings: list[tuple[str, str | None]] = [(asked, None)]
    readings += [(asked[:at], asked[at + 1 :]) for at in reversed(cuts)]
    for column, value in readings:
        if column in profiles:
            _refuse_unlabelled(name, profiles[column])
            return column, value
    wanted = readings[-1][0]
    raise ConfigError(
        f"the log has no column {wanted!r}", where=_where(name), hint=suggest(wanted, profiles)
    )


def _refuse_unlabelled(name: str, profile: Profile) -> None:
    if profile.kind not in _SCALAR:
        why = profile.why_other or f"it is of kind {profile.kind}"
        raise ConfigError(
            f"column {profile.name!r} cannot be a label: {why}",
            where=_where(name),
            hint="Name a column of numbers, booleans or text.",
        )


def ask_tasks(asked: Asked, profiles: Mapping[str, Profile], guessed: Found) -> Found:
    """The tasks that were asked for; what was guessed beside them is neither label nor feature.

    Args:
        asked: What was asked for.
        profiles: All columns.
        guessed: From the columns that were not asked for.

    Raises:
        ConfigError: A column whose values do not say which of them mean 1, or that hardly hold
            one class.
    """
    columns = {column for column, _ in asked.values()}
    found = Found(refused=dict(guessed.refused))
    for task in guessed.tasks.values():
        for column in {task.label, task.mask} - {None}:
            found.refused[str(column)] = "It looks like a label, but is none of those asked for."
    for name, (column, value) in asked.items():
        found.tasks[name] = _task(name, profiles[column], value)
        found.notes[name] = "Asked for"
    masks = find_masks(profiles)
    attach_masks(found, {label: mask for label, mask in masks.items() if label in columns})
    for task in found.tasks.values():
        found.refused.pop(task.mask or "", None)
    return found


def _task(name: str, profile: Profile, value: str | None) -> AnyTask:
    sign = tell.response(profile.name) or "good"
    if value is not None:
        task: AnyTask | None = Binary(
            name=name, label=profile.name, sign=sign, positive=(_value(name, profile, value),)
        )
    else:
        task = binary(profile, name, sign) or _two_valued(profile, name) or _scale(profile, name)
    if task is None:
        raise ConfigError(
            f"column {profile.name!r} holds {profile.distinct} different values, and nothing says "
            "which of them means 1",
            where=_where(name),
            hint=f"Add the value: {name!r}: '{profile.name}={profile.uniques[0]}'.",
        )
    if isinstance(task, Binary) and (fault := rare_class(profile, task)) is not None:
        raise ConfigError(f"column {profile.name!r}: {fault}", where=_where(name))
    return task


def _value(name: str, profile: Profile, wanted: str) -> int | str:
    """The value of ``profile`` that reads as ``wanted``, outer white space aside."""
    if profile.kind != "number":
        for value in profile.uniques:
            if str(value).strip() == wanted.strip():
                return int(value) if profile.kind == "boolean" else value
    raise ConfigError(
        f"column {profile.name!r} holds no {wanted!r} in the sample",
        where=_where(name),
        hint=suggest(wanted, map(str, profile.uniques[:MAX_CHOICES])),
    )


def _two_valued(profile: Profile, name: str) -> Binary | None:
    """The rarer of two texts or whole numbers means 1."""
    if profile.distinct != 2 or profile.kind not in ("integer", "text"):
        return None
    rarer = profile.uniques[int(profile.counts.argmin())]
    return Binary(name=name, label=profile.name, positive=(rarer,))


def _scale(profile: Profile, name: str) -> AnyTask | None:
    if profile.kind not in ("integer", "number") or profile.distinct < 3:
        return None
    spent = duration(profile, name) if tell.is_time_spent(profile.name) else None
    return spent or regression(profile, name)


def no_label(profiles: Collection[Profile]) -> ConfigError:
    """The error for a log without a column that looks like a label: which could be one."""
    pairs = [p for p in profiles if p.kind in _SCALAR and p.distinct == 2]
    choices = [p for p in profiles if p.kind == "text" and 2 < p.distinct <= MAX_CHOICES]
    choices.sort(key=lambda p: not tell.is_action(p.name))
    examples = [(name_for(p.name), p.name) for p in pairs[-1:]]
    examples += [(name_for(p.uniques[0]), f"{p.name}={p.uniques[0]}") for p in choices[:1]]
    options = " ".join(f"--label {quote(f'{name}={column}')}" for name, column in examples)
    listed = ", ".join(repr(p.name) for p in [*pairs, *choices][:12])
    return ConfigError(
        "no column of the log looks like a label",
        hint=f"Name the labels: {options or '--label NAME=COLUMN'} on the command line, "
        f"labels={dict(examples) or {'click': 'column'}} in Python."
        + (f" Columns with few values: {listed}." if listed else ""),
    )


def _where(name: str) -> str:
    return f"label {name!r}"
