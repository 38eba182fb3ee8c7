"""A bad bundle of any kind is refused with a reason; the one in service goes on serving."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.errors import ArtefactError
from polyrank.schema import Numeric, Regression, Schema
from polyrank.scoring import Engine
from polyrank.serving.errors import RequestError
from polyrank.serving.models import (
    Catalog,
    CatalogSettings,
    GateProcess,
    GateSettings,
    gate_process,
)
from polyrank.storage import load_arrays, save_arrays
from tests.serving.models import worlds

Make = Callable[[Path, Path], object]
"""From the good bundle and a free path to a bad bundle there."""
Odd = Callable[..., Engine]


class Bench:
    """A model that is served through a pointer, and what becomes of it."""

    def __init__(self, home: Path, plain: Path, process: GateProcess) -> None:
        self.home, self.plain = home, plain
        self.pointer = home / "live"
        self.pointer.symlink_to(plain)
        self.catalog = Catalog({"m": self.pointer}, settings=worlds.AT_ONCE, process=process)
        self.catalog.load()
        self.before = self.answer()

    def answer(self) -> pa.Table:
        """What a request gets now."""
        return self.catalog.take("m").scorer.rank(worlds.rows(8))

    def point(self, target: Path) -> None:
        """Move the pointer, in one step."""
        fresh = self.home / "fresh"
        fresh.symlink_to(target)
        fresh.rename(self.pointer)

    def refusal(self, make: Make) -> str:
        """Offer a bad bundle; why it was refused."""
        target = self.home / "bad"
        make(self.plain, target)
        self.point(target)
        try:
            reloaded = self.catalog.reload("m")
        finally:
            self.point(self.plain)
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
            (self.home / "aside").unlink(missing_ok=True)
        assert reloaded.admitted == {}
        [reason] = reloaded.refused.values()
        told = self.catalog.status()["m"]["last_refusal"]
        assert told["reason"] == reason
        assert str(target) not in reason
        assert self.answer().equals(self.before)
        return reason


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, plain: Path, process: GateProcess
) -> Iterator[Bench]:
    found = Bench(tmp_path_factory.mktemp("bench"), plain, process)
    yield found
    found.catalog.close()


def copied(change: Callable[[Path], object]) -> Make:
    """The good bundle, with its files changed under its old manifest."""

    def make(good: Path, target: Path) -> None:
        shutil.copytree(good, target)
        change(target)

    return make


def sealed(change: Callable[[dict[str, Any]], object]) -> Make:
    """The good bundle with files that somebody changed, under a manifest that fits."""
    return lambda good, target: worlds.sealed(good, target, change)


def reweighed(change: Callable[[dict[str, Any]], object]) -> Make:
    """With other weights, under a manifest that fits."""

    def apply(files: dict[str, Any]) -> None:
        arrays = load_arrays(bytearray(files["weights.safetensors"]), where="weights")
        change(arrays)
        files["weights.safetensors"] = save_arrays(arrays)

    return sealed(apply)


def in_place(name: str, put: Callable[[Path], object]) -> Make:
    """Something else under a file's name."""

    def change(folder: Path) -> None:
        (folder / name).replace(folder.parent / "aside")
        put(folder / name)

    return copied(change)


def _swap_heads(arrays: dict[str, Any]) -> None:
    for name in [name for name in arrays if name.startswith("towers.0.")]:
        other = name.replace("towers.0.", "towers.1.")
        arrays[name], arrays[other] = arrays[other], arrays[name]


def _silence(arrays: dict[str, Any]) -> None:
    for name in [name for name in arrays if name.startswith("towers.0.")]:
        arrays[name] = np.zeros_like(arrays[name])


def _poison(arrays: dict[str, Any]) -> None:
    arrays["towers.0.weight"].reshape(-1)[0] = np.nan


def _bomb(files: dict[str, Any]) -> None:
    spec = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**82]}
    header = json.dumps({"towers.0.weight": spec}).encode()
    files["weights.safetensors"] = len(header).to_bytes(8, "little") + header


def _long_header(files: dict[str, Any]) -> None:
    files["weights.safetensors"] = (1 << 40).to_bytes(8, "little") + b"{}"


def _values(model: str) -> Callable[[dict[str, Any]], object]:
    def apply(files: dict[str, Any]) -> None:
        version = f'{{"number": 1, "after": 0, "by": "file", "time": "now", "model": {model}}}'
        files["value_model.json"] = f'{{"current": 1, "versions": [{version}]}}'.encode()

    return apply


