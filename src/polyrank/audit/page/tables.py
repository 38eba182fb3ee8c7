"""Tables of an audit: verdicts, slices and runs."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from polyrank.audit.compared import CHANCE
from polyrank.audit.page.found import Found, Tree
from polyrank.audit.page.words import bounds, listed, metric, size, whole
from polyrank.audit.verdict import Verdict, Warned
from polyrank.pages import Column, Prose, Table, code, percent
from polyrank.pages.blocks import Cell

_WORDS = {True: "may be harmed", False: "no warning"}


def answer(own: Verdict | Warned) -> str:
    """In a word or two."""
    return own.answer if isinstance(own, Verdict) else _WORDS[own.warns]


def is_bad(own: Verdict | Warned) -> bool:
    """Whether it is to be seen first."""
    return own.answer == "harmed" if isinstance(own, Verdict) else own.warns


def verdict_table(found: Found) -> Table:
    """A row a task: what sharing does to it."""
    table: list[list[Cell]] = [
        [
            found.colors.cell(own.task),
            answer(own),
            size(own.gain.value, own.metric, signed=True),
            bounds(own),
            own.relative.value,
            size(own.margin, own.metric),
            metric(own.metric),
        ]
        for own in found.judged
    ]
    columns: list[str | Column] = [
        "Task",
        "Sharing",
        Column("Gain", right=True),
        Column(f"{found.confidence} interval", right=True),
        Column("Relative", _share),
        Column("Margin", right=True),
        "Judged by",
    ]
    marked = [place for place, own in enumerate(found.judged) if is_bad(own)]
    return Table(
        f"On the {found.part} part, means over seeds. Gain: joint run less twin, above 0 where "
        "sharing helps, whichever way the metric goes. Relative: as a share of the twin's lead "
        "over chance (.5 of AUC, else 0). Margin: the difference that matters.",
        columns,
        table,
        marked,
    )


def levels_table(found: Found) -> Table:
    """A row a task: what was compared, and what is worth beating."""
    small = any(role.startswith("small_twin ") for role in found.roles())
    beside = list(found.tree.get("baselines", {}))
    table = [list(_levels(found, own, beside, small=small)) for own in found.judged]
    columns: list[str | Column] = [
        "Task",
        "Metric",
        *(Column(name, right=True) for name in ("Joint", "Twin")),
        *([Column("Smaller twin", right=True)] if small else []),
        *(Column(name.capitalize(), right=True) for name in beside),
        Column("Checkpoint", right=True),
    ]
    return Table(
        "What was compared, and what stands beside it. Checkpoint: what the joint run lost on "
        "validation by keeping one step for all tasks.",
        columns,
        table,
    )


def _share(value: float) -> str:
    return percent(value, decimals=2, signed=True)


def _levels(
    found: Found, own: Verdict | Warned, beside: list[str], *, small: bool
) -> Iterator[Cell]:
    name = own.metric
    yield found.colors.cell(own.task)
    yield metric(name)
    yield size(own.joint, name)
    yield size(own.twin, name)
    if small:
        yield size(found.mean(f"small_twin {own.task}", own.task), name)
    for baseline in beside:
        metrics = found.tree["baselines"][baseline]["metrics"]
        yield size(metrics.get(f"{own.task}.{name}"), name)
    lost = found.comparison(own.task).checkpoint.values()
    yield size(fmean(lost) if lost else None, name)


def reasons(found: Found) -> list[Prose]:
    """Why tasks are undecided, and what else is undefined."""
    why: dict[str, list[str]] = {}
    for own in found.judged:
        if isinstance(own, Verdict) and own.reason is not None:
            why.setdefault(f"undecided, since {own.reason}", []).append(code(own.task))
        elif own.gain.reason is not None:
            why.setdefault(own.gain.reason, []).append(code(own.task))
    told = [f"{listed(names)}: {reason}." for reason, names in why.items()]
    for own in found.judged:
        if own.relative.value is None and own.relative.reason and own.metric in CHANCE:
            told.append(f"{code(own.task)} has no relative gain: {own.relative.reason}.")
    return [Prose(*told)] if told else []


def slices_table(found: Found) -> Table | None:
    """Slices on which something is harmed or helped."""
    seen = [
        own
        for own in found.sliced
        if is_bad(own) or (isinstance(own, Verdict) and own.answer == "helped")
    ]
    if not seen:
        return None
    table: list[list[Cell]] = [
        [
            found.colors.cell(own.task),
            own.slice or "",
            answer(own),
            size(own.gain.value, own.metric, signed=True),
            bounds(own),
            metric(own.metric),
            own.rows,
        ]
        for own in seen
    ]
    columns: list[str | Column] = [
        "Task",
        "Slice",
        "Sharing",
        Column("Gain", right=True),
        Column(f"{found.confidence} interval", right=True),
        "Judged by",
        Column("Rows"),
    ]
    marked = [place for place, own in enumerate(seen) if is_bad(own)]
    corrected = (
        "Verdicts are corrected over all tasks and slices, intervals are not."
        if any(isinstance(own, Verdict) for own in seen)
        else "Warnings of one seed, not corrected for how many slices there are."
    )
    return Table(f"Slices on which sharing does something. {corrected}", columns, table, marked)


def _seconds(runs: list[Tree]) -> float | None:
    times = [run["timing"]["train_seconds"] for run in runs if run["timing"]]
    return fmean(times) if times else None


def runs_table(found: Found) -> Table:
    """What was trained."""
    table: list[list[Cell]] = []
    for role in found.roles():
        every = [one for one in found.tree["results"] if one["role"] == role]
        done = found.runs(role)
        failed = len(every) - len(done)
        steps = fmean(one["best_step"] for one in done) if done else None
        size_ = fmean(one["parameters"] for one in done) or None if done else None
        table.append([role.replace("_", " "), len(done), failed, size_, steps, _seconds(done)])
    columns: list[str | Column] = [
        "Run",
        Column("Done", whole),
        Column("Failed", whole),
        Column("Parameters", whole),
        Column("Best step, mean", whole),
        Column("Training, s"),
    ]
    return Table("What was trained, each of these once a seed.", columns, table)
