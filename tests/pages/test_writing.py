from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from polyrank.errors import ConfigError, StorageError
from polyrank.pages import Page, Prose, Section, require_report, write_page
from tests.pages.sample import curve, multiples

WORDS = Page("Words", "Few.", [Section("One", [Prose("Text.")])])


def test_a_page_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "page.html"
    path.parent.mkdir()
    path.write_text("before")
    with pytest.raises(ConfigError, match="by one of HTML and is none by its content"):
        write_page(WORDS, path)
    assert path.read_text() == "before"
    path.write_text("<!DOCTYPE html><p>before")
    write_page(WORDS, path)
    assert path.read_text().startswith("<!doctype html>")
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]


def test_images_are_written_where_asked(tmp_path: Path) -> None:
    both = Page("Both", "Two.", [Section("One", [curve(), multiples()])])
    write_page(both, tmp_path / "page.html", figures=tmp_path / "figures")
    sizes = {}
    for path in (tmp_path / "figures").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        sizes[path.name] = struct.unpack(">II", content[16:24])
    assert sizes.keys() == {"loss.png", "two.png"}
    assert all(width >= 1400 and height >= 500 for width, height in sizes.values())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write the page"):
        write_page(WORDS, tmp_path / "file" / "page.html")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(ConfigError, match="is to be replaced by one of HTML and is no file"):
        write_page(WORDS, tmp_path / "page.html")
    assert {one.name for one in tmp_path.iterdir()} == {"file", "page.html"}


def test_without_the_libraries_for_figures_the_message_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match=r"vl-convert-python.*pip install 'polyrank\[report\]'"):
        require_report()
    with pytest.raises(ConfigError):
        write_page(Page("One", "", [Section("", [curve()])]), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
    write_page(WORDS, tmp_path / "page.html")
