"""Writing a page, and its figures as images: each file whole or not at all."""

from __future__ import annotations

from pathlib import Path

from polyrank.pages.blocks import Page
from polyrank.pages.charts import png
from polyrank.pages.extra import require_report
from polyrank.pages.render import render
from polyrank.storage.disk import REAL_DISK, Disk
from polyrank.storage.failures import storage_errors
from polyrank.storage.publish import make_directories
from polyrank.storage.targets import FileKind, check_file
from polyrank.storage.temporary import hidden_sibling


def write_page(page: Page, path: Path, *, figures: Path | None = None) -> None:
    """Writes a page, and replaces another one there.

    Args:
        page: What to write.
        path: The HTML file; folders above it are made.
        figures: A folder for each figure as ``NAME.png``, if wanted.

    Raises:
        ConfigError: The extra ``report`` is not installed, or what lies there is no page.
        StorageError: A file cannot be written.
    """
    if page.figures():
        require_report()
    _write(path, render(page).encode(), "HTML")
    for figure in page.figures() if figures else []:
        assert figures is not None
        _write(figures / f"{figure.name}.png", png(figure), "PNG")


def _write(path: Path, content: bytes, kind: FileKind, disk: Disk = REAL_DISK) -> None:
    path = path.absolute()
    check_file(path, kind=kind, replace=True)
    with storage_errors("write the page", path.name):
        make_directories(path.parent, disk)
        temporary = hidden_sibling(path, "tmp")
        try:
            disk.write(temporary, content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        disk.sync(path.parent)
