"""The value models that were set while serving: by profile, each with what it replaced."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import NonNegativeInt, PositiveInt, model_validator

from polyrank.errors import ConfigError, suggest
from polyrank.fusion import AnyValueModel, Demotion, ValueModel
from polyrank.schema import Declared, Faults
from polyrank.schema.model import Name

KEPT = 100
"""Value models of a profile that are remembered, the one in force always among them."""


class ValueChange(Declared):
    """A value model, by whom and when."""

    number: PositiveInt
    """From 1, in the order in which they were set."""
    after: NonNegativeInt
    """The number of the one that it replaced, which a rollback restores; 0: the bundle's own."""
    model: AnyValueModel
    demotion: Demotion | None = None
    by: str
    """Who set it."""
    time: str
    """ISO 8601 in UTC."""


class Profile(Declared):
    """What one surface is ranked by, and was."""

    current: NonNegativeInt = 0
    """The number of the one in force; 0: the bundle's own."""
    versions: tuple[ValueChange, ...] = ()
    """The last ``KEPT``, by number."""

    @model_validator(mode="after")
    def _is_a_history(self) -> Profile:
        numbers = [version.number for version in self.versions]
        if numbers != sorted(set(numbers)):
            raise Faults([("versions", "must have rising numbers. Restore them")])
        if self.current and self.current not in numbers:
            raise Faults([("current", f"there is no version {self.current}. Restore it")])
        return self

    @property
    def in_force(self) -> ValueChange | None:
        """What ranks; null: the bundle's own."""
        return next((each for each in self.versions if each.number == self.current), None)

    def extended(self, model: ValueModel, demotion: Demotion | None, by: str) -> Profile:
        """With one more, which is in force."""
        number = self.versions[-1].number + 1 if self.versions else 1
        change = ValueChange(
            number=number,
            after=self.current,
            model=model,  # type: ignore[arg-type]  # every value model there is
            demotion=demotion,
            by=by,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return Profile(current=number, versions=(*self.versions, change)[-KEPT:])

    def rolled_back(self) -> Profile:
        """With the one in force that was before; none is forgotten.

        Raises:
            ConfigError: The bundle's own is, or the one before is not remembered any more.
        """
        found = self.in_force
        if found is None:
            raise ConfigError("the bundle's own ranks: there is nothing to roll back to")
        if found.after and found.after not in [each.number for each in self.versions]:
            raise ConfigError(f"version {found.after} is not remembered: {KEPT} are. Set it anew")
        return Profile(current=found.after, versions=self.versions)


class Changes(Declared):
    """All that was set for one model while serving."""

    profiles: dict[Name, Profile] = {}
    pinned: str | None = None
    """The version that answers; null: the newest."""

    def with_profile(self, name: str, profile: Profile) -> Changes:
        """With another history of one profile."""
        return Changes(profiles={**self.profiles, name: profile}, pinned=self.pinned)

    def with_pinned(self, version: str | None) -> Changes:
        """With another version that answers."""
        return Changes(profiles=self.profiles, pinned=version)

    def profile(self, name: str) -> Profile:
        """One that there is.

        Raises:
            ConfigError: There is none of that name.
        """
        if name not in self.profiles:
            raise ConfigError(
                f"profile {name[:64]!a} was never set", hint=suggest(name, self.profiles)
            )
        return self.profiles[name]
