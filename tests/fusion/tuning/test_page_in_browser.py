"""The page of a search in a real browser."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator
from ruamel.yaml import YAML

from polyrank.fusion.tuning import Tuned
from polyrank.fusion.tuning.page import write_page
from tests.fusion.tuning.searched import NAMES, searched
from tests.pages.browser import Opened, chromium, opened
from tests.pages.sample import HOSTILE

ANSWER = "#figure-front .answer"
COMMAND = "polyrank fuse here --pick {pick}"
HOSTILE_NAMES = ("<script>alert(1)<script>", "<!--", "'\"`&lt;", "{{7*7}}")


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return searched()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def written(tuned: Tuned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tuned, tmp_path_factory.mktemp("tuned"), tasks=NAMES, command=COMMAND)


def model_shown(found: Opened) -> dict[str, float]:
    """The weights of the model that the page shows."""
    text = found.page.locator(f"{ANSWER} figure.code code").last.inner_text()
    terms = YAML(typ="safe", pure=True).load(text)["terms"]
    return {name: term["weight"] for name, term in terms.items()}


def weights_of(tuned: Tuned, number: int) -> dict[str, float]:
    return dict(zip(tuned.weights, tuned.trials[number].weights, strict=True))


def select(found: Opened, label: str) -> Locator:
    return found.page.locator(".controls select").nth(["Across", "Up", "Point"].index(label))


def test_the_page_asks_for_nothing_and_fits_every_window(browser: Browser, written: Path) -> None:
    with opened(browser, written, width=380, color_scheme="dark") as found:
        assert found.sideways() <= 0
        found.page.set_viewport_size({"width": 1400, "height": 900})
        found.page.wait_for_function(
            "document.querySelector('#figure-front svg').clientWidth > 900"
        )
        assert found.sideways() <= 0
        found.page.set_viewport_size({"width": 380, "height": 900})
        found.page.wait_for_function(
            "document.querySelector('#figure-front svg').clientWidth < 380"
        )
        assert found.sideways() <= 0
        assert (found.said, found.asked) == ([], [])
    assert written.stat().st_size < 2_000_000


def test_points_are_reached_by_keyboard_and_show_their_weights(
    browser: Browser, written: Path, tuned: Tuned
) -> None:
    assert tuned.champion is not None
    assert tuned.champion.trial is not None
    with opened(browser, written) as found:
        page = found.page
        assert model_shown(found) == weights_of(tuned, tuned.champion.trial)
        assert f"{COMMAND.replace('{pick}', 'champion')}" in page.locator(ANSWER).inner_text()
        page.get_by_label("Zoom out to all trials").focus()
        page.keyboard.press("Tab")
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused) == f"champion, trial {tuned.champion.trial}"
        page.keyboard.press("ArrowLeft")
        label = str(page.evaluate(focused))
        number = int(label.removeprefix("knee, ").removeprefix("trial "))
        assert number != tuned.champion.trial
        assert model_shown(found) == weights_of(tuned, number)
        assert page.locator(f"{ANSWER} h4").inner_text().lower() == label
        assert page.locator("#status").inner_text() == label
        assert page.locator(".panel [tabindex='0'][aria-pressed='true']").count() == 1
        assert (found.said, found.asked) == ([], [])


# A trial that misses a guardrail, and that no other covers.
MISSING = """() => {
  const all = [...document.querySelectorAll("#figure-front .mark-symbol path")];
  all[0].scrollIntoView({ block: "center" });
  const wanted = all.find((one) => {
    const box = one.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return top === one && one.__data__.datum.role === "misses a guardrail";
  });
  wanted.id = "wanted";
  return wanted.__data__.datum.trial;
}"""


def test_axes_and_points_are_chosen(browser: Browser, written: Path, tuned: Tuned) -> None:
    with opened(browser, written) as found:
        answer = found.page.locator(ANSWER)
        select(found, "Up").select_option(label=f"weight: {NAMES[2]}")
        found.page.wait_for_selector(f"#figure-front text:has-text('weight: {NAMES[2]}')")
        number = found.page.evaluate(MISSING)
        found.page.locator("#wanted").click()
        assert model_shown(found) == weights_of(tuned, number)
        assert "missed" in answer.inner_text()
        select(found, "Point").select_option(label="today")
        assert model_shown(found) == dict(zip(NAMES, tuned.today.weights or (), strict=True))
        assert COMMAND[:10] not in answer.inner_text()
        missed = next(n for n, slack in enumerate(tuned.trials[0].slacks) if slack < 0)
        select(found, "Up").select_option(label=f"slack: {tuned.guardrails[missed].name}")
        assert not found.page.get_by_label("Zoom out to all trials").is_checked()
        start = "start, trial 0"
        select(found, "Point").select_option(label=start)
        found.page.wait_for_selector(f"{ANSWER} h4:has-text('{start}')")
        assert found.page.get_by_label("Zoom out to all trials").is_checked()
        assert (found.said, found.asked) == ([], [])


def test_the_file_of_the_front_has_its_numbers(
    browser: Browser, written: Path, tuned: Tuned
) -> None:
    with opened(browser, written, accept_downloads=True) as found:
        with found.page.expect_download() as waiting:
            found.page.locator("#figure-front .download").click()
        text = Path(waiting.value.path()).read_text()
    head, *lines = csv.reader(StringIO(text))
    assert head[:3] == ["Role", "Trial", tuned.objectives[0].name]
    numbers = {int(line[1]): tuple(map(float, line[2:])) for line in lines if line[1]}
    assert numbers == {
        one.number: (*one.objectives, *one.slacks, *one.weights) for one in tuned.trials
    }


def test_names_that_would_like_to_be_scripts_stay_text(browser: Browser, tmp_path: Path) -> None:
    tuned = searched(HOSTILE_NAMES, trials=120, resamples=0)
    goal = tuned.objectives[0].model_copy(update={"name": HOSTILE, "unit": HOSTILE})
    log = tuned.log.model_copy(update={"on": HOSTILE})
    told = tuned.today.model_copy(update={"told": HOSTILE})
    hostile = tuned.model_copy(
        update={
            "objectives": (goal, *tuned.objectives[1:]),
            "primary": HOSTILE,
            "log": log,
            "today": told,
            "later": None,
            "bundle": HOSTILE,
            "settings": {HOSTILE: HOSTILE},
        }
    )
    path = write_page(hostile, tmp_path, command=HOSTILE)
    with opened(browser, path, width=380) as found:
        select(found, "Point").select_option(label="today")
        found.page.locator("#figure-front .mark-symbol path").last.hover(force=True)
        assert HOSTILE in found.page.locator(ANSWER).inner_text()
        assert HOSTILE in found.page.locator(".verdict").inner_text()
        assert found.page.locator("img").count() == 0
        assert found.sideways() <= 0
        assert (found.said, found.asked) == ([], [])
