"""A network as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from polyrank.cli.numbers import percent
from polyrank.cli.tables import show_title

if TYPE_CHECKING:
    from polyrank.explain import Explanation
    from polyrank.layers.parts import Part

MOST_VOCABULARIES = 4
"""Named below the table; the largest come first."""
INDENT = 2
"""Columns, of each level of parts."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def show_network(out: Console, network: Explanation, title: str) -> None:
    """Blocks with their parts below them, the total, and which vocabularies fill the table.

    Args:
        out: Where to.
        network: What to show.
        title: Of the table.
    """
    show_title(out, title)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("block", overflow="fold")
    table.add_column("shape", overflow="fold")
    for heading in ("parameters", "multiply-adds", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for block in network.blocks:
        table.add_row(*_cells(network, block, 0), style="bold")
        for depth, part in _below(block):
            table.add_row(*_cells(network, part, depth))
    total = network.total
    table.add_section()
    counts = (f"{total.parameters:,}", f"{total.multiply_adds:,}", "")
    table.add_row("total", f"{_size(4 * total.parameters)} in float32", *counts, style="bold")
    out.print(table)
    out.print(_vocabularies(network.vocabularies), style="dim", markup=False)
    out.print(
        "Multiply-adds are those of one row forward, every list at its longest.",
        style="dim",
    )


def _below(part: Part, depth: int = 1) -> Iterator[tuple[int, Part]]:
    """The parts of a part, each before its own, and how deep each is."""
    for inner in part.parts:
        yield depth, inner
        yield from _below(inner, depth + 1)


def _cells(network: Explanation, part: Part, depth: int) -> list[RenderableType]:
    share = percent(network.share(part)) if part.cost.multiply_adds else "-"
    counts = f"{part.cost.parameters:,}", f"{part.cost.multiply_adds:,}"
    name = Padding(Text(part.name), (0, 0, 0, INDENT * depth))
    return [name, *(Text(cell) for cell in (part.shape, *counts, share))]


def _vocabularies(rows: Mapping[str, int]) -> str:
    """The features that the rows of the table belong to."""
    total = sum(rows.values())
    if not total:
        return "No feature has rows in the table."
    named = list(rows.items())
    told = [
        f"{name} {count:,} ({percent(count / total)})" for name, count in named[:MOST_VOCABULARIES]
    ]
    others = named[MOST_VOCABULARIES:]
    if others:
        told.append(f"{len(others)} others {sum(count for _, count in others):,}")
    return f"Rows of the table: {', '.join(told)}."


def _size(size: float) -> str:
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:,.{min(unit, 1)}f} {_UNITS[unit]}"
