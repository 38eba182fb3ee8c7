"""The page of an audit in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from polyrank.audit.page import write_page
from tests.audit.audited import audited, renamed
from tests.pages.browser import chromium, opened
from tests.pages.sample import HOSTILE

SIZES: list[tuple[int, Literal["light", "dark"]]] = [(380, "dark"), (1400, "light")]


def test_it_is_drawn_whole_asks_for_nothing_and_fits_with_names_that_would_be_scripts(
    tmp_path: Path,
) -> None:
    plain = write_page(audited(), tmp_path / "plain")
    hostile = write_page(renamed(audited(), "like", HOSTILE), tmp_path / "hostile")
    with chromium() as browser:
        for path, (width, scheme) in zip((plain, hostile), SIZES, strict=True):
            with opened(browser, path, width=width, color_scheme=scheme) as found:
                figures = found.page.locator("figure.chart")
                drawn = found.page.locator("figure.chart:has(svg.marks)")
                assert figures.count() == drawn.count() > 10
                panels = found.page.locator(".panel")
                assert panels.count() == found.page.locator(".panel svg.marks").count()
                found.page.locator("#figure-gains summary").click()
                assert found.page.locator("#figure-gains .numbers tbody tr").count() == 9
                assert (found.said, found.asked) == ([], [])
                assert found.page.locator("img").count() == 0
                assert found.sideways() <= 0
                for other in (380, 1400):
                    found.page.set_viewport_size({"width": other, "height": 900})
                    found.page.wait_for_timeout(250)
                    assert found.sideways() <= 0
                assert (found.said, found.asked) == ([], [])
                cell = found.page.locator("#figure-transfer-pairs .mark-text text").first
                assert cell.text_content() not in ("", "–", None)
                if path == hostile:
                    assert HOSTILE in found.page.locator(".task").nth(1).inner_text()
