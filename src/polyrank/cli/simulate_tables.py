"""What an experiment found, on a screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyrank.cli.numbers import number
from polyrank.cli.tables import show_cells, show_title
from polyrank.errors import counted

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.evaluation.ab import Effect, Guardrail
    from polyrank.simulation.experiment import Findings, SimulationConfig

HEADINGS = {
    "clicks": "clicks",
    "quick_exits": "quick\nexits",
    "watch_s": "watch\ntime",
    "background": "back-\nground",
    "unsatisfied": "unsatis-\nfied",
    "purchases": "pur-\nchases",
    "reports": "reports",
    "satisfied": "satis-\nfied",
    "returns": "returns",
}
_SHARES = ("unsatisfied",)
_AS_THEY_ARE = ("watch_s", "returns")
_STYLES = {"holds": "green", "fails": "red", "not shown": "yellow"}


def show_findings(
    out: Console, found: Findings, config: SimulationConfig, users: Mapping[str, int]
) -> None:
    """Arms, their differences from the reference, the verdicts, and what came of the story."""
    days = counted(config.experiment.days, "day")
    show_title(out, f"What came of 100 requests, and on how many of {days} a user came back")
    rows = [[arm, *_values(values)] for arm, values in found.values.items()]
    show_cells(out, ["arm", *HEADINGS.values()], rows, num_left=1)
    background = config.experiment.returns.background_play_s
    quick = config.experiment.returns.quick_exit_s
    out.print(
        f"quick exits: left before {quick:g} s, background: played for {background:g} s or more, "
        "and neither satisfied; watch time: seconds a request; unsatisfied: its share in views "
        "that did not satisfy; returns: days, mean of all users that an arm was given",
        style="dim",
        markup=False,
    )
    _note(out, f"{_who(users, config)}, {days}, {config.rows:,} impressions to learn from")
    show_title(out, f"\nDifference from {found.reference}, in percent of it")
    rows = [[arm, *map(_difference, effects.values())] for arm, effects in found.effects.items()]
    show_cells(out, ["arm", *HEADINGS.values()], rows, num_left=1)
    _note(out, "± is half the width of the 95 % interval over users; -: cannot be told")
    _show_verdicts(out, found)
    _show_story(out, found)


def _show_verdicts(out: Console, found: Findings) -> None:
    show_title(out, f"\nVerdicts against {found.reference}")
    rows = []
    for arm, test in found.tests.items():
        guarded = {verdict.guardrail.metric: verdict.answer for verdict in test.guardrails}
        decided = "launch" if test.launch else "do not"
        rows.append([arm, test.primary.answer, *guarded.values(), decided])
    some = next(iter(found.tests.values()))
    names = [_bounded(verdict.guardrail) for verdict in some.guardrails]
    show_cells(out, ["arm", "returns", *names, ""], rows, num_left=6, num_lead=1)
    for arm, test in found.tests.items():
        if test.refused is not None:
            _note(out, f"{arm}: nothing is concluded: {test.refused}")


def _bounded(guardrail: Guardrail) -> str:
    """A guardrail as a heading."""
    name = HEADINGS[guardrail.metric].replace("-\n", "").replace("\n", " ")
    return f"{name}\n{'-' if guardrail.higher_is_better else '+'}{guardrail.margin:.0%} at most"


def _show_story(out: Console, found: Findings) -> None:
    if not found.story:
        return
    show_title(out, "\nThe story")
    for claim in found.story:
        out.print(f"{claim.answer:>9}", style=_STYLES[claim.answer], end="  ", markup=False)
        out.print(claim.text, markup=False, soft_wrap=True)
        out.print(" " * 11 + claim.told, style="dim", markup=False, soft_wrap=True)


def _values(values: Mapping[str, float]) -> list[str]:
    told = []
    for metric in HEADINGS:
        value = values[metric]
        if metric in _SHARES:
            told.append("-" if math.isnan(value) else f"{value:.1%}")
        elif metric in _AS_THEY_ARE:
            told.append(number(value, like=50.0 if metric == "watch_s" else 20.0))
        else:
            told.append("-" if math.isnan(value) else f"{100 * value:.1f}")
    return told


def _difference(effect: Effect) -> str:
    interval = effect.relative.fixed
    if interval.reason is not None:
        return "-"
    half = (interval.upper - interval.lower) / 2
    return f"{100 * effect.relative.value:+.1f}\n±{100 * half:.1f}"


def _who(users: Mapping[str, int], config: SimulationConfig) -> str:
    if config.experiment.design == "paired":
        return f"the same {config.feed.num_users:,} users in every arm"
    return f"{min(users.values()):,} to {max(users.values()):,} users an arm"


def _note(out: Console, text: str) -> None:
    out.print(text, style="dim", markup=False, soft_wrap=True)
