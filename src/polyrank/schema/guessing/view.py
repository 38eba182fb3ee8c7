"""The sample as the guesses see it: profiles, keys and what belongs to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polyrank.schema.guessing.dependency import Constancy, constancy
from polyrank.schema.guessing.profile import Profile

Owner = Literal["user", "item"]


@dataclass(frozen=True)
class View:
    """The columns of the log, with the keys found so far."""

    profiles: Mapping[str, Profile]
    keys: Mapping[str, str]
    """Role to column."""
    _seen: dict[tuple[str, str], Constancy] = field(default_factory=dict)

    def constancy(self, column: str, role: Owner) -> Constancy:
        """Whether ``column`` has one value for each user, or each item."""
        if role not in self.keys or self.profiles[column].kind in ("list", "vector", "other"):
            return "unknown"
        key = column, self.keys[role]
        if key not in self._seen:
            groups = self.profiles[self.keys[role]].codes
            self._seen[key] = constancy(self.profiles[column].codes, groups)
        return self._seen[key]

    def belongs_to(self, column: str) -> Owner | None:
        """The user or item of whom ``column`` is a property in the sample, if that is sure."""
        if self.constancy(column, "user") == "constant":
            return "user"
        return "item" if self.constancy(column, "item") == "constant" else None
