"""From all columns that are left to the features, with a note on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from polyrank.schema.features import Categorical, Feature, Side
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.clock import follows, is_moment
from polyrank.schema.guessing.features import Scene, id_feature, make_feature
from polyrank.schema.guessing.joins import Join
from polyrank.schema.guessing.keys import starts_at_zero
from polyrank.schema.guessing.names import name_for
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.sides import guess_side
from polyrank.schema.guessing.view import View

ROWS_PER_USER = 20
"""Mean rows a user from which the user's id may serve as the only feature of the user."""

Place = Callable[[str], tuple[Side, str]]
"""From a column's name to its side, and why."""


@dataclass
class Gathered:
    """Features by column, and why each column is one or is not."""

    features: dict[str, Feature] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """By feature name."""
    ignored: dict[str, str] = field(default_factory=dict)
    """By column."""


def gather(view: View, joins: Iterable[Join], labels: Mapping[str, str], num_rows: int) -> Gathered:
    """The features of the log and its side tables.

    Args:
        view: The log.
        joins: Its side tables.
        labels: Columns of the log that are labels or masks, or are refused, and why; the first
            sort with an empty reason.
        num_rows: Rows of the log.
    """
    out = Gathered(ignored={column: why for column, why in labels.items() if why})
    scene = Scene(num_rows, {}, None)
    joins = tuple(joins)
    item = view.keys.get("item")
    if item is not None and not view.profiles[item].all_differ:
        scene = _add_item(out, view.profiles[item], joins, num_rows)
    rest = {
        column: profile
        for column, profile in view.profiles.items()
        if column not in labels and column not in view.keys.values()
    }
    scene = _add_all(out, rest, scene, lambda column: guess_side(view, column), _log_fault(view))
    for join in joins:
        scene = _add_join(out, join, view, scene)
    _judge_user(out, view, scene)
    return out


def _add_item(out: Gathered, profile: Profile, joins: tuple[Join, ...], num_rows: int) -> Scene:
    """The item's id, which pasts and bags may share."""
    name = name_for(profile.name)
    common = {"name": name, "column": profile.name, "side": "item"}
    out.features[profile.name] = id_feature(profile, common, num_rows)
    out.notes[name] = f"The item's id: {profile.distinct:,} different values in the sample."
    known = set(map(str, profile.uniques))
    for join in joins:
        if join.table.on == profile.name:
            known.update(map(str, join.key.uniques))
    return Scene(num_rows, {name: frozenset(known)}, name)


def _add_all(
    out: Gathered,
    profiles: Mapping[str, Profile],
    scene: Scene,
    place: Place,
    fault: Callable[[Profile], str | None],
) -> Scene:
    """Add what ``profiles`` (by joined name) give; single values first: lists may share them."""
    vocabularies = dict(scene.vocabularies)
    order = sorted(profiles, key=lambda column: _comes_late(profiles[column]))
    for column in order:
        profile = profiles[column]
        why_not = fault(profile)
        if why_not is not None:
            out.ignored[column] = why_not
            continue
        side, whose = place(column)
        taken = [feature.name for feature in out.features.values()]
        here = Scene(scene.num_rows, vocabularies, scene.item)
        made = make_feature(profile, column, name_for(column, taken), side, here)
        if isinstance(made, str):
            out.ignored[column] = made
            continue
        feature, why = made
        out.features[column] = feature
        out.notes[feature.name] = f"{why}; {whose}."
        if isinstance(feature, Categorical):
            vocabularies[feature.name] = frozenset(map(str, profile.uniques))
    return Scene(scene.num_rows, vocabularies, scene.item)


def _comes_late(profile: Profile) -> bool:
    return profile.kind == "list" or (profile.kind == "text" and tell.is_sequence(profile.name))


def _fault(profile: Profile) -> str | None:
    """Why no column like ``profile`` is a feature, in the log or beside it."""
    if profile.kind == "other":
        return f"{profile.why_other[:1].upper()}{profile.why_other[1:]}."
    if profile.kind in ("list", "vector"):
        return None
    if is_moment(profile):
        return "It is a moment: those to come were never seen in training."
    if profile.distinct == 1 and profile.nulls == 0:
        return f"It is {repr(profile.uniques[0])[:40]} in every row of the sample."
    return None


def _log_fault(view: View) -> Callable[[Profile], str | None]:
    def fault(profile: Profile) -> str | None:
        general = _fault(profile)
        if general is not None or profile.kind in ("list", "vector"):
            return general
        if starts_at_zero(profile):
            return "It is named like a position, which must count from 1, but holds 0."
        time = view.keys.get("time")
        if time is not None and follows(profile, view.profiles[time]):
            return "It only grows with time: its values to come were never seen in training."
        return None

    return fault


def _add_join(out: Gathered, join: Join, view: View, scene: Scene) -> Scene:
    """The features of a side table: whose they are, its key says."""
    roles = {column: role for role, column in view.keys.items()}
    role = roles.get(join.table.on)
    side: Side
    if role in ("user", "item"):
        side, whose = (
            ("user" if role == "user" else "item"),
            f"one row for each {role} in table {join.table.name!r}",
        )
    else:
        side, _ = guess_side(view, join.table.on)
        whose = f"from table {join.table.name!r}"
    profiles = {join.joined(column): profile for column, profile in join.profiles.items()}
    return _add_all(out, profiles, scene, lambda _: (side, whose), _fault)


def _judge_user(out: Gathered, view: View, scene: Scene) -> None:
    """The user's id as a feature: only where nothing else tells users apart and all have rows."""
    column = view.keys.get("user")
    if column is None:
        return
    profile = view.profiles[column]
    name = name_for(column, [feature.name for feature in out.features.values()])
    others = any(feature.side == "user" for feature in out.features.values())
    rows = profile.rows / max(profile.distinct, 1)
    if out.features and (others or rows < ROWS_PER_USER):
        out.ignored[column] = (
            "The user's id is learned by heart within a few epochs. To try it, add "
            f"kind: categorical, name: {name}, side: user, min_frequency: 10."
        )
        return
    common = {"name": name, "column": column, "side": "user"}
    out.features[column] = id_feature(profile, common, scene.num_rows)
    out.notes[name] = (
        "The user's id, as nothing else tells users apart; it is soon learned by heart, so stop "
        "early."
    )
