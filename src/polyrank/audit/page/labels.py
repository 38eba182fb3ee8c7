"""How many labels there are, and what they have to do with one another."""

from __future__ import annotations

from polyrank.audit.labels import LabelEvidence
from polyrank.audit.page.lines import pair_names
from polyrank.audit.page.matrices import heat_map
from polyrank.audit.page.words import whole
from polyrank.pages import Block, Column, Prose, Table, TaskColors, number, percent
from polyrank.pages.blocks import Cell

PARTS = ("train", "validation", "test")


def labels(found: LabelEvidence, colors: TaskColors) -> list[Block]:
    """Counts, then correlations."""
    return [_counts(found, colors), *_correlations(found, colors)]


def _counts(found: LabelEvidence, colors: TaskColors) -> Table:
    table: list[list[Cell]] = [
        [colors.cell(task), part, own.rows, own.share, own.positives, own.mean]
        for task in colors.tasks
        for part in PARTS
        if (own := found.counts.get(part, {}).get(task)) is not None
    ]
    columns: list[str | Column] = [
        "Task",
        "Part",
        Column("Rows with the label", whole),
        Column("Of all rows", percent),
        Column("Positives", whole),
        Column("Mean label"),
    ]
    return Table("A task with few labels, or few positives, has the most to win.", columns, table)


def _correlations(found: LabelEvidence, colors: TaskColors) -> list[Block]:
    known = pair_names(colors.tasks)
    cells: dict[tuple[str, str], float | None] = {}
    why = []
    for name, (one, other) in known.items():
        own = found.pairs.get(name)
        if own is not None:
            cells[one, other] = cells[other, one] = own.pearson
            if own.reason is not None:
                why.append(f"{one} and {other}: {own.reason}.")
    if all(value is None for value in cells.values()):
        return [Prose("No two tasks' labels can be correlated.", *why)]
    return [
        heat_map(
            name="labels",
            title="Correlation of labels",
            caption=f"Pearson's, on the rows of the {found.part} part that have both labels; "
            "between two binary tasks that is phi.",
            alt=f"Correlations between the labels of {', '.join(colors.tasks)}.",
            down=colors.tasks,
            across=colors.tasks,
            cells=cells,
            shown=lambda _, value: number(value, decimals=2, signed=True),
            axes=("Task", "Other task"),
            value="Correlation",
            largest=1.0,
        ),
        *([Prose(*why)] if why else []),
    ]
