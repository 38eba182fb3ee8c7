"""What a search for weights found, as data: ``tuning.json`` and all that pages and screens show.

Tuples stand in the order of the names beside them: ``Trial.weights`` in that of ``Tuned.weights``,
``objectives`` in that of ``Tuned.objectives``, ``slacks`` in that of ``Tuned.guardrails``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from polyrank.errors import ArtefactError, ConfigError, suggest
from polyrank.fusion.base import ValueModel
from polyrank.schema import Declared, parse
from polyrank.storage import jsonio

FILE = "tuning.json"
"""The name of the result in its folder."""
FORMAT = 1

Values = tuple[float, ...]


class Goal(Declared):
    """A quantity that a ranking of the log has."""

    name: str
    """What it is called on screens and in settings: ``ndcg@10 of click``."""
    kind: str
    """Of the objective: ``ndcg``, ``gauc``, ``weighted_recall``, ``value``."""
    tasks: tuple[str, ...]
    """Whose labels it reads."""
    unit: str
    """In words: ``of the best possible order``."""
    higher_is_better: bool


class Guardrail(Declared):
    """What a ranking must hold."""

    name: str
    """As it was stated: ``ndcg@10 of click at least 99% of today's``."""
    goal: Goal
    """What is bounded."""
    side: Literal["at_least", "at_most"]
    share: float | None
    """Of today's value, where the bound was stated so; null: it was stated as the limit itself."""
    limit: float
    """The bound on this log, in the unit of the goal."""
    today: float
    """Today's value on this log."""


class Trial(Declared):
    """One weight vector and what it does to the log."""

    number: NonNegativeInt
    """In the order in which they were tried."""
    weights: Values
    objectives: Values
    slacks: Values
    """By guardrail, how far it is held, in the unit of its goal; negative: how far it is missed."""

    @property
    def feasible(self) -> bool:
        """Whether every guardrail is held."""
        return all(slack >= 0 for slack in self.slacks)


class Point(Declared):
    """A ranking that has a name: today's, the start's, the knee's, the champion's."""

    objectives: Values
    slacks: Values
    weights: Values | None = None
    """Null: it ranks by another value model than the one that is tuned."""
    trial: NonNegativeInt | None = None
    """Its number, where it was one."""
    told: str
    """What it is, in words."""

    @property
    def feasible(self) -> bool:
        """Whether every guardrail is held."""
        return all(slack >= 0 for slack in self.slacks)


class Hypervolume(Declared):
    """The volume between the front and the reference, in the product of the objectives' units."""

    value: float
    reference: Values
    """By objective: that of a random order of each list, which no search can move."""
    today: float
    """That of today's point alone."""
    trials: tuple[NonNegativeInt, ...]
    """The course: after so many trials ..."""
    values: Values
    """... it was this."""


class Sensitivity(Declared):
    """What one weight does, all others held."""

    weight: str
    factors: Values
    """Times the weight at the point, rising; 1 is among them; 0: without it."""
    objectives: tuple[Values, ...]
    """By factor."""
    slacks: tuple[Values, ...]
    """By factor."""


class Gain(Declared):
    """A paired difference of two rankings of one log, in the unit of the goal."""

    goal: str
    """The name of an objective, or of what a guardrail bounds."""
    today: float
    picked: float
    difference: float
    """Picked minus today."""
    lower: float | None
    """Of the interval; null: ``reason``."""
    upper: float | None
    reason: str | None = None


class Gains(Declared):
    """The differences of all goals, by a bootstrap over whole users, else whole requests."""

    of: Literal["champion", "knee"]
    drawn: Literal["user", "request"]
    units: NonNegativeInt
    resamples: NonNegativeInt
    confidence: PositiveFloat
    rows: tuple[Gain, ...]


