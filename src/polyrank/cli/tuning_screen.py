"""A search for weights, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polyrank.cli.numbers import number, signed
from polyrank.cli.tables import show_cells, show_title
from polyrank.errors import counted

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.fusion.tuning import Point, Task, Tuned
    from polyrank.fusion.tuning.result import Gains, Later

NEARBY = (0.5, 2.0)
"""Times a weight: what its sensitivity is told at."""
END = 0.02
"""Of the range on its log scale: so near to its end a weight may want to go farther."""


def show_asked(out: Console, task: Task) -> None:
    """What is about to be searched, before it takes time."""
    settings, log = task.settings, task.log
    search = settings.search
    show_title(out, f"searching weights of the {task.model.kind} by {search.kind}")
    requests = f" in {counted(log.num_requests, 'request')}" if log.num_requests else ""
    _note(out, f"on {log.on}{requests}; {search.trials:,} trials, seed {settings.seed}")
    for goal in (each.goal(log.schema) for each in settings.objectives or ()):
        _note(out, f"{'raise' if goal.higher_is_better else 'lower'} {goal.name}")
    for hold in settings.guardrails or ():
        _note(out, f"hold  {hold.name}")
    if not settings.guardrails:
        _note(out, "hold  nothing: no guardrail is set")


def show_tuned(out: Console, tuned: Tuned) -> None:
    """Rankings by goal, guardrails, weights, sensitivity, and how it went later."""
    _show_rankings(out, tuned)
    if tuned.guardrails:
        _show_guardrails(out, tuned)
    _show_weights(out, tuned)
    _show_sensitivity(out, tuned)
    if tuned.later is not None:
        _show_later(out, tuned, tuned.later)
    _note(out, "a replay of the log: labels as they were under the order that was shown, no")
    _note(out, "estimate of what another order would have earned")


def _points(tuned: Tuned) -> dict[str, Point]:
    named = {
        "today": tuned.today,
        "start": tuned.start,
        "knee": tuned.knee if tuned.knee != tuned.champion else None,
        "champion": tuned.champion,
        "nearest": tuned.nearest,
    }
    return {name: point for name, point in named.items() if point is not None}


def _show_rankings(out: Console, tuned: Tuned) -> None:
    points = _points(tuned)
    feasible = sum(trial.feasible for trial in tuned.trials)
    show_title(out, f"\n{counted(len(tuned.trials), 'ranking')} tried in {_seconds(tuned)}")
    gains = _intervals(tuned.gains)
    cells = []
    for place, goal in enumerate(tuned.objectives):
        values = [number(point.objectives[place]) for point in points.values()]
        name = goal.name if goal.higher_is_better else f"{goal.name} (lower is better)"
        cells.append([name, *values, *gains.get(goal.name, ["", ""])])
    headings = ("objective", *points, *(("gain", "95% interval") if gains else ("", "")))
    show_cells(out, headings, cells, num_left=1)
    if tuned.gains is not None:
        drawn = f"{tuned.gains.resamples} paired draws of {tuned.gains.drawn}s"
        _note(out, f"gain: champion minus today, {drawn}; chosen here, it flatters")
    held = f"{feasible:,} hold every guardrail, " if tuned.guardrails else ""
    volume = tuned.hypervolume
    more = f", {volume.value / volume.today:.4g} times today's" if volume.today > 0 else ""
    _note(out, f"{held}{len(tuned.front):,} are on the front; hypervolume {volume.value:.4g}{more}")
    if tuned.champion is not None:
        _note(out, f"champion: trial {tuned.champion.trial}, {tuned.champion.told}")


def _show_guardrails(out: Console, tuned: Tuned) -> None:
    points = _points(tuned)
    cells = []
    for place, rail in enumerate(tuned.guardrails):
        slacks = [_slack(point.slacks[place]) for point in points.values()]
        cells.append([rail.name, number(rail.limit), *slacks])
    show_title(out, "\nroom to each guardrail (below 0: missed)")
    show_cells(out, ("guardrail", "limit", *points), cells, num_left=1)


def _show_weights(out: Console, tuned: Tuned) -> None:
    points = {name: each for name, each in _points(tuned).items() if each.weights is not None}
    show_title(out, "\nweights")
    cells = [
        [
            name,
            *(f"{point.weights[place]:.5g}" for point in points.values() if point.weights),
            f"{tuned.lower[place]:.4g} to {tuned.upper[place]:.4g}",
        ]
        for place, name in enumerate(tuned.weights)
    ]
    show_cells(out, ("weight", *points, "searched"), cells, num_left=1)
    if tuned.today.weights is None:
        _note(out, "today's ranking is not of this model and has no such weights")
    at_end = list(_at_end(tuned))
    if at_end:
        _note(out, f"at the end of its range: {', '.join(at_end)}; a wider one may hold more")


def _at_end(tuned: Tuned) -> Iterator[str]:
    """Weights of the champion that may want to go farther."""
    import math

    if tuned.champion is None or tuned.champion.weights is None:
        return
    ends = zip(tuned.weights, tuned.champion.weights, tuned.lower, tuned.upper, strict=True)
    for name, weight, lower, upper in ends:
        place = math.log(weight / lower) / math.log(upper / lower)
        if not END < place < 1 - END:
            yield name


def _show_sensitivity(out: Console, tuned: Tuned) -> None:
    at = tuned.champion or tuned.start
    whose = "champion" if tuned.champion else "start"
    show_title(out, f"\nwhat changes when one weight of the {whose} is multiplied")
    cells = []
    for each in tuned.sensitivity:
        for factor in NEARBY:
            place = each.factors.index(factor)
            pairs = zip(each.objectives[place], at.objectives, strict=True)
            changes = [signed(value - now) for value, now in pairs]
            missed = sum(slack < 0 for slack in each.slacks[place])
            told = f"{missed} missed" if missed else "held"
            cells.append([each.weight, f"{factor:g}", *changes, told])
    names = [goal.name for goal in tuned.objectives]
    show_cells(out, ("weight", "times", *names, "guardrails"), cells, num_left=1)


def _show_later(out: Console, tuned: Tuned, later: Later) -> None:
    named = {"today": later.today, "knee": later.knee, "champion": later.champion}
    if tuned.knee == tuned.champion:
        del named["knee"]
    points = {name: point for name, point in named.items() if point is not None}
    show_title(out, f"\nthe same rankings on {later.on}, where nothing was chosen")
    gains = _intervals(later.gains)
    cells = [
        [
            goal.name,
            *(number(point.objectives[place]) for point in points.values()),
            *gains.get(goal.name, ["", ""]),
        ]
        for place, goal in enumerate(tuned.objectives)
    ]
    show_cells(out, ("objective", *points, "gain", "95% interval"), cells, num_left=1)
    if later.champion is None:
        return
    verdicts = zip(tuned.guardrails, later.limits, later.champion.slacks, strict=True)
    rows = [
        [rail.name, number(limit), _slack(slack), "held" if slack >= 0 else "MISSED"]
        for rail, limit, slack in verdicts
    ]
    if rows:
        show_cells(out, ("guardrail", "limit there", "room", "champion"), rows, num_left=1)


def _intervals(gains: Gains | None) -> dict[str, list[str]]:
    """By goal, its difference and interval."""
    if gains is None:
        return {}
    found = {}
    for row in gains.rows:
        known = row.lower is not None and row.upper is not None
        interval = f"{signed(row.lower or 0.0)} to {signed(row.upper or 0.0)}" if known else "-"
        found[row.goal] = [signed(row.difference), interval]
    return found


def _note(out: Console, text: str) -> None:
    out.print(text, style="dim", markup=False, soft_wrap=True)


def _slack(slack: float) -> str:
    return signed(slack)


def _seconds(tuned: Tuned) -> str:
    speed = f", {len(tuned.trials) / tuned.seconds:,.0f} a second" if tuned.seconds > 0.05 else ""
    return f"{tuned.seconds:.1f} s{speed}"