def _schema(change: Callable[[Schema], Schema]) -> Make:
    return lambda good, target: worlds.save(worlds.bundle(change(worlds.MIXED)), target)


def _widened(tree: dict[str, Any]) -> None:
    tree["embedding_dim"] = 10**9


WEIGHTS = "weights.safetensors"
KINDS: dict[str, tuple[Make, str]] = {
    "missing file": (copied(lambda folder: (folder / "card.md").unlink()), "missing"),
    "extra file": (copied(lambda folder: (folder / "more.json").write_text("{}")), "not list"),
    "truncated": (copied(lambda folder: os.truncate(folder / WEIGHTS, 100)), "the manifest says"),
    "pipe": (in_place(WEIGHTS, os.mkfifo), "not a regular file"),
    "pipe as manifest": (in_place("MANIFEST.json", os.mkfifo), "not a regular file"),
    "link": (in_place(WEIGHTS, lambda path: path.symlink_to("../aside")), "not a regular file"),
    "hard link": (in_place(WEIGHTS, lambda path: path.hardlink_to(path.parents[1] / "aside")), "2"),
    "folder": (in_place(WEIGHTS, Path.mkdir), "not a regular file"),
    "pipe as bundle": (lambda good, target: os.mkfifo(target), "not a regular file"),
    "pointer to nothing": (lambda good, target: None, "does not exist"),
    "NaN weight": (reweighed(_poison), "not finite"),
    "swapped heads": (reweighed(_swap_heads), "swapped"),
    "silent head": (reweighed(_silence), "the same 'click' for all rows"),
    "huge shape": (sealed(_bomb), "towers.0.weight"),
    "header bomb": (sealed(_long_header), "header of 1099511627776"),
    "pickle": (in_place(WEIGHTS, lambda path: path.write_bytes(b"\x80\x04K\x01.")), "5"),
    "huge model": (sealed(worlds.edited("model.json", _widened)), "embedding_dim"),
    "newer format": (sealed(lambda files: 2), "newer"),
    "other calibration": (
        sealed(lambda files: files.update({"calibration.json": b'{"buy": {"kind": "platt"}}'})),
        "'buy'",
    ),
    "NaN in a value model": (
        sealed(_values('{"kind": "weighted_sum", "terms": {"click": NaN}}')),
        "NaN is not a JSON number",
    ),
    "value model of no task": (
        sealed(_values('{"kind": "weighted_sum", "terms": {"buy": 1.0}}')),
        "'buy'",
    ),
    "value model without scores": (
        sealed(_values('{"kind": "expression", "expression": "log(click - click)"}')),
        "log",
    ),
    "lost task": (
        _schema(lambda schema: schema.model_copy(update={"tasks": schema.tasks[:2]})),
        "no task 'watch'",
    ),
    "other kind of task": (
        _schema(
            lambda schema: schema.model_copy(
                update={"tasks": (*schema.tasks[:2], Regression(name="watch"))}
            )
        ),
        "'watch' is regression",
    ),
    "further input": (
        _schema(
            lambda schema: schema.model_copy(
                update={"features": (*schema.features, Numeric(name="older", column="age2"))}
            )
        ),
        "reads 'age2'",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_bundle_is_refused(bench: Bench, kind: str) -> None:
    make, reason = KINDS[kind]
    assert reason in bench.refusal(make)


def test_one_flipped_bit_in_a_file_of_each_kind_is_refused(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    for name in ("MANIFEST.json", "schema.json", "card.md", "encoders.safetensors", WEIGHTS):

        def flip(folder: Path, name: str = name) -> None:
            content = bytearray((folder / name).read_bytes())
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(content)

        assert bench.refusal(copied(flip))


def test_after_all_of_them_a_good_one_is_let_in(bench: Bench) -> None:
    good = worlds.save(worlds.bundle(seed=2), bench.home / "good")
    bench.point(good)
    try:
        assert bench.catalog.reload("m").refused == {}
        assert not bench.answer().equals(bench.before)
        assert bench.catalog.status()["m"]["refused"] == {}
    finally:
        bench.point(bench.plain)
        bench.catalog.reload("m")


def odd_catalog(
    home: Path, how: str, process: GateProcess, odd: Odd = worlds.odd, **settings: Any
) -> tuple[Catalog, Path, str]:
    """A catalog whose engine is fine with the bundle in service, and odd with the next."""
    path = home / "bundle"
    good = save_bundle(worlds.bundle(), path)
    catalog = Catalog(
        {"m": path},
        engine_of=partial(odd, how=how, good=good),
        settings=CatalogSettings(gate=GateSettings(**settings)),
        process=process,
    )
    catalog.load()
    save_bundle(worlds.bundle(seed=2), path, replace=True)
    return catalog, path, good


@pytest.mark.parametrize(
    ("how", "settings", "reason"),
    [
        ("runs on", {"cpu_seconds": 1}, "SIGXCPU"),
        ("is greedy", {"memory_mib": 1024}, "1024 MiB"),
        ("dies", {}, "SIGKILL"),
        ("is broken", {}, "NotImplementedError: no such thing"),
    ],
)
def test_what_a_bundle_does_to_its_process_is_told(
    tmp_path: Path, process: GateProcess, how: str, settings: dict[str, Any], reason: str
) -> None:
    catalog, _, good = odd_catalog(tmp_path, how, process, **settings)
    [told] = catalog.reload("m").refused.values()
    assert reason in told
    assert catalog.take("m").content == good


def test_what_takes_more_memory_bit_by_bit_is_stopped_at_once(
    tmp_path: Path, process: GateProcess
) -> None:
    catalog, _, good = odd_catalog(tmp_path, "memory", process, worlds.straining, memory_mib=128)
    began = time.monotonic()
    [told] = catalog.reload("m").refused.values()
    assert "128 MiB" in told
    assert time.monotonic() - began < 30.0
    assert catalog.take("m").content == good


def test_threads_have_room_beside_what_a_bundle_may_take(
    tmp_path: Path, process: GateProcess
) -> None:
    """Where the address space is full Arrow waits for a thread for ever, and the trial with it."""
    catalog, _, good = odd_catalog(tmp_path, "threads", process, worlds.straining, memory_mib=64)
    assert catalog.reload("m").refused == {}
    assert catalog.take("m").content != good


def test_one_reload_at_a_time_and_none_for_ever(tmp_path: Path, process: GateProcess) -> None:
    catalog, _, good = odd_catalog(tmp_path, "sleeps", process, deadline=1.5)
    refused: dict[str, str] = {}
    thread = threading.Thread(target=lambda: refused.update(catalog.reload("m").refused))
    thread.start()
    while not catalog.status()["m"]["reloading"]:
        time.sleep(0.005)
    with pytest.raises(RequestError, match="being reloaded") as error:
        catalog.reload("m")
    assert error.value.status == 409
    assert catalog.take("m").content == good
    thread.join()
    assert ["within 1.5 seconds" in reason for reason in refused.values()] == [True]


def test_what_changes_after_it_was_tried_is_refused(tmp_path: Path, process: GateProcess) -> None:
    path, other = tmp_path / "bundle", tmp_path / "other"
    good = save_bundle(worlds.bundle(), path)
    save_bundle(worlds.bundle(seed=3), other)
    engine_of = partial(worlds.swapping, good=good, path=str(path), other=str(other))
    catalog = Catalog({"m": path}, engine_of=engine_of, process=process)
    catalog.load()
    save_bundle(worlds.bundle(seed=2), path, replace=True)
    [reason] = catalog.reload("m").refused.values()
    assert "changed after it was tried" in reason
    assert catalog.take("m").content == good


def test_the_process_that_tries_bundles_may_die(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(plain, tmp_path / "bundle")
    monkeypatch.setattr(gate_process, "PROGRAM", "import sys; sys.exit(3)")
    with Catalog({"m": tmp_path / "bundle"}) as catalog:
        worlds.save(worlds.bundle(seed=2), tmp_path / "bundle")
        [reason] = catalog.reload("m").refused.values()
        assert "died or did not answer" in reason
        assert catalog.take("m").content == load_bundle(plain).version


def test_a_start_without_a_sound_bundle_fails_with_the_reason(tmp_path: Path, plain: Path) -> None:
    sealed(_values('{"kind": "weighted_sum", "terms": {"buy": 1.0}}'))(plain, tmp_path / "bad")
    catalog = Catalog({"m": tmp_path / "bad"})
    with pytest.raises(ArtefactError, match="model m: .*'buy'"):
        catalog.load()
    assert not catalog.ready()
    with pytest.raises(RequestError, match="not loaded") as error:
        catalog.take("m")
    assert error.value.status == 503