class Later(Declared):
    """The same rankings on rows on which nothing was chosen."""

    on: str
    """Which rows, in words."""
    rows: PositiveInt
    requests: NonNegativeInt
    limits: Values
    """By guardrail; a share is of what today's ranking has here."""
    today: Point
    champion: Point | None
    knee: Point | None
    gains: Gains | None
    """Of the champion there."""


class Log(Declared):
    """What was searched on."""

    on: str
    """Which rows, in words."""
    rows: PositiveInt
    requests: NonNegativeInt
    """0: the log has none."""
    fingerprint: str
    """SHA-256 of predictions, labels, weights and groups."""


class Tuned(Declared):
    """All of it."""

    format: Literal[1] = 1
    bundle: str
    """The version of the bundle."""
    kind: str
    """Of the value model that is tuned."""
    model: dict[str, object]
    """Its declaration at the start."""
    log: Log
    search: str
    """Its kind."""
    settings: dict[str, object]
    """As they were used."""
    seed: NonNegativeInt
    seconds: float
    """That the search took, without those that an earlier, interrupted one took."""
    weights: tuple[str, ...]
    """Names of the weights that were searched."""
    lower: Values
    """By weight, the end of its range nearer to 0."""
    upper: Values
    """By weight, the end farther from 0."""
    objectives: tuple[Goal, ...]
    guardrails: tuple[Guardrail, ...]
    primary: str | None
    """The objective by which the champion is chosen; null: the champion is the knee."""
    trials: tuple[Trial, ...]
    front: tuple[NonNegativeInt, ...]
    """Numbers of the feasible trials that no feasible trial dominates, by the first objective from
    the best down; empty: none is feasible."""
    hypervolume: Hypervolume
    today: Point
    start: Point
    knee: Point | None
    """Null: no trial is feasible."""
    champion: Point | None
    nearest: Point | None
    """Where no trial is feasible: the one that misses least."""
    sensitivity: tuple[Sensitivity, ...]
    """At the champion, else at the start."""
    gains: Gains | None
    """Of the champion, on the log of the search, where it was chosen: they flatter it."""
    later: Later | None = None
    complete: bool = True
    """False: it was stopped before all trials."""

    def picked(self, pick: str) -> dict[str, float]:
        """The weights of ``champion``, ``knee`` or a trial's number, by name.

        Raises:
            ConfigError: There is none.
        """
        names = {"champion": self.champion, "knee": self.knee}
        if pick in names:
            point = names[pick]
            if point is None or point.weights is None:
                raise ConfigError(
                    f"there is no {pick}: no trial holds every guardrail",
                    where="--pick",
                    hint="Loosen a guardrail, or give a trial's number.",
                )
            return dict(zip(self.weights, point.weights, strict=True))
        if not pick.isdecimal() or int(pick) >= len(self.trials):
            raise ConfigError(
                f"{pick!r} names no trial, of 0 to {len(self.trials) - 1}",
                where="--pick",
                hint=suggest(pick, names),
            )
        return dict(zip(self.weights, self.trials[int(pick)].weights, strict=True))

    def write(self, folder: Path) -> Path:
        """``tuning.json`` in ``folder``; the numbers keep every bit."""
        path = folder / FILE
        path.write_bytes(jsonio.dumps(self.model_dump(mode="json")))
        return path

    @staticmethod
    def read(folder: Path) -> Tuned:
        """What ``write`` wrote.

        Raises:
            ArtefactError: It is missing or was altered.
        """
        path = folder / FILE
        if not path.is_file():
            raise ArtefactError("holds no result of a search", where=str(folder))
        tree = jsonio.loads(path.read_bytes(), where=FILE)
        try:
            return parse(Tuned, tree if isinstance(tree, dict) else {}, where=FILE)
        except ConfigError as error:
            raise ArtefactError(
                str(error), where=str(path), hint="Search again, into another folder."
            ) from error


def declaration(model: ValueModel) -> dict[str, object]:
    """A value model as plain data."""
    return model.model_dump(mode="json")
