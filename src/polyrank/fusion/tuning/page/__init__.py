"""The page of a search for weights: what was found, what it costs, and how to apply it.

``write_page`` takes a ``Tuned`` and needs nothing else; the page lies beside ``tuning.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyrank import pages
from polyrank.fusion.tuning.page.compose import composed
from polyrank.fusion.tuning.result import Tuned

FILE = "tuning.html"
"""The name of the page in its folder."""


def write_page(
    tuned: Tuned,
    folder: Path,
    *,
    tasks: Sequence[str] | None = None,
    command: str | None = None,
    figures: bool = False,
) -> Path:
    """Writes the page of a search.

    Args:
        tuned: What it found.
        folder: Where ``tuning.html`` goes, and ``figures/NAME.png``.
        tasks: In the order of the schema, so that each has the colour it has on other pages; else
            in the order in which the search names them.
        command: What applies a trial, with ``{pick}`` for its number or name, for the reader to
            copy; else the page shows the value model alone.
        figures: Whether each figure is written as an image too.

    Returns:
        The page's path.

    Raises:
        ConfigError: The extra ``report`` is not installed.
        StorageError: A file cannot be written.
    """
    pages.require_report()
    path = folder / FILE
    images = folder / "figures" if figures else None
    pages.write_page(composed(tuned, tasks=tasks, command=command), path, figures=images)
    return path


__all__ = ["FILE", "write_page"]
