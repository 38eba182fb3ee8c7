"""Who helps whom: what was measured by training, what one run shows, how well they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyrank.audit.affinity import Affinity
from polyrank.audit.agreement import Agreement, agreement, directed
from polyrank.audit.gradients import Place
from polyrank.audit.page.found import Found
from polyrank.audit.page.matrices import heat_map
from polyrank.audit.page.words import metric, size, whole
from polyrank.audit.transfer import By, Transfer
from polyrank.errors import counted
from polyrank.pages import Block, Column, Figure, Prose, Table, number, percent
from polyrank.pages.blocks import Cell
from polyrank.pages.numbers import interval

_TOLD: Mapping[By, tuple[str, str]] = {
    "pairs": ("pairs", "both together less the one below alone"),
    "leave_one_out": ("leave-one-out", "all together less all but the one above"),
}


def transfer(found: Found) -> list[Block]:
    """All there is, or a sentence on why there is none."""
    kinds = list(dict.fromkeys(own.by for own in found.transfers if own.gains))
    measured: list[Block] = [_measured(found, by) for by in kinds]
    if not measured:
        measured = [Prose(_none(found))]
    seen: list[Block] = []
    for looked in found.looked[:1]:
        seen += _affinity(found, looked.evidence.affinity)
        if kinds:
            seen += _agreements(found, kinds[0])
    if not found.looked:
        seen.append(Prose("No affinity: no joint run was looked at while it trained."))
    return [*measured, *seen]


def _none(found: Found) -> str:
    if len(found.tasks) > 2 and found.tree["settings"]["transfer"] in ("none", "affinity"):
        asked = found.tree["settings"]["transfer"]
        return f"Transfer was not measured by training: the audit was asked for `{asked}`."
    return "Transfer was not measured: no seed has both of the runs that it takes."


def _measured(found: Found, by: By) -> Figure:
    name, told = _TOLD[by]
    own = [one for one in found.transfers if one.by == by and one.gains]
    rows = {task: _row(found, task) for task in found.tasks}
    margins = {rows[one.task]: one.margin for one in found.judged}
    metrics = {rows[one.task]: one.metric for one in found.comparisons}
    return heat_map(
        name=f"transfer-{name}",
        title=f"What a task gains by another beside it, by {name}",
        caption=f"Down: the task that is judged, in its own metric, above 0 where that is better; "
        f"across: the task beside it. Measured by training: {told}; means over seeds. Cells have "
        "colour where the gain is beyond the margin: the deeper, the more margins.",
        alt="Transfer: " + "; ".join(_heard(found, own)) + ".",
        down=list(rows.values()),
        across=found.tasks,
        cells={(rows[one.target], one.source): one.mean for one in own},
        shown=lambda row, value: size(value, metrics[row], signed=True),
        axes=("Beside it", "Judged"),
        neutral=lambda row: margins.get(row, 0.0),
        value="Gain",
    )


def _row(found: Found, task: str) -> str:
    return f"{task} ({metric(found.comparison(task).metric)})"


def _heard(found: Found, own: list[Transfer]) -> Iterator[str]:
    for one in own:
        gain = size(one.mean, found.comparison(one.target).metric, signed=True)
        yield f"{one.target} with {one.source} {gain}"


def _affinity(found: Found, affinity: Affinity) -> list[Block]:
    cells = {
        (other, giver): mean.value
        for giver, row in affinity.means.items()
        for other, mean in row.items()
    }
    if all(value is None for value in cells.values()):
        return [Prose(f"No affinity: {affinity.reason or 'no look was defined'}.")]
    return [
        heat_map(
            name="affinity",
            title="Who moves with whom in one run",
            caption=f"Look-ahead affinity: by what share the loss of the task down falls after a "
            f"step on the gradient of the task across alone, times 1,000; means over "
            f"{counted(affinity.looks, 'look')} at one joint run.",
            alt=f"Affinities between {', '.join(found.tasks)}.",
            down=found.tasks,
            across=found.tasks,
            cells=cells,
            shown=lambda _, value: number(1000 * value, digits=2, signed=True),
            axes=("Steps", "Its loss"),
            value="Affinity",
            own=False,
        )
    ]


def _agreements(found: Found, by: By) -> list[Block]:
    """How far what one run shows goes with what training measured."""
    measured = {
        (own.source, own.target): own.mean for own in found.transfers if own.by == by and own.gains
    }
    evidence = found.looked[0].evidence
    sources: dict[str, Affinity | Place] = {
        "Affinity": evidence.affinity,
        "Cosine at the fork": evidence.gradients.fork,
        "Cosine at the last shared layer": evidence.gradients.layer,
    }
    table: list[list[Cell]] = []
    notes: dict[str, None] = {}
    for name, source in sources.items():
        seen = directed(source)
        if seen:
            own = agreement(seen, measured)
            table.append([name, *_cells(own)])
            notes[own.note] = None
    if not table:
        return []
    caption = "How far what one run shows goes with what training measured, over ordered pairs."
    columns: list[str | Column] = [
        "Seen in one run",
        Column("Pairs", whole),
        "Rank correlation",
        "Same sign",
    ]
    return [Table(caption, columns, table), Prose(*notes)]


def _cells(own: Agreement) -> list[Cell]:
    rank = own.reason or _ranged(own.spearman, own.low, own.high)
    if own.p_value is not None:
        rank += f", p {number(own.p_value, digits=2)}"
    if own.same_sign is None or own.sign_low is None or own.sign_high is None:
        return [own.pairs, rank, "no pair has two signs"]
    share = interval(own.sign_low, own.sign_high, percent)
    return [own.pairs, rank, f"{percent(own.same_sign)} of {own.sign_pairs} ({share})"]


def _ranged(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    told = number(value, decimals=2, signed=True)
    if low is None or high is None:
        return told
    return f"{told} ({interval(low, high, lambda end: number(end, decimals=2, signed=True))})"
