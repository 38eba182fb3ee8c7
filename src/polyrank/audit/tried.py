"""What came of the remedies, as JSON and as words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polyrank.audit.compared import Compared
from polyrank.audit.plain import Plain
from polyrank.audit.verdict import Verdict, Warned


@dataclass(frozen=True, kw_only=True)
class Beside(Plain):
    """A cost, and how many times that of the joint run it is."""

    value: float
    times: float


@dataclass(frozen=True, kw_only=True)
class Cost(Plain):
    """Of a remedy."""

    parameters: Beside
    multiply_adds: Beside
    """Of a row forward."""
    row_seconds: Beside
    """Of scoring a row in batches, on one core."""
    run_seconds: Beside
    """Of training and predicting: medians over the seeds, of one thread on a CPU without the time
    in which others had the core."""


@dataclass(frozen=True, kw_only=True)
class Confirmed(Plain):
    """A remedy that was chosen, trained again on seeds that chose nothing, beside fresh twins."""

    seeds: tuple[int, ...]
    keeps: bool
    """Whether it leaves no task harmed there, too."""
    against_twins: tuple[Verdict | Warned, ...]


@dataclass(frozen=True, kw_only=True)
class Tried(Plain):
    """One remedy."""

    name: str
    told: str
    changes: Mapping[str, Any]
    """By dotted key of the configuration."""
    tasks: tuple[str, ...]
    """Those that learn."""
    seeds: tuple[int, ...]
    """Those that came to an end."""
    against_twins: tuple[Verdict | Warned, ...]
    over_joint: tuple[Compared, ...]
    """What it gains on the joint run; in each, ``joint`` is the remedy and ``twin`` the joint
    run."""
    removes: bool
    """Whether it leaves no task harmed, and those that were have won back most of their loss where
    the runs cannot tell; several are tried on the same seeds, so the best of them
    looks better than it is: see ``confirmed``."""
    cost: Cost | None
    failures: tuple[str, ...] = ()
    confirmed: Confirmed | None = None


@dataclass(frozen=True, kw_only=True)
class Unfit(Plain):
    """A remedy that cannot apply."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Climb(Plain):
    """How far the ladder was climbed."""

    harmed: tuple[str, ...]
    tried: tuple[Tried, ...]
    unfit: tuple[Unfit, ...]
    untried: tuple[str, ...]
    """Dearer ones, left alone once a cheaper one had kept its promise."""
    whole: bool
    """Whether nothing is missing."""
    recommended: str | None = None
    file: str | None = None
    """In the audit's folder: the recommended run, ready to train."""

    @property
    def told(self) -> str:
        """The recommendation in a sentence."""
        chosen = next((one for one in self.tried if one.name == self.recommended), None)
        if chosen is not None and chosen.confirmed is not None:
            cost = chosen.cost
            size = "" if cost is None else f", at {cost.parameters.times:.2f} times the parameters"
            told = f"{chosen.name} ({chosen.told}) leaves no task harmed, on fresh seeds neither"
            return f"{told}{size}"
        if not self.whole:
            return f"remedies are being tried: {len(self.tried)} so far"
        if not self.harmed:
            return f"no task is harmed; {len(self.tried)} remedies were tried all the same"
        if not self.tried:
            return "no remedy can apply"
        broke = [one.name for one in self.tried if one.confirmed is not None]
        again = f"; on fresh seeds {', '.join(broke)} did not keep the promise" if broke else ""
        names = ", ".join(one.name for one in self.tried)
        return f"no remedy that was tried removes the harm ({names}){again}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the sentence."""
        return {**super().to_json(), "told": self.told}
