"""The page of an audit: does sharing help or hurt each task, who does it, and why it may.

``write_page`` takes what ``audit.json`` holds and needs nothing else; the page lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyrank import pages
from polyrank.audit.page.compose import composed
from polyrank.audit.page.found import read

FILE = "audit.html"
"""The name of the page in its folder."""


def write_page(tree: Mapping[str, Any], folder: Path, *, figures: bool = False) -> Path:
    """Writes the page of an audit.

    Args:
        tree: What ``Report.to_json`` gives, or ``audit.json`` holds.
        folder: Where ``audit.html`` goes, and ``figures/NAME.png``.
        figures: Whether each figure is written as an image too.

    Returns:
        The page's path.

    Raises:
        ArtefactError: The JSON is of another version.
        ConfigError: The extra ``report`` is not installed.
        StorageError: A file cannot be written.
    """
    pages.require_report()
    path = folder / FILE
    images = folder / "figures" if figures else None
    pages.write_page(composed(read(tree)), path, figures=images)
    return path


__all__ = ["FILE", "write_page"]
