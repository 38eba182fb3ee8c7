"""The value models that a bundle ranks by and ranked by before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from polyrank.errors import ConfigError
from polyrank.fusion import AnyValueModel, Demotion, ValueModel
from polyrank.schema import Declared, Faults

SetBy = Literal["init", "file", "python", "search"]


class ValueVersion(Declared):
    """A value model, and where it comes from."""

    number: PositiveInt
    """From 1, in the order in which they were set."""
    after: NonNegativeInt
    """The number of the one that it replaced, which a rollback restores; 0: the default weights."""
    model: AnyValueModel
    demotion: Demotion | None = None
    by: SetBy
    """``init``: equal contributions on a log; ``file``: written by hand; ``python``: from code;
    ``search``: tuned on a log."""
    source: str = ""
    """The log or the file that it was made from."""
    time: str
    """When it was set, ISO 8601 in UTC."""
    measured: dict[str, Any] = {}
    """On which rows it was measured (``on``), and by term the mean ``size`` of its contribution
    and its ``share`` of all; empty: on none. Of a ``search``, besides, what was picked: trial,
    seed, settings, log, objectives, guardrails."""

    @property
    def told(self) -> str:
        """One phrase: number, kind, origin and time."""
        source = f" {self.source}" if self.source else ""
        return f"version {self.number}, {self.model.kind}, by {self.by}{source}, {self.time}"

    def cells(self) -> list[list[str]]:
        """By term and by weight: its name, weight, mean size and share of the score, as text."""
        weights, terms = self.model.tunable, self.measured.get("terms", {})
        cells = []
        for name in dict.fromkeys([*weights, *terms]):
            weight = f"{weights[name]:.5g}" if name in weights else "-"
            found = terms.get(name)
            told = (
                ["-", "-"] if found is None else [f"{found['size']:.5g}", f"{found['share']:.1%}"]
            )
            cells.append([name, weight, *told])
        return cells


class ValueHistory(Declared):
    """Every value model that a bundle had, and which of them is in force."""

    current: NonNegativeInt = 0
    """The number of the one in force; 0: none, so that the default weights rank."""
    versions: tuple[ValueVersion, ...] = ()
    """By number, those rolled back included."""

    @model_validator(mode="after")
    def _is_a_history(self) -> ValueHistory:
        if [version.number for version in self.versions] != [*range(1, len(self.versions) + 1)]:
            raise Faults([("versions", "must be numbered from 1. Restore the bundle")])
        if any(version.after >= version.number for version in self.versions):
            raise Faults([("versions", "one comes after a later one. Restore the bundle")])
        if self.current > len(self.versions):
            raise Faults([("current", f"there is no version {self.current}. Restore the bundle")])
        return self

    @property
    def in_force(self) -> ValueVersion | None:
        """What ranks; null: the default weights."""
        return self.versions[self.current - 1] if self.current else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that some version reads."""
        return tuple(dict.fromkeys(task for each in self.versions for task in each.model.tasks))

    def extended(
        self,
        model: ValueModel,
        demotion: Demotion | None,
        tasks: Collection[str],
        *,
        by: SetBy,
        source: str,
        measured: Mapping[str, Any],
    ) -> ValueHistory:
        """With one more version, which is in force.

        Raises:
            ConfigError: The model reads what is not among ``tasks``.
        """
        model.check(tasks)
        number = len(self.versions) + 1
        version = ValueVersion(
            number=number,
            after=self.current,
            model=model,  # type: ignore[arg-type]  # every value model there is
            demotion=demotion,
            by=by,
            source=source,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            measured=dict(measured),
        )
        return ValueHistory(current=number, versions=(*self.versions, version))

    def rolled_back(self) -> ValueHistory:
        """With the one in force that was before; none is forgotten.

        Raises:
            ConfigError: There is none to leave.
        """
        if self.in_force is None:
            raise ConfigError(
                "the bundle ranks by its default weights, and there is nothing to roll back to",
                where="value model",
                hint="Set one first: polyrank fuse --init, or --model FILE.",
            )
        return ValueHistory(current=self.in_force.after, versions=self.versions)
