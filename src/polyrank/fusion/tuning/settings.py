"""What a search is asked for."""

from __future__ import annotations

from typing import Annotated, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.fusion.tuning.objectives import GAUC, NDCG, AnyObjective, Objective
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.fusion.tuning.searches import CEM, AnySearch
from polyrank.schema import Declared, Faults, Schema
from polyrank.schema.model import Name

Amount = TypeVar("Amount", float, NDArray[np.float64])
KEPT = 0.99
"""Of today's value, by default: what a ranking may not fall below."""
MOST_BY_DEFAULT = 3
"""Objectives that are raised by default; with more, nearly every ranking is on the front."""


class Hold(Declared):
    """A guardrail: ``{of: {kind: ndcg, task: click}, at_least: 0.99}`` holds 99 % of today's."""

    of: AnyObjective
    at_least: float | None = None
    at_most: float | None = None
    absolute: bool = False
    """The bound is the limit itself; else a share of today's value, of its size where that is
    negative: at_least .99 of -5 is -5.05."""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise Faults([("at_least", "give either it or `at_most`")])
        return self

    @property
    def bound(self) -> float:
        """As it was stated."""
        return self.at_least if self.at_least is not None else self.at_most or 0.0

    @property
    def name(self) -> str:
        """``ndcg@10 of click at least 99% of today's``."""
        side = "at least" if self.at_least is not None else "at most"
        told = f"{self.bound:g}" if self.absolute else f"{100 * self.bound:g}% of today's"
        return f"{self.of.name} {side} {told}"

    def limit(self, today: float) -> float:
        """In the unit of the objective."""
        return self.bound if self.absolute else today + (self.bound - 1) * abs(today)

    def slack(self, value: Amount, today: float) -> Amount:
        """How far a value holds it; negative: by how much it is missed."""
        limit = self.limit(today)
        return value - limit if self.at_least is not None else limit - value


class Range(Declared):
    """Where one weight is searched."""

    lower: PositiveFloat | None = None
    """Times its start; null: that of all. As much as ``upper``: it stays."""
    upper: PositiveFloat | None = None
    """Times its start; null: that of all."""
    start: float | None = None
    """Instead of the model's own; needed where that is 0."""


class Settings(Declared):
    """Objectives, guardrails, and where and how weights are searched."""

    objectives: Annotated[tuple[AnyObjective, ...], Field(min_length=1)] | None = None
    """Null: NDCG@10 of the first three binary tasks that are not bad; without requests in the log,
    GAUC."""
    guardrails: tuple[Hold, ...] | None = None
    """Null: the same measure of every task that it is defined for, at least 99 % of today's, of a
    bad task at most 101 %. Empty: none."""
    primary: str | None = None
    """The name of the objective whose best feasible trial is the champion; null: the knee is."""
    search: AnySearch = CEM()
    seed: NonNegativeInt = 0
    start: str = "auto"
    """``equal``: contributions are equal on the log; ``today``: the bundle's value model; ``auto``:
    that, if it has one; else the path of a value model, as YAML."""
    values: dict[Name, float] = {}
    """With an equal start: by task, what it is worth beside the others."""
    lower: PositiveFloat = 0.03
    """Weights are searched from this, times their start, ..."""
    upper: PositiveFloat = 30.0
    """... to this, evenly on a log scale; they keep their sign."""
    weights: dict[str, Range] = {}
    """By name of the weight, where it differs. One that is 0 at the start stays 0, unless it is
    named here with a start."""
    resamples: NonNegativeInt = 500
    """Draws behind intervals; 0: none."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for field, found in (("objectives", self.objectives), ("guardrails", self.guardrails)):
            names = [each.name for each in found or ()]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise Faults([(field, f"{twice!r} stands there twice. Leave one out")])
        names = [each.name for each in self.objectives or ()]
        if self.primary is not None and names and self.primary not in names:
            raise Faults([("primary", f"{self.primary!r} is no objective. {_hint(self, names)}")])
        if 0 < self.resamples < 40:
            raise Faults([("resamples", "must be 0 or at least 40. A 95 % interval needs them")])
        return self

    def resolved(self, log: Replayed, later: Replayed | None = None) -> Settings:
        """With the defaults written out.

        Args:
            log: What is searched on.
            later: Rows on which the choice will be checked, on which defaults are defined as well.

        Raises:
            ConfigError: The log has no groups, or its schema no task that is measured by default.
        """
        objectives = self.objectives
        if objectives is None:
            found = [each for each in _measures(log, later) if _good(log.schema, each)]
            if not found:
                raise ConfigError(
                    "no binary task with a label above 0 that is not bad: nothing to raise",
                    where="objectives",
                    hint="Name objectives, as in --objective value@10:watch_time.",
                )
            objectives = tuple(found[:MOST_BY_DEFAULT])
        guardrails = self.guardrails
        if guardrails is None:
            held = _measures(log, later, durations=True)
            guardrails = tuple(_kept(log.schema, each) for each in held)
        tree = self.model_dump() | {"objectives": objectives, "guardrails": guardrails}
        return Settings(**tree)


def _hint(settings: Settings, names: list[str]) -> str:
    return suggest(settings.primary or "", names)


def _good(schema: Schema, objective: Objective) -> bool:
    return objective.goal(schema).higher_is_better


def _kept(schema: Schema, objective: AnyObjective) -> Hold:
    if _good(schema, objective):
        return Hold(of=objective, at_least=KEPT)
    return Hold(of=objective, at_most=2 - KEPT)


def _measures(
    log: Replayed, later: Replayed | None, *, durations: bool = False
) -> list[NDCG | GAUC]:
    """Of each task that it is defined for on these logs, the measure that is held by default."""
    groups = log.rows.groups
    if not groups:
        raise ConfigError(
            "the log has neither requests nor users, so no list is ranked in it",
            where="tuning",
            hint="Declare `keys.request` in the schema.",
        )
    found: list[NDCG | GAUC] = []
    for task in log.schema.tasks:
        each = NDCG(task=task.name) if "request" in groups else GAUC(task=task.name)
        if task.kind == "binary" or (durations and task.kind in each.kinds):
            try:
                for rows in (log, later) if later is not None else (log,):
                    each.credits(rows)
            except DataError:
                continue  # it never happens there
            found.append(each)
    return found
