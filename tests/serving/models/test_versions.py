"""Folders of versions, pointers and replaced bundles: what is noticed, kept and served."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polyrank.bundle import load_bundle
from polyrank.errors import ConfigError
from polyrank.serving.errors import RequestError
from polyrank.serving.models import Catalog, CatalogSettings, GateProcess, Served
from polyrank.serving.models.sources import Source, age
from polyrank.storage import commit_directory
from tests.serving.models import worlds


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four bundles of the same tasks."""
    home = tmp_path_factory.mktemp("bundles")
    return [worlds.save(worlds.bundle(seed=seed), home / f"b{seed}") for seed in range(4)]


def place(source: Path, target: Path) -> None:
    """As a pipeline does it: beside, then renamed."""
    aside = target.with_name(f".tmp-{target.name}")
    shutil.copytree(source, aside)
    aside.rename(target)


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_highest_number_answers_and_the_last_ones_are_kept(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    home = tmp_path / "m"
    for name, bundle in zip(("old", "2", "9"), bundles, strict=False):
        place(bundle, home / name)
    (home / ".hidden").mkdir()
    with Catalog({"m": home}, settings=worlds.AT_ONCE, process=process) as catalog:
        assert list(catalog.describe()["m"]["versions"]) == ["9", "2"]
        assert catalog.take("m").version == "9"
        assert catalog.take("m", "2").version == "2"
        for missing in ("old", "10", "..", "2/../9"):
            with pytest.raises(RequestError) as error:
                catalog.take("m", missing)
            assert error.value.status == 404
        place(bundles[3], home / "10")
        reloaded = catalog.reload("m")
        assert (reloaded.version, list(reloaded.admitted)) == ("10", ["10"])
        assert reloaded.admitted["10"]["drift"]["click"]["rank_correlation"] < 1.0
        assert catalog.status()["m"]["versions"] == ["9", "10"]
        assert catalog.reload("m").admitted == {}
        shutil.rmtree(home / "10")
        assert catalog.reload("m").version == "9"
        assert catalog.status()["m"]["versions"] == ["2", "9"]
        shutil.rmtree(home)
        assert catalog.reload("m").version == "9"
        assert catalog.take("m", "2").version == "2"


def test_what_is_pinned_or_compared_stays_however_old(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    home = tmp_path / "m"
    settings = CatalogSettings(keep=1)
    for name, bundle in zip("12", bundles, strict=False):
        place(bundle, home / name)
    with Catalog({"m": home}, settings=settings, process=process) as catalog:
        assert catalog.status()["m"]["versions"] == ["2"]
        catalog.pin("m", "2")
        place(bundles[2], home / "3")
        assert catalog.reload("m").version == "2"
        catalog.shadow("m", "3", 0.5)
        place(bundles[3], home / "4")
        catalog.reload("m")
        assert catalog.status()["m"]["versions"] == ["2", "3", "4"]
        assert catalog.shadowing("m") is not None
        assert catalog.pin("m", None).version == "4"
        catalog.reload("m")
        assert catalog.status()["m"]["versions"] == ["4"]


@pytest.mark.parametrize("how", ["pin", "promote", "shadow"])
def test_what_is_asked_for_while_a_reload_runs_holds(
    tmp_path: Path, bundles: list[Path], process: GateProcess, how: str
) -> None:
    """A reload may take a minute, and what it found at its beginning is not what is asked for."""
    home = tmp_path / "m"
    for name, bundle in zip("12", bundles, strict=False):
        place(bundle, home / name)
    inside, goes_on = threading.Event(), threading.Event()

    def also(served: Served) -> None:
        if served.version in "34":
            inside.set()
            goes_on.wait(60.0)

    given = {"m": home}
    with Catalog(given, settings=worlds.AT_ONCE, process=process, also=also) as catalog:
        catalog.pin("m", "2" if how == "shadow" else None)
        place(bundles[2], home / "3")
        place(bundles[3], home / "4")
        reload = threading.Thread(target=catalog.reload, args=("m",))
        reload.start()
        assert inside.wait(60.0)
        if how == "pin":
            assert catalog.pin("m", "1").version == "1"
        else:
            catalog.shadow("m", "1", 1.0)
        if how == "promote":
            catalog.promote("m")
        goes_on.set()
        reload.join()
        for _ in range(2):
            told = catalog.status()["m"]
            assert told["serving"] == told["pinned"] == ("2" if how == "shadow" else "1")
            assert (told["shadow"] is not None) == (how == "shadow")
            catalog.reload("m")


def test_a_version_that_is_not_loaded_any_more_can_be_pinned(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    home = tmp_path / "m"
    for name, bundle in zip("123", bundles, strict=False):
        place(bundle, home / name)
    (home / "0").mkdir()
    settings = CatalogSettings(keep=1)
    with Catalog({"m": home}, settings=settings, process=process) as catalog:
        assert catalog.status()["m"]["versions"] == ["3"]
        for name, status, told in (("7", 404, "no version '7'"), ("0", 400, "may not serve")):
            with pytest.raises(RequestError, match=told) as error:
                catalog.pin("m", name)
            assert error.value.status == status
        assert (catalog.take("m").version, catalog.status()["m"]["pinned"]) == ("3", None)
        assert catalog.pin("m", "1").version == "1"
        assert catalog.take("m").content == load_bundle(bundles[0]).version
        assert catalog.status()["m"]["pinned"] == "1"
        catalog.reload("m")
        assert catalog.status()["m"]["versions"] == ["1", "3"]
        shutil.rmtree(home / "1")  # as somebody who clears old versions away
        catalog.reload("m")
        assert catalog.take("m").version == "1"
        with catalog._shelves["m"]._alone(), pytest.raises(RequestError) as error:
            catalog.pin("m", "2")
        assert error.value.status == 409
        blocked = home.with_name("m.values")
        shutil.rmtree(blocked)
        blocked.write_text("a file where a folder is wanted")
        with pytest.raises(RequestError, match="all is as before"):
            catalog.pin("m", "2")
        assert catalog.status()["m"]["versions"] == ["1", "3"]


def test_what_one_server_pins_all_of_the_folder_answer_by(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    """Also one that they have not loaded; what was pinned for a while is not kept for ever."""
    home = tmp_path / "m"
    for name, bundle in zip("1234", bundles, strict=False):
        place(bundle, home / name)
    settings = worlds.AT_ONCE.model_copy(update={"keep": 1})
    with (
        Catalog({"m": home}, settings=settings, process=process) as one,
        Catalog({"m": home}, settings=settings, process=process) as other,
    ):
        for version in "12":
            one.pin("m", version)
        shelf = other._shelves["m"]
        shelf.watch()
        told = other.status()["m"]
        assert (told["serving"], told["pinned"], told["versions"]) == ("2", "2", ["2", "4"])
        last = told["last_reload"]
        shelf.watch()
        assert other.status()["m"]["last_reload"] is last
        one.pin("m", None)
        for catalog in (one, other):
            catalog._shelves["m"].watch()
            told = catalog.status()["m"]
            assert (told["serving"], told["pinned"], told["versions"]) == ("4", None, ["4"])


def test_a_bad_version_is_passed_over_and_tried_again_once_it_changes(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    home = tmp_path / "m"
    place(bundles[0], home / "1")
    place(bundles[1], home / "2")
    (home / "3").mkdir()  # somebody copies a bundle into place, file by file
    with Catalog({"m": home}, settings=worlds.AT_ONCE, process=process) as catalog:
        shelf = catalog._shelves["m"]
        assert catalog.take("m").version == "2"
        assert "MANIFEST.json" in catalog.status()["m"]["refused"]["3"]
        first = catalog.status()["m"]["last_refusal"]
        shelf.reload(again=False)
        assert catalog.status()["m"]["last_refusal"] == first
        for path in bundles[2].iterdir():
            shutil.copy(path, home / "3")
        shelf.look()
        assert catalog.take("m").version == "3"
        assert catalog.status()["m"]["refused"] == {}
        worlds.save(worlds.bundle(seed=9), home / "3")
        (home / "3" / "card.md").write_text("no card")
        before = catalog.take("m")
        assert "card.md" in catalog.reload("m").refused["3"]
        assert catalog.take("m").scorer is before.scorer


def test_a_watched_bundle_is_reloaded_whatever_the_clock_says(
    tmp_path: Path, bundles: list[Path], process: GateProcess
) -> None:
    path = tmp_path / "m"
    shutil.copytree(bundles[0], path)
    with Catalog({"m": path}, settings=worlds.AT_ONCE, process=process) as catalog:
        catalog.watch(0.02)
        catalog.watch(0.02)
        before = catalog.take("m")
        stamp = (path / "MANIFEST.json").stat()
        fresh = tmp_path / "fresh"
        shutil.copytree(bundles[1], fresh)
        os.utime(fresh / "MANIFEST.json", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        path.rename(tmp_path / "gone")
        fresh.rename(path)
        until(lambda: catalog.take("m").content != before.content)
        assert catalog.take("m").version == catalog.take("m").content[:12]
        other = tmp_path / "m.values" / "step-0000000001"
        commit_directory(other, {"a.json": b"{}"}, kind="other", format_version=1)
        until(lambda: catalog.status()["m"]["watch_notice"] is not None)
        shutil.rmtree(other)
        until(lambda: catalog.status()["m"]["watch_notice"] is None)
    assert catalog._watcher is not None
    assert not catalog._watcher.is_alive()


def test_the_same_content_written_again_is_no_other_version(
    tmp_path: Path, process: GateProcess
) -> None:
    path = worlds.save(worlds.bundle(seed=1), tmp_path / "m")
    with Catalog({"m": path}, settings=worlds.AT_ONCE, process=process) as catalog:
        before = catalog.take("m")
        worlds.save(worlds.bundle(seed=1), path)
        reloaded = catalog.reload("m")
        assert (reloaded.admitted, reloaded.refused) == ({}, {})
        assert catalog.take("m") is not None
        assert catalog.take("m").scorer is before.scorer
        with pytest.raises(RequestError, match="is one bundle") as error:
            catalog.pin("m", before.version)
        assert error.value.status == 400


def test_several_models_are_told_apart(bundles: list[Path], process: GateProcess) -> None:
    with Catalog({"a": bundles[0], "b": bundles[1]}, process=process) as catalog:
        catalog.load()
        assert catalog.ready()
        assert catalog.ready("a")
        assert catalog.take("a").content != catalog.take("b").content
        with pytest.raises(RequestError, match="there is no model 'c'") as error:
            catalog.take("c")
        assert error.value.status == 404


@pytest.mark.parametrize("name", ["", ".a", "a/b", "a" * 65, "ä"])
def test_a_name_that_is_none_is_refused(name: str, bundles: list[Path]) -> None:
    with pytest.raises(ConfigError, match="cannot be named"):
        Catalog({name: bundles[0]})


def test_no_model_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be named ''"):
        Catalog({})
    with pytest.raises(ConfigError, match="is no folder"):
        Catalog({"m": tmp_path / "nothing"})


def test_versions_are_ordered_by_number_then_name() -> None:
    names = ["10", "9", "2026-01-01", "b", "a", "010"]
    assert sorted(names, key=age) == ["2026-01-01", "a", "b", "9", "010", "10"]


def test_a_source_that_vanishes_has_no_versions(tmp_path: Path, bundles: list[Path]) -> None:
    shutil.copytree(bundles[0], tmp_path / "m")
    one, many = Source.of(tmp_path / "m"), Source(tmp_path / "v", "versions")
    [found] = one.look()
    assert found.label == found.content[:12]
    (tmp_path / "m" / "MANIFEST.json").unlink()
    assert one.look()[0].label == "unreadable"
    shutil.rmtree(tmp_path / "m")
    assert one.look() == many.look() == ()
