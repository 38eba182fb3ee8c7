"""Objectives and guardrails as columns of what was measured.

Shapes: P trials, K goals, M objectives, J guardrails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, counted
from polyrank.fusion.tuning.objectives import Objective
from polyrank.fusion.tuning.result import Goal, Guardrail
from polyrank.fusion.tuning.settings import Hold, Settings
from polyrank.schema import Schema

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Goals:
    """What is measured of every ranking: the objectives first, then what guardrails bound."""

    measures: tuple[Objective, ...]
    """Each once."""
    objectives: tuple[Goal, ...]
    """The first M of ``measures``."""
    holds: tuple[Hold, ...]
    bounded: tuple[Goal, ...]
    """By guardrail."""
    column_J: tuple[int, ...]
    """By guardrail, the place of what it bounds in ``measures``."""
    today_K: Floats

    @staticmethod
    def of(settings: Settings, schema: Schema) -> Goals:
        """Those of resolved settings, not yet measured.

        Raises:
            ConfigError: One reads what is no task, or a task of another kind.
        """
        objectives: Sequence[Objective] = settings.objectives or ()
        holds = settings.guardrails or ()
        measures = {each.name: each for each in objectives}
        for hold in holds:
            measures.setdefault(hold.of.name, hold.of)
        names = list(measures)
        return Goals(
            measures=tuple(measures.values()),
            objectives=tuple(each.goal(schema) for each in objectives),
            holds=tuple(holds),
            bounded=tuple(hold.of.goal(schema) for hold in holds),
            column_J=tuple(names.index(hold.of.name) for hold in holds),
            today_K=np.full(len(names), np.nan),
        )

    def measured(self, today_K: Floats) -> Goals:
        """The same where today's ranking has other values."""
        return replace(self, today_K=today_K)

    @property
    def today_J(self) -> Floats:
        """(J,) today's value of what each guardrail bounds."""
        return self.today_K[list(self.column_J)]

    @property
    def limit_J(self) -> tuple[float, ...]:
        """By guardrail."""
        return tuple(
            hold.limit(float(today)) for hold, today in zip(self.holds, self.today_J, strict=True)
        )

    def guardrails(self) -> tuple[Guardrail, ...]:
        """As the result tells them."""
        return tuple(
            Guardrail(
                name=hold.name,
                goal=goal,
                side="at_least" if hold.at_least is not None else "at_most",
                share=None if hold.absolute else hold.bound,
                limit=limit,
                today=float(today),
            )
            for hold, goal, limit, today in zip(
                self.holds, self.bounded, self.limit_J, self.today_J, strict=True
            )
        )

    def raised(self, value_PK: Floats) -> Floats:
        """(P, M) the objectives, turned so that more is better."""
        sign_M = np.array([1.0 if goal.higher_is_better else -1.0 for goal in self.objectives])
        return np.asarray(value_PK[:, : len(self.objectives)] * sign_M)

    def slacks(self, value_PK: Floats) -> Floats:
        """(P, J) how far guardrails are held, in the unit of each."""
        slack_PJ = np.empty((len(value_PK), len(self.holds)))
        for place, (hold, today) in enumerate(zip(self.holds, self.today_J, strict=True)):
            slack_PJ[:, place] = hold.slack(value_PK[:, self.column_J[place]], float(today))
        return slack_PJ

    def relative_slacks(self, value_PK: Floats) -> Floats:
        """(P, J) as a share of the size of today's value; as it is where that is 0."""
        size_J = np.abs(self.today_J)
        return np.asarray(self.slacks(value_PK) / np.where(size_J > 0, size_J, 1.0))

    def missed_P(self, value_PK: Floats) -> Floats:
        """(P,) by how much guardrails are missed in all, as shares of today's values."""
        return np.asarray(np.maximum(-self.relative_slacks(value_PK), 0.0).sum(axis=1))

    def told_missed(self, value_PK: Floats) -> str:
        """What guardrails no trial held, and by how much the nearest trial misses."""
        slack_PJ = self.slacks(value_PK)
        tried = counted(len(value_PK), "trial")
        never = np.flatnonzero(~(slack_PJ >= 0).any(axis=0))
        near_J = slack_PJ[int(self.missed_P(value_PK).argmin())]
        told = []
        for place in never:
            best = float(slack_PJ[:, place].max())
            told.append(f"{self._told(int(place))} is held by none, at best missed by {-best:.4g}")
        if not told:
            missed = [
                f"{self._told(int(place))} by {-near_J[place]:.4g}"
                for place in np.flatnonzero(near_J < 0)
            ]
            told = [
                f"each is held by some, never all at once: the nearest misses {told_list(missed)}"
            ]
        return f"no ranking of {tried} holds every guardrail: {'; '.join(told)}"

    def _told(self, place: int) -> str:
        return f"{self.holds[place].name} ({self.limit_J[place]:.4g})"

    def check_primary(self, primary: str | None) -> None:
        """Refuse a primary objective that is none.

        Raises:
            ConfigError: It names none.
        """
        names = [goal.name for goal in self.objectives]
        if primary is not None and primary not in names:
            raise ConfigError(
                f"{primary!r} is no objective", where="primary", hint=f"Known: {', '.join(names)}."
            )


def told_list(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
