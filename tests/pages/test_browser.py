"""Pages in a real browser."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from polyrank.pages import write_page
from tests.pages.browser import chromium, opened
from tests.pages.sample import HOSTILE, LOSSES, STEPS, page

Scheme = Literal["dark", "light"]
GROUND = "getComputedStyle(document.documentElement).backgroundColor"
WHITE = "rgb(255, 255, 255)"
FOCUSED = """(() => {
  const found = document.activeElement;
  return [getComputedStyle(found).outlineStyle, found.className || found.tagName];
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "plain.html"
    write_page(page(), path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1400, "light")])
def test_a_page_is_drawn_asks_for_nothing_and_fits_the_window(
    browser: Browser, plain: Path, width: int, scheme: Scheme
) -> None:
    looks: dict[Scheme, tuple[str, str]] = {
        "light": (WHITE, "rgb(10, 139, 230)"),
        "dark": ("rgb(21, 24, 28)", "rgb(98, 126, 227)"),
    }
    with opened(browser, plain, width=width, color_scheme=scheme) as found:
        assert (found.said, found.asked) == ([], [])
        assert found.page.locator("figure.chart svg.marks path").count() > 5
        assert found.page.locator("#figure-loss .role-legend").count() == 1
        assert found.sideways() <= 0
        line = "getComputedStyle(document.querySelector('.mark-line path')).stroke"
        assert (found.page.evaluate(GROUND), found.page.evaluate(line)) == looks.pop(scheme)
        ((other, look),) = looks.items()
        found.page.emulate_media(color_scheme=other)
        assert (found.page.evaluate(GROUND), found.page.evaluate(line)) == look
    assert plain.stat().st_size < 2_000_000


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    write_page(page(HOSTILE), path)
    with opened(browser, path, width=380) as found:
        found.page.locator("summary").first.click()
        found.page.locator("#figure-loss .mark-symbol path").first.hover()
        found.page.wait_for_timeout(50)
        assert (found.said, found.asked) == ([], [])
        assert HOSTILE in found.page.locator(".tip").inner_text()
        assert HOSTILE in found.page.locator("#figure-loss .numbers table").inner_text()
        assert HOSTILE in found.page.locator("h1").inner_text()
        assert found.page.locator("img").count() == 0
        assert found.sideways() <= 0


def test_the_numbers_of_a_figure_can_be_read_and_saved(browser: Browser, plain: Path) -> None:
    with opened(browser, plain, accept_downloads=True) as found:
        figure = found.page.locator("#figure-loss")
        figure.locator("summary").click()
        figure.locator("tbody tr").first.wait_for()  # the browser tells the page a little later
        cells = figure.locator("tbody tr").all_inner_texts()
        assert [row.split("\t") for row in cells] == [
            ["1", "0.69315", "click"],
            ["2", "0.3", "like"],
            ["3", "–", "=1+1"],
        ]
        with found.page.expect_download() as waiting:
            figure.locator("button.download").click()
        assert waiting.value.suggested_filename == "loss.csv"
        with Path(waiting.value.path()).open(newline="") as file:
            head, *lines = csv.reader(file)
        assert (found.said, found.asked) == ([], [])
    assert head == ["Step", "Loss of click", "task"]
    assert [int(step) for step, _, _ in lines] == STEPS
    assert [float(loss) for _, loss, _ in lines[:2]] == LOSSES[:2]
    assert lines[2] == ["3", "", "'=1+1"]  # a spreadsheet would compute it


def test_every_control_is_reached_by_keyboard_and_code_is_copied(
    browser: Browser, plain: Path
) -> None:
    with opened(browser, plain, permissions=["clipboard-read", "clipboard-write"]) as found:
        press = found.page.keyboard.press
        press("Tab")
        assert found.page.evaluate(FOCUSED) == ["solid", "skip"]
        press("Enter")
        assert found.page.evaluate("document.activeElement.id") == "main"
        for control in ("scroll", "PRE", "copy", *["SUMMARY", "download"] * 2):
            press("Tab")
            assert found.page.evaluate(FOCUSED) == ["solid", control]
        found.page.locator("button.copy").focus()
        press("Enter")
        found.page.wait_for_function("document.querySelector('.copy').textContent === 'Copied'")
        assert found.page.evaluate("navigator.clipboard.readText()") == "click"


def test_small_multiples_share_a_legend_and_dark_pages_print_light(
    browser: Browser, plain: Path
) -> None:
    with opened(browser, plain, color_scheme="dark") as found:
        assert found.page.locator("#figure-two .legend li").all_inner_texts() == ["click", "like"]
        assert found.page.locator("#figure-two .role-legend").count() == 0
        found.page.emulate_media(media="print")
        assert found.page.evaluate(GROUND) == WHITE
        assert not found.page.locator("button").first.is_visible()
