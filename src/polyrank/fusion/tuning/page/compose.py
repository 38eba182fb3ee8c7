"""The page of a search, put together."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.errors import counted
from polyrank.fusion.tuning.page.applied import as_yaml
from polyrank.fusion.tuning.page.changes import Evidence, evidence, goals
from polyrank.fusion.tuning.page.figures import hypervolume, sensitivity
from polyrank.fusion.tuning.page.front import front
from polyrank.fusion.tuning.page.tables import (
    goals_table,
    guardrails_table,
    points_told,
    weights_table,
)
from polyrank.fusion.tuning.page.verdict import verdict
from polyrank.fusion.tuning.result import Tuned
from polyrank.pages import Block, Code, Facts, Page, Prose, Section, TaskColors, code, number

_LARGE = 4  # numbers that stand out
_SHORT = 12  # digits of a fingerprint


def composed(tuned: Tuned, *, tasks: Sequence[str] | None, command: str | None) -> Page:
    """The page; see ``write_page`` for what it takes."""
    found = verdict(tuned)
    return Page(
        title="Which weights should it rank by?",
        verdict=found.sentence,
        tone=found.tone,
        kind=f"polyrank · tuning of a {tuned.kind.replace('_', ' ')}",
        sections=list(_sections(tuned, TaskColors(_tasks(tuned, tasks)), command)),
        note=f"Bundle {code(tuned.bundle[:_SHORT])}. Every trial, and all numbers of this page, "
        "stand in `tuning.json` beside it.",
    )


def _sections(tuned: Tuned, colors: TaskColors, command: str | None) -> list[Section]:
    best, *rest = evidence(tuned)
    headline = [_headline(best)] if tuned.champion else []
    weights: list[Block] = [weights_table(tuned), points_told(tuned)]
    sections = [Section("Result", [*headline, *_judged(best), *weights])]
    sections += [Section("On the rows of the search", _judged(other)) for other in rest]
    if tuned.trials:
        sections.append(Section("Choose a point", [front(tuned, command)]))
    if tuned.sensitivity:
        sections.append(Section("Sensitivity", [sensitivity(tuned, colors)]))
    course = [hypervolume(tuned)] if tuned.hypervolume.trials else []
    settings = Code(as_yaml(_given(tuned.settings)), "Settings, as they were used")
    return [*sections, Section("The search", [_search(tuned), *course, settings])]


def _tasks(tuned: Tuned, tasks: Sequence[str] | None) -> list[str]:
    read = [task for goal in goals(tuned).values() for task in goal.tasks]
    return list(dict.fromkeys([*(tasks or ()), *read]))


def _given(tree: object) -> object:
    """Without what was left open."""
    if isinstance(tree, dict):
        return {key: _given(value) for key, value in tree.items() if value not in (None, {})}
    return [_given(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _headline(best: Evidence) -> Facts:
    """The champion's changes in large numbers: its primary goal, else the objectives, first."""
    found, primary = best.changes(), best.tuned.primary
    names = list(dict.fromkeys([*([primary] if primary else []), *found]))[:_LARGE]
    return Facts(
        {name: found[name].told() for name in names},
        large=True,
        notes={name: found[name].interval() for name in names if found[name].interval()},
    )


def _judged(best: Evidence) -> list[Block]:
    rails = [guardrails_table(best)] if best.tuned.guardrails else []
    return [goals_table(best), *rails, Prose(_rows_told(best))]


def _rows_told(best: Evidence) -> str:
    rows = f"{counted(best.rows, 'row')} of {counted(best.requests, 'request')}."
    if gains := best.gains:
        drawn = f"{counted(gains.resamples, 'resample')} of {counted(gains.units, gains.drawn)}"
        rows += f" Intervals are from {drawn}, both rankings on the same ones."
    if best.chosen_here and best.tuned.champion:
        rows += " The champion was chosen on these rows, so its numbers here flatter it."
    return rows


def _search(tuned: Tuned) -> Facts:
    feasible = sum(trial.feasible for trial in tuned.trials)
    return Facts(
        {
            "Method": tuned.search,
            "Trials": f"{len(tuned.trials):,}",
            "Hold every guardrail": f"{feasible:,}",
            "On the front": f"{len(tuned.front):,}",
            "Hypervolume": number(tuned.hypervolume.value, digits=4),
            "Time": f"{number(tuned.seconds)} s",
            "Seed": str(tuned.seed),
            "Rows": f"{counted(tuned.log.rows, 'row')} of {tuned.log.on}",
            "Requests": f"{tuned.log.requests:,}",
            "Fingerprint of the rows": tuned.log.fingerprint[:_SHORT],
            "Bundle": tuned.bundle[:_SHORT],
        }
    )
