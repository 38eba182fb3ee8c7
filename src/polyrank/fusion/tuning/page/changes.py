"""What rankings have on the same rows, and what one of them changes against today's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polyrank.fusion.tuning.result import Gains, Goal, Guardrail, Point, Tuned, Values
from polyrank.pages import interval, number, percent


@dataclass(frozen=True)
class Change:
    """Of one goal; ends of the interval are None where there is none."""

    goal: Goal
    today: float
    picked: float
    lower: float | None = None
    upper: float | None = None
    reason: str | None = None

    @property
    def difference(self) -> float:
        """Picked minus today, in the unit of the goal."""
        return self.picked - self.today

    @property
    def direction(self) -> int:
        """1 or -1: surely better or worse, as far as the interval says; 0: neither is known."""
        if self.lower is None or self.upper is None or self.lower <= 0 <= self.upper:
            return 0
        return 1 if (self.lower > 0) == self.goal.higher_is_better else -1

    def told(self) -> str:
        """The difference with its sign: of today's value where that is positive, else in the
        goal's unit."""
        return self._in_words(self.difference, signed=True)

    def size(self) -> str:
        """The same without its sign."""
        return self._in_words(abs(self.difference), signed=False)

    def interval(self) -> str:
        """Its interval, in the same terms; empty where there is none."""
        if self.lower is None or self.upper is None:
            return ""
        return interval(self.lower, self.upper, lambda end: self._in_words(end, signed=True))

    def _in_words(self, difference: float, *, signed: bool) -> str:
        if self.today > 0:
            return percent(difference / self.today, decimals=2, signed=signed)
        return number(difference, signed=signed)


@dataclass(frozen=True)
class Standing:
    """How a ranking stands to one guardrail."""

    rail: Guardrail
    limit: float
    value: float
    today: float
    slack: float

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self.slack >= 0

    def distance(self) -> str:
        """From the limit: of today's value where that is positive, else in the goal's unit."""
        if self.today > 0:
            return f"{percent(abs(self.slack) / self.today, decimals=2)} of today's"
        return number(abs(self.slack))

    def level(self) -> str:
        """The value, of today's where that is positive."""
        return (
            f"{percent(self.value / self.today)} of today's" if self.today > 0 else four(self.value)
        )


@dataclass(frozen=True)
class Evidence:
    """Rankings on the same rows.

    Args:
        tuned: The search.
        points: By name; ``today`` is the first, the one that is judged the last.
        limits: By guardrail, on these rows.
        gains: Of the last point.
        on: Which rows, in words.
        rows: Their number.
        requests: Theirs.
        chosen_here: Whether the point was chosen on them, which flatters it.
    """

    tuned: Tuned
    points: Mapping[str, Point]
    limits: Values
    gains: Gains | None
    on: str
    rows: int
    requests: int
    chosen_here: bool

    @property
    def name(self) -> str:
        """Of the point that is judged."""
        return list(self.points)[-1]

    def values(self, point: Point) -> dict[str, float]:
        """Of a point, by the name of each goal."""
        rails = zip(self.tuned.guardrails, self.limits, point.slacks, strict=True)
        bounded = {rail.goal.name: _bounded(rail, limit, slack) for rail, limit, slack in rails}
        names = [goal.name for goal in self.tuned.objectives]
        return bounded | dict(zip(names, point.objectives, strict=True))

    def changes(self) -> dict[str, Change]:
        """By the name of each goal, from today's ranking to the one that is judged."""
        before, after = self.values(self.points["today"]), self.values(self.points[self.name])
        found = {
            name: Change(goal, before[name], after[name])
            for name, goal in goals(self.tuned).items()
        }
        for row in self.gains.rows if self.gains else ():
            goal = found[row.goal].goal
            found[row.goal] = Change(goal, row.today, row.picked, row.lower, row.upper, row.reason)
        return found

    def standings(self) -> list[Standing]:
        """By guardrail, of the point that is judged."""
        today, judged = self.points["today"], self.points[self.name]
        return [
            Standing(
                rail, limit, _bounded(rail, limit, slack), _bounded(rail, limit, before), slack
            )
            for rail, limit, slack, before in zip(
                self.tuned.guardrails, self.limits, judged.slacks, today.slacks, strict=True
            )
        ]


def evidence(tuned: Tuned) -> list[Evidence]:
    """On rows on which nothing was chosen, where there are such; then on those of the search."""
    limits = tuple(rail.limit for rail in tuned.guardrails)
    points = {name: one for name, one in named_points(tuned).items() if name != "start"}
    log, later = tuned.log, tuned.later
    found = [Evidence(tuned, points, limits, tuned.gains, log.on, log.rows, log.requests, True)]
    if later is None or later.champion is None:
        return found
    points = {"today": later.today}
    if later.knee and not champion_is_knee(tuned):
        points["knee"] = later.knee
    points["champion"] = later.champion
    limits, gains, count = later.limits, later.gains, (later.rows, later.requests)
    return [Evidence(tuned, points, limits, gains, later.on, *count, False), *found]


def named_points(tuned: Tuned) -> dict[str, Point]:
    """By name, the points that a reader looks for; a knee that is the champion has no own place."""
    points = {"today": tuned.today, "start": tuned.start}
    if tuned.knee and not champion_is_knee(tuned):
        points["knee"] = tuned.knee
    if tuned.champion:
        points["champion"] = tuned.champion
    elif tuned.nearest:
        points["nearest"] = tuned.nearest
    return points


def champion_is_knee(tuned: Tuned) -> bool:
    """Whether one trial is both."""
    knee, champion = tuned.knee, tuned.champion
    return knee is not None and champion is not None and knee.trial == champion.trial


def goals(tuned: Tuned) -> dict[str, Goal]:
    """Objectives and then what guardrails bound, each once, by name."""
    return {one.name: one for one in (*tuned.objectives, *(g.goal for g in tuned.guardrails))}


def four(value: float) -> str:
    """The value of a goal."""
    return number(value, digits=4)


def _bounded(rail: Guardrail, limit: float, slack: float) -> float:
    """The value that is ``slack`` away from the limit, on the side that holds it."""
    return limit + slack if rail.side == "at_least" else limit - slack
