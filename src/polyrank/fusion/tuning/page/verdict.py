"""What a search found, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from polyrank.fusion.tuning.page.changes import Change, Evidence, Standing, evidence
from polyrank.fusion.tuning.result import Tuned
from polyrank.pages import code

Tone = Literal["good", "bad", "neutral"]
_NAMED = 3  # goals in a sentence


class Verdict(NamedTuple):
    """The sentence and whether it is good news."""

    sentence: str
    tone: Tone


def verdict(tuned: Tuned) -> Verdict:
    """On rows on which nothing was chosen, where there are such."""
    best = evidence(tuned)[0]
    found = _champion(tuned, best) if tuned.champion else _nothing_holds(tuned, best)
    if tuned.complete:
        return found
    return Verdict(f"{found.sentence} The search was stopped before its last trial.", found.tone)


def _champion(tuned: Tuned, best: Evidence) -> Verdict:
    found = best.changes()
    names = [goal.name for goal in tuned.objectives]
    headline = [tuned.primary] if tuned.primary else names[:_NAMED]
    raised = [found[name] for name in headline]
    lead = (
        "the rows that it was chosen on" if best.chosen_here else "rows on which nothing was chosen"
    )
    told = f"On {lead}, the champion {_and([_told(change) for change in raised])}"
    standings = best.standings()
    if misses := _misses(standings):
        return Verdict(f"{told}, but misses {misses}.", "bad")
    return Verdict(f"{told}{_held(standings)}.", _tone([change.direction for change in raised]))


def _told(change: Change) -> str:
    interval = f" (interval {change.interval()})" if change.interval() else ""
    name = code(change.goal.name)
    if change.difference == 0:
        return f"leaves {name} as it is{interval}"
    verb = "raises" if change.difference > 0 else "lowers"
    doubt = ", which may be nothing" if change.interval() and change.direction == 0 else ""
    return f"{verb} {name} by {change.size()}{doubt}{interval}"


def _held(standings: Sequence[Standing]) -> str:
    if len(standings) > _NAMED:
        return f", and holds all {len(standings)} guardrails"
    levels = [f"{code(one.rail.goal.name)} at {one.level()}" for one in standings]
    return f", and keeps {_and(levels)}" if levels else ""


def _misses(standings: Sequence[Standing]) -> str:
    missed = [f"{code(one.rail.name)} by {one.distance()}" for one in standings if not one.held]
    return _and(missed) if missed else ""


def _tone(directions: Sequence[int]) -> Tone:
    if min(directions) < 0 and max(directions) <= 0:
        return "bad"
    return "good" if max(directions) > 0 and min(directions) >= 0 else "neutral"


def _nothing_holds(tuned: Tuned, best: Evidence) -> Verdict:
    every = "the guardrail" if len(tuned.guardrails) == 1 else "every guardrail"
    misses = _misses(best.standings())
    return Verdict(f"No weights hold {every}: the nearest misses {misses}.", "bad")


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
