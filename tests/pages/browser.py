"""A real browser for tests of pages: headless Chromium, which may ask nobody for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

_CHROMIUM = shutil.which("chromium")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page that was opened, and what it did beside being drawn."""

    page: Page
    said: list[str] = field(default_factory=list)
    """Lines on its console, errors and refusals among them."""
    asked: list[str] = field(default_factory=list)
    """Addresses it asked for, its own aside."""

    def sideways(self) -> int:
        """Pixels that it is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, or a skipped test."""
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1400, **context: Any) -> Iterator[Opened]:
    """A page in a window of its own, drawn."""
    with browser.new_context(viewport={"width": width, "height": 900}, **context) as window:
        page = window.new_page()
        found = Opened(page)
        address = path.as_uri()

        def dismiss(dialog: Dialog) -> None:
            found.said.append(dialog.message)
            dialog.dismiss()

        def note(request: Request) -> None:
            if request.url != address:
                found.asked.append(request.url)

        page.on("console", lambda message: found.said.append(message.text))
        page.on("pageerror", lambda error: found.said.append(str(error)))
        page.on("dialog", dismiss)
        page.on("request", note)
        page.goto(address)
        page.wait_for_function("document.documentElement.dataset.ready === 'yes'")
        yield found
