from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from polyrank.pages import Figure, Page, Prose, Section, Table, code
from polyrank.pages.render import render
from tests.pages.sample import HOSTILE, LOSSES, STEPS, curve, multiples, page


class Tree(HTMLParser):
    """What a browser would see: elements in order with attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("", {}, []))  # text behind an element is not its own

    def handle_data(self, data: str) -> None:
        if self.elements:
            self.elements[-1][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attrs, "".join(text)) for name, attrs, text in self.elements if name == tag]


@pytest.fixture(scope="module")
def hostile() -> Tree:
    return Tree(render(page(HOSTILE)))


def test_only_scripts_and_styles_of_ours_are_allowed(hostile: Tree) -> None:
    def hashes(blocks: list[str]) -> set[str]:
        digests = (hashlib.sha256(block.encode()).digest() for block in blocks)
        return {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}

    metas = {
        attrs.get("http-equiv"): attrs["content"]
        for attrs, _ in hostile.all("meta")
        if "content" in attrs
    }
    policy = dict(part.split(" ", 1) for part in str(metas["Content-Security-Policy"]).split("; "))
    scripts = [text for attrs, text in hostile.all("script") if "type" not in attrs]
    assert policy["default-src"] == "'none'"
    assert set(policy["script-src"].split()) == hashes(scripts)
    assert set(policy["style-src"].split()) == hashes([text for _, text in hostile.all("style")])
    assert not [tag for tag, attrs, _ in hostile.elements if "style" in attrs or "src" in attrs]
    assert not any(name.startswith("on") for _, attrs, _ in hostile.elements for name in attrs)


def test_names_stay_text_wherever_they_stand(hostile: Tree) -> None:
    assert not hostile.all("img")
    assert HOSTILE in hostile.all("h1")[0][1]
    assert HOSTILE in hostile.all("title")[0][1]
    assert HOSTILE in {text for _, text in hostile.all("pre")} | {
        text for _, text in hostile.all("code")
    }
    data = [json.loads(text) for attrs, text in hostile.all("script") if "type" in attrs]
    assert data[0]["labels"]["loss"] == f"Loss of {HOSTILE}"
    assert data[0]["columns"]["task"][0] == HOSTILE


def test_a_page_tells_its_language_its_headings_and_what_images_show() -> None:
    tree = Tree(render(page()))
    assert tree.all("html")[0][0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _, _ in tree.elements if tag in {"h1", "h2", "h3"}]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    shown = [attrs for _, attrs, _ in tree.elements if attrs.get("role") == "img"]
    assert [attrs["aria-label"] for attrs in shown] == ["A falling line of click.", "Two lines."]
    ids = [attrs["id"] for _, attrs, _ in tree.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    links = {str(attrs["href"])[1:] for attrs, _ in tree.all("a")}
    assert links <= set(ids)
    assert {text for _, text in tree.all("code")} >= {"click", "code"}


def test_figures_carry_their_numbers_and_what_is_missing_is_null() -> None:
    (_, text) = next(one for one in Tree(render(page())).all("script") if "type" in one[0])
    data: dict[str, Any] = json.loads(text)
    assert data["columns"]["step"] == STEPS
    assert data["columns"]["loss"] == [*LOSSES[:2], None]
    assert all("data" not in spec or spec["data"] == {"name": "rows"} for spec in data["specs"])


@pytest.mark.parametrize("name", ["click", "a`b", "`", "``a", "`a`", "<b>`"])
def test_any_name_stands_as_code_in_a_sentence(name: str) -> None:
    tree = Tree(render(Page("", f"Both {code(name)} and {code('x')}.", [])))
    assert [text for _, text in tree.all("code")] == [name, "x"]


def test_a_page_without_figures_has_no_chart_library() -> None:
    text = render(Page("Words", "Few.", [Section("One", [Prose("Text.")])]))
    assert len(text) < 40_000
    assert "vegaEmbed =" not in text


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Figure("two words", "", "", "", {"a": [1.0]}, []),
        lambda: Figure("name", "", "", "", {"a b": [1.0]}, []),
        lambda: Figure("name", "", "", "", {"a": [1.0], "b": []}, []),
        lambda: Figure("name", "", "", "", {"a": [1.0] * 5000}, []),
        lambda: Table("Uneven.", ["a", "b"], [[1.0]]),
        lambda: Page("Twice", "", [Section("", [curve(), multiples(), curve()])]).figures(),
    ],
)
def test_our_own_mistakes_are_found_when_a_page_is_put_together(broken: Any) -> None:
    with pytest.raises(AssertionError):
        broken()
