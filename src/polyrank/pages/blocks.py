"""What a page is made of. Every string is text: it is escaped where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from polyrank.pages.numbers import number
from polyrank.pages.tasks import TaskName

MAX_ROWS = 4000
"""Rows that one figure may hold, so that a page stays under 2 MB and a browser quick."""

Value = str | float | bool | None


class Chart(Protocol):
    """One of Altair's: a single view or layers, not facets."""

    def to_dict(self) -> dict[str, Any]:
        """Its Vega-Lite specification."""


def in_columns(names: Sequence[str], table: Iterable[Sequence[Value]]) -> dict[str, list[Value]]:
    """Rows, at least one, as the data of a figure.

    >>> in_columns(("task", "auc"), [("click", 0.7), ("like", 0.8)])
    {'task': ['click', 'like'], 'auc': [0.7, 0.8]}
    """
    return dict(zip(names, map(list, zip(*table, strict=True)), strict=True))


def code(text: str) -> str:
    """A user's text for a sentence, to be set as code, backticks in it or not.

    >>> code("click"), code("a`b")
    ('`click`', '`` a`b ``')
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"


@dataclass(frozen=True)
class Prose:
    """Paragraphs; a word between backticks is set as code (``code`` does it for any text)."""

    block: ClassVar[str] = "prose"

    paragraphs: tuple[str, ...]

    def __init__(self, *paragraphs: str) -> None:
        object.__setattr__(self, "paragraphs", paragraphs)


@dataclass(frozen=True)
class Facts:
    """Names and their values; the few that matter most as large numbers.

    Args:
        facts: Value by name.
        large: Whether they are the numbers that the page is about.
        notes: A line below a value, by name.
    """

    block: ClassVar[str] = "facts"

    facts: Mapping[str, str]
    large: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Code:
    """Text to copy into a file or a terminal, with a button that does it."""

    block: ClassVar[str] = "code"

    text: str
    caption: str = ""


Cell = str | float | None | TaskName


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its heading.
        form: How its numbers are written; NaN and None are an en dash.
        right: Whether its strings stand to the right, as numbers do.
    """

    title: str
    form: Callable[[float], str] = number
    right: bool = False

    def show(self, cell: Cell) -> str:
        """The cell as text."""
        if isinstance(cell, TaskName):
            return cell.name
        if isinstance(cell, str):
            return cell
        return self.form(float("nan") if cell is None else cell)

    def is_right(self, cell: Cell) -> bool:
        """Whether the cell stands to the right."""
        return self.right or not isinstance(cell, str | TaskName)


@dataclass(frozen=True)
class Table:
    """A table; the first column names its rows.

    Args:
        caption: What it shows, as a sentence.
        columns: Their headings, or ``Column`` for a format of its own.
        rows: Cells, as many a row as there are columns.
        marked: Places of rows to be seen first.
    """

    block: ClassVar[str] = "table"

    caption: str
    columns: Sequence[str | Column]
    rows: Sequence[Sequence[Cell]]
    marked: Collection[int] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption

    @property
    def headings(self) -> list[Column]:
        """Its columns."""
        return [Column(one) if isinstance(one, str) else one for one in self.columns]


@dataclass(frozen=True)
class Behaviour:
    """A script of ours that makes a figure answer to the reader.

    Args:
        name: What the script registers: ``polyrank.behaviours[name] = (figure) => ...``.
        script: Its source, which stands once in a page; never made of a user's strings.
        data: What it reads beside the figure's own data, as JSON.
    """

    name: str
    script: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A chart or small multiples of it, with the numbers behind them.

    Args:
        name: Letters, digits and dashes; names its files and its place in the page.
        title: A few words.
        caption: What to see, as a sentence or two.
        alt: What a reader hears who sees no chart.
        data: Columns of equal length, by field name (a word without dots). NaN, infinite and None
            are missing: empty in the file, an en dash in the table.
        charts: Charts of ``rows()``, laid out beside each other where there is room.
        labels: Headings of columns in the file and the table, where not the field's name.
        height: Of each chart, in pixels.
        behaviour: What makes it interactive, if anything does.
    """

    block: ClassVar[str] = "figure"

    name: str
    title: str
    caption: str
    alt: str
    data: Mapping[str, Sequence[Value]]
    charts: Sequence[Chart]
    labels: Mapping[str, str] = field(default_factory=dict)
    height: int = 300
    behaviour: Behaviour | None = None

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.data.values()}
        assert len(lengths) == 1, f"figure {self.name}: columns of lengths {lengths}"
        assert max(lengths) <= MAX_ROWS, f"figure {self.name}: {max(lengths)} rows"
        assert all(field_name.isidentifier() for field_name in self.data), self.name
        assert self.name.replace("-", "").isalnum(), self.name
        assert self.name.isascii(), self.name


Block = Prose | Facts | Code | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        title: What it is about.
        verdict: What it found, in one sentence.
        sections: In the order of reading; their titles differ.
        kind: What sort of page it is, in a word or two, above the title.
        tone: Whether what it found is good, bad or neither; the verdict's mark shows it.
        note: A line at the foot: what made the page, and from what.
    """

    title: str
    verdict: str
    sections: Sequence[Section]
    kind: str = ""
    tone: Literal["good", "bad", "neutral"] = "neutral"
    note: str = ""

    def figures(self) -> list[Figure]:
        """Its figures, in order."""
        blocks = [block for section in self.sections for block in section.blocks]
        figures = [block for block in blocks if isinstance(block, Figure)]
        names = [figure.name for figure in figures]
        assert len(set(names)) == len(names), f"figures of one name: {names}"
        return figures
