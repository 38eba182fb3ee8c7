"""The console in a real browser, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from polyrank.bundle import save_bundle
from polyrank.model import RankingModel
from tests import feeds
from tests.pages.browser import chromium
from tests.serving.server import TOKEN, Server, running

HOSTILE = "<img src=x onerror=alert(1)>"
REGION = ".scroll[aria-label='ranked candidates']"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("console")
    bundle = feeds.bundle()
    other = RankingModel(bundle.schema, bundle.encoders.layout, feeds.MODEL, seed=2).eval()
    save_bundle(bundle, folder / "feed" / "1")
    save_bundle(type(bundle)(**{**vars(bundle), "model": other}), folder / "feed" / "2")
    with running({"feed": folder / "feed"}) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def shown(
    browser: Browser, server: Server, width: int = 1400, **window: Any
) -> Iterator[tuple[Page, list[str]]]:
    """The console with the example ranked, and what it said or asked of others meanwhile."""
    with browser.new_context(viewport={"width": width, "height": 900}, **window) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda line: said.append(line.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(server.url) else said.append(asked.url),
        )
        page.goto(f"{server.url}/console")
        page.wait_for_selector(f"{REGION} tbody tr:nth-child(20)")
        yield page, said


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Waits; the page's policy lets no text be evaluated in it, so it is asked from outside."""
    for _ in range(400):
        if holds():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it never came to hold")


def ranked(page: Page, place: int = 0) -> list[str]:
    """The candidates of a table, in its order."""
    region = page.locator(REGION).nth(place)
    return [text.strip() for text in region.locator("td:nth-child(3)").all_inner_texts()]


def test_weights_move_candidates_by_keyboard_alone(browser: Browser, server: Server) -> None:
    with shown(browser, server) as (page, said):
        before = ranked(page)
        page.locator("#sliders input[type=range]").first.focus()
        for _ in range(100):
            page.keyboard.press("ArrowLeft")
        until(page, lambda: ranked(page) != before)
        assert sorted(ranked(page)) == sorted(before)
        assert page.locator("td.up").count() == 0 or page.locator("td.down").count() > 0
        page.keyboard.press("Home")
        page.get_by_role("button", name="As in force").click()
        until(page, lambda: ranked(page) == before)
        assert said == []


@pytest.mark.parametrize("width", [380, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window_and_asks_nobody_else(
    browser: Browser, server: Server, width: int, scheme: str
) -> None:
    with shown(browser, server, width, color_scheme=scheme) as (page, said):
        page.wait_for_selector("#routes tbody tr")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert said == []


def test_two_versions_stand_side_by_side(browser: Browser, server: Server) -> None:
    with shown(browser, server) as (page, said):
        page.select_option("#version", "1")
        page.select_option("#other", "2")
        expect(page.locator(REGION)).to_have_count(2)
        assert sorted(ranked(page)) == sorted(ranked(page, 1))
        assert ranked(page) != ranked(page, 1)
        captions = page.locator("#tables caption").all_inner_texts()
        assert [text.split(",")[0] for text in captions] == ["version 1", "version 2"]
        assert said == []


def test_a_profile_is_saved_with_the_token_only(browser: Browser, server: Server) -> None:
    with shown(browser, server) as (page, said):
        first = page.locator("#sliders input[type=number]").first
        first.fill("0.125")
        page.fill("#save-as", "shop")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#saved")).to_contain_text("token")
        page.fill("#token", TOKEN)
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#saved")).to_contain_text("version 1")
        assert page.input_value("#profile") == "shop"
        told = server.ask("GET", "/v1/models")["feed"]["versions"]["2"]["profiles"]["shop"]
        assert 0.125 in [term["weight"] for term in told["value_model"]["terms"].values()]
        assert all("401" in line for line in said)


def test_recorded_requests_can_be_picked(browser: Browser, server: Server) -> None:
    body = {"candidates": [{"id": place, "features": {}} for place in range(7)]}
    server.rank(body)
    with shown(browser, server) as (page, _):
        page.fill("#token", TOKEN)
        page.locator("#token").blur()
        option = page.locator("#recorded option", has_text="7 candidates").first
        option.wait_for(state="attached")
        over = "document.getElementById('ask').getBoundingClientRect().right"
        over = f"document.getElementById('recorded').getBoundingClientRect().right - {over}"
        assert page.evaluate(over) <= 0, "the longest one does not leave its panel"
        page.select_option("#recorded", option.get_attribute("value"))
        expect(page.locator(f"{REGION} tbody tr")).to_have_count(7)


def test_a_server_without_a_token_says_that_nothing_can_be_changed(
    browser: Browser, tmp_path: Path
) -> None:
    save_bundle(feeds.bundle(), tmp_path / "feed")
    with (
        running({"feed": tmp_path / "feed"}, token=None) as bare,
        shown(browser, bare) as (page, _),
    ):
        page.fill("#token", TOKEN)
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#saved")).to_contain_text("started without a token")


def test_ids_that_a_double_cannot_hold_stay_themselves(browser: Browser, server: Server) -> None:
    long = [2**62 + 1, 2**62 + 3]
    body = {
        "user": {"features": {"user_history": long}},
        "candidates": [
            {"id": number, "features": {"hour": place}} for place, number in enumerate(long)
        ],
    }
    with shown(browser, server) as (page, said):
        sent: list[str] = []
        page.on("request", lambda asked: sent.append(asked.post_data or ""))
        page.fill("#body", json.dumps(body))
        page.get_by_role("button", name="Rank", exact=True).click()
        until(page, lambda: len(ranked(page)) == 2)
        assert sorted(ranked(page)) == [str(number) for number in long]
        asked = next(json.loads(each) for each in reversed(sent) if "candidates" in each)
        assert {name: asked[name] for name in body} == body
        assert said == []


def test_what_was_said_stays_text(browser: Browser, server: Server) -> None:
    body = {
        "context": {HOSTILE: 1},
        "candidates": [{"id": place, "features": {"item_category": HOSTILE}} for place in (1, 2)],
    }
    with shown(browser, server) as (page, said):
        page.fill("#body", json.dumps(body))
        page.get_by_role("button", name="Rank", exact=True).click()
        expect(page.locator("#told")).to_contain_text("onerror")
        page.fill("#body", json.dumps({**body, HOSTILE: 1}))
        page.get_by_role("button", name="Rank", exact=True).click()
        expect(page.locator("#error")).to_contain_text("onerror")
        assert page.locator("img").count() == 0
        assert all("400" in line for line in said)
