"""Side tables: by which key they join the log, and what their columns are called then."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from polyrank.errors import ConfigError
from polyrank.schema.features import SideTable
from polyrank.schema.guessing import vocabulary
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.names import check_name
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.view import View

_NOUNS = {"user": vocabulary.USER, "item": vocabulary.ITEM, "request": vocabulary.REQUEST}


@dataclass(frozen=True)
class Join:
    """A side table and its columns."""

    table: SideTable
    profiles: Mapping[str, Profile]
    """By name in the table, its key left out."""
    key: Profile
    """The table's own key column."""

    def joined(self, column: str) -> str:
        """What ``column`` is called in the log."""
        return self.table.prefix + column


def guess_join(
    name: str, profiles: Mapping[str, Profile], view: View, taken: Collection[str]
) -> Join:
    """How the table ``name`` joins the log.

    Args:
        name: Of the table.
        profiles: Of its columns.
        view: The log.
        taken: Names of the columns that the log and the tables before it have.

    Raises:
        ConfigError: No column of it identifies its rows and is known to the log.
    """
    check_name(name, "table")
    pairs = [*_same_names(profiles, view), *_same_roles(name, profiles, view)]
    for on, key in pairs:
        if _is_key(profiles[key]) and profiles[key].kind == view.profiles[on].kind:
            others = {column: p for column, p in profiles.items() if column != key}
            prefix = _prefix(name, others, taken)
            table = SideTable(name=name, on=on, key=key, prefix=prefix)
            return Join(table, others, profiles[key])
    raise ConfigError(
        f"no column joins it to the log{_why_not(pairs, profiles)}",
        where=f"table {name!r}",
        hint="It needs one row a key, in a column that the log has under the same name and type.",
    )


def _same_names(profiles: Mapping[str, Profile], view: View) -> list[tuple[str, str]]:
    """Columns of both, the keys first."""
    keys = [view.keys[role] for role in _NOUNS if role in view.keys]
    shared = [column for column in profiles if column in view.profiles and tell.is_id(column)]
    return [(column, column) for column in dict.fromkeys([*keys, *shared]) if column in profiles]


def _same_roles(name: str, profiles: Mapping[str, Profile], view: View) -> list[tuple[str, str]]:
    """A key of the log, and a column that is named like it; ``id`` in a table named after it."""
    table_words = {word.removesuffix("s") for word in tell.words(name)}
    return [
        (view.keys[role], column)
        for role, nouns in _NOUNS.items()
        if role in view.keys
        for column in profiles
        if tell.key_rank(column, nouns) is not None
        or (tell.words(column) == ("id",) and table_words & set(nouns))
    ]


def _is_key(profile: Profile) -> bool:
    return profile.kind in ("integer", "text") and profile.distinct == profile.rows


def _why_not(pairs: list[tuple[str, str]], profiles: Mapping[str, Profile]) -> str:
    repeated = next((key for _, key in pairs if not _is_key(profiles[key])), None)
    return "" if repeated is None else f": its {repeated!r} repeats, is null or is no id"


def _prefix(name: str, columns: Collection[str], taken: Collection[str]) -> str:
    prefix = ""
    while any(prefix + column in taken for column in columns):
        prefix = f"{prefix or ''}{name}_"
    return prefix
