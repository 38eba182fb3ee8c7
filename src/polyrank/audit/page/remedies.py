"""What was tried against harm, what it gains and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyrank.audit.page.forest import remedies_figure
from polyrank.audit.page.found import Found
from polyrank.audit.page.words import listed, metric, sentence_of, size
from polyrank.audit.verdict import Warnings
from polyrank.pages import Block, Column, Prose, Table, code, number
from polyrank.pages.blocks import Cell
from polyrank.pages.numbers import UNKNOWN, interval

Tree = Mapping[str, Any]


def remedies(found: Found) -> list[Block]:
    """The ladder, or a sentence on why nothing was tried."""
    climb = found.climb
    if climb is None:
        return [Prose(f"No remedy was tried: {_untried(found)}.")]
    blocks: list[Block] = [Prose(*_told(climb))]
    if climb["tried"]:
        blocks += [_table(found, climb), _gains(found, climb)]
        blocks.append(remedies_figure(found))
    return blocks


def _untried(found: Found) -> str:
    if found.tree["settings"]["remedies"] == "never":
        return "the audit was asked for none"
    if isinstance(found.verdicts, Warnings):
        return "one seed gives no verdict"
    return "no task was found to be harmed"


def recommendation(found: Found) -> str | None:
    """The remedy that keeps its promise, in a sentence; None where there is none."""
    climb = found.climb
    if climb is None or climb["recommended"] is None:
        return None
    return sentence_of(climb["told"])


def _told(climb: Tree) -> Iterator[str]:
    yield sentence_of(climb["told"])
    if climb["file"] is not None:
        yield f"The recommended run stands ready to train in {code(climb['file'])}."
    for own in climb["tried"]:
        yield from (f"{own['name']}: {why}." for why in own["failures"])
    for own in climb["unfit"]:
        yield f"{own['name']} cannot apply: {own['reason']}."
    if climb["untried"]:
        yield f"Not tried, since a cheaper one was enough: {listed(climb['untried'])}."


def _table(found: Found, climb: Tree) -> Table:
    table: list[list[Cell]] = [
        [
            own["name"],
            own["told"],
            "yes" if own["removes"] else "no",
            _confirmed(own["confirmed"]),
            *_costs(own["cost"]),
        ]
        for own in climb["tried"]
    ]
    columns: list[str | Column] = [
        "Remedy",
        "What it does",
        "Removes the harm",
        "On fresh seeds",
        Column("Parameters", _times),
        Column("Multiply-adds", _times),
        Column("Scoring time", _times),
        Column("Training time", _times),
    ]
    marked = [
        place for place, own in enumerate(climb["tried"]) if own["name"] == climb["recommended"]
    ]
    return Table(
        "In the order of their cost; costs are times those of the joint run. A remedy removes the "
        "harm if no task is found to be harmed, and those that were have won back .8 of their loss "
        "where these runs cannot tell. Several are tried on "
        "the same seeds, so that the best of them looks better than it is: only fresh seeds tell.",
        columns,
        table,
        marked,
    )


def _confirmed(own: Tree | None) -> str:
    if own is None:
        return "not tried"
    return "keeps it" if own["keeps"] else "breaks it"


def _costs(cost: Tree | None) -> list[float | None]:
    names = ("parameters", "multiply_adds", "row_seconds", "run_seconds")
    return [None if cost is None else cost[name]["times"] for name in names]


def _times(value: float) -> str:
    return f"{number(value, decimals=2)} ×"


def _gains(found: Found, climb: Tree) -> Table:
    table: list[list[Cell]] = [
        [own["name"], found.colors.cell(one["task"]), _answer(one), *_gain(one)]
        for own in climb["tried"]
        for one in own["against_twins"]
    ]
    columns: list[str | Column] = [
        "Remedy",
        "Task",
        "Against the twin",
        "Judged by",
        Column("Gain", right=True),
        Column(f"{found.confidence} interval", right=True),
    ]
    bad = [place for place, row in enumerate(table) if row[2] in ("harmed", "may be harmed")]
    return Table("Each task under each remedy, against its twin.", columns, table, bad)


def _answer(own: Tree) -> str:
    if "answer" in own:
        return str(own["answer"])
    return "may be harmed" if own["warns"] else "no warning"


def _gain(own: Tree) -> list[str]:
    name = own["metric"]
    ends = UNKNOWN
    if own["low"] is not None and own["high"] is not None:
        ends = interval(own["low"], own["high"], lambda end: size(end, name, signed=True))
    return [metric(name), size(own["gain"]["value"], name, signed=True), ends]
