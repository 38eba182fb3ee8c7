"""Pages of results: one HTML file each, which asks nobody for anything.

>>> import tempfile
>>> from pathlib import Path
>>> from polyrank.pages import Column, Facts, Page, Prose, Section, Table, TaskColors, write_page
>>> from polyrank.pages import percent
>>> colors = TaskColors(["click", "like"])
>>> table = Table(
...     caption="Predicted and observed share of events, by task.",
...     columns=["Task", Column("Predicted", percent), Column("Observed", percent)],
...     rows=[[colors.cell("click"), 0.201, 0.2], [colors.cell("like"), 0.031, 0.03]],
... )
>>> page = Page(
...     title="How well is the ranker calibrated?",
...     verdict="Predictions of both tasks are within 4 % of what was observed.",
...     sections=[Section("Calibration", [Prose("Held-out rows of `log.parquet`."), table])],
... )
>>> with tempfile.TemporaryDirectory() as folder:
...     write_page(page, Path(folder) / "report.html")
...     "within 4 %" in (Path(folder) / "report.html").read_text()
True

Charts are Altair's, drawn from ``rows()`` and the columns that a ``Figure`` holds; the page draws
them without a server, shows their numbers as a table and saves them as CSV. ``require_report``
says at once, not after hours, that the libraries for it are missing.
"""

from polyrank.pages.blocks import (
    MAX_ROWS,
    Behaviour,
    Block,
    Code,
    Column,
    Facts,
    Figure,
    Page,
    Prose,
    Section,
    Table,
    code,
    in_columns,
)
from polyrank.pages.charts import rows
from polyrank.pages.extra import require_report
from polyrank.pages.numbers import interval, number, percent, short
from polyrank.pages.tasks import TaskColors, TaskName
from polyrank.pages.writing import write_page

__all__ = [
    "MAX_ROWS",
    "Behaviour",
    "Block",
    "Code",
    "Column",
    "Facts",
    "Figure",
    "Page",
    "Prose",
    "Section",
    "Table",
    "TaskColors",
    "TaskName",
    "code",
    "in_columns",
    "interval",
    "number",
    "percent",
    "require_report",
    "rows",
    "short",
    "write_page",
]
