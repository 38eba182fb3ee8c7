"""Value models change alone and at once, within bounds, and survive a restart."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank.errors import ArtefactError, ConfigError
from polyrank.scoring import Order
from polyrank.serving.errors import RequestError
from polyrank.serving.models import (
    Bounds,
    Catalog,
    CatalogSettings,
    GateProcess,
    GateSettings,
    ValueRules,
)
from polyrank.serving.models.history import KEPT, Changes, Profile
from polyrank.serving.models.store import ChangeStore
from polyrank.storage import RunLock
from tests.serving.models import worlds

LIKES = {"kind": "weighted_sum", "terms": {"like": 2.0, "click": 0.5}}
BOUNDED = CatalogSettings(
    rules=ValueRules(
        bounds={
            "terms.*.weight": Bounds(min=-10.0, max=10.0),
            "terms.like.weight": Bounds(min=0.0),
            "demotion.decay": Bounds(max=0.5),
        },
        max_profiles=2,
    )
)


@pytest.fixture
def home(tmp_path: Path, plain: Path) -> Path:
    """A served bundle."""
    shutil.copytree(plain, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def catalog(home: Path, process: GateProcess) -> Iterator[Catalog]:
    with Catalog({"m": home}, settings=BOUNDED, process=process) as found:
        yield found


def refused(catalog: Catalog, tree: dict[str, Any], **named: Any) -> tuple[int, str]:
    """How setting a value model is refused; nothing changes by it."""
    before = catalog.take("m")
    with pytest.raises(RequestError) as error:
        catalog.set_value_model("m", named.pop("profile", "feed"), tree, by="test", **named)
    assert catalog.take("m") is before
    return error.value.status, error.value.message


def scores(catalog: Catalog, profile: str) -> np.ndarray[Any, Any]:
    """Of some candidates, in their order."""
    served = catalog.take("m")
    scored = served.scorer.score(worlds.rows(5))
    names = served.bundle.schema.task_names
    predictions = {task: scored[f"predicted_{task}"].to_numpy() for task in names}
    return served.order(profile).score(predictions, np.zeros(5, dtype=np.int64), {}).score_N


def test_it_ranks_at_once_and_after_a_restart(
    catalog: Catalog, home: Path, process: GateProcess
) -> None:
    before = catalog.take("m")
    after = catalog.set_value_model("m", "feed", LIKES, by="ann")
    assert after is catalog.take("m")
    assert after.scorer is before.scorer
    assert dict(after.values) == {"default": 0, "feed": 1}
    assert "feed" not in before.profiles, "what was taken stays what it was"
    predicted = after.scorer.score(worlds.rows(5))
    expected = 2.0 * predicted["predicted_like"].to_numpy()
    expected = expected + 0.5 * predicted["predicted_click"].to_numpy()
    assert np.allclose(scores(catalog, "feed"), expected, rtol=1e-12)
    told = catalog.describe()["m"]["versions"][after.version]["profiles"]["feed"]
    assert (told["number"], told["value_model"]["terms"]["like"]["weight"]) == (1, 2.0)
    with Catalog({"m": home}, process=process) as again:
        assert dict(again.take("m").values) == {"default": 0, "feed": 1}
        assert np.array_equal(scores(again, "feed"), scores(catalog, "feed"))


def test_each_rollback_goes_one_back_and_forgets_none(catalog: Catalog) -> None:
    own = scores(catalog, "default")
    for weight in (1.0, 2.0):
        tree = {"kind": "weighted_sum", "terms": {"like": weight}}
        catalog.set_value_model("m", "default", tree, by="ann")
    twice = scores(catalog, "default")
    assert catalog.rollback("m").values["default"] == 1
    assert np.allclose(2.0 * scores(catalog, "default"), twice, rtol=1e-12)
    assert catalog.rollback("m", expected_version=1).values["default"] == 0
    assert np.array_equal(scores(catalog, "default"), own)
    with pytest.raises(RequestError, match="nothing to roll back to") as error:
        catalog.rollback("m")
    assert error.value.status == 400
    with pytest.raises(RequestError, match="'feed' was never set"):
        catalog.rollback("m", "feed")
    assert catalog.set_value_model("m", "default", LIKES, by="ann").values["default"] == 3


def test_what_may_not_be_set_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    status, message = refused(catalog, {"kind": "sum"})
    assert status == 400
    assert message.startswith("value model: kind: names no value model, got 'sum'. Known: by_")
    told = refused(catalog, {"kind": "weighted_sum", "terms": {"like": -1.0, "click": 11.0}})
    assert told[0] == 400
    assert "terms.like.weight: must be at least 0, got -1" in told[1]
    assert "terms.click.weight: must be at most 10, got 11" in told[1]
    nested = {"kind": "by_context", "column": "tab", "values": {"a.b": LIKES}}
    deep = {"kind": "weighted_sum", "terms": {"like": 99.0}}
    assert "default.terms.like.weight" in refused(catalog, {**nested, "default": deep})[1]
    formula = {"kind": "expression", "expression": "like * 99"}
    assert "must be one of weighted_sum" in refused(catalog, formula)[1]
    assert "must be one of" in refused(catalog, {**nested, "default": formula})[1]
    decay = {"column": "item", "decay": 0.9}
    assert "demotion.decay" in refused(catalog, {**LIKES, "demotion": decay})[1]
    typo = {"kind": "weighted_sum", "terms": {"lik": 1.0}}
    assert "'lik' is no task. Did you mean 'like'?" in refused(catalog, typo)[1]
    nan = {"kind": "weighted_sum", "terms": {"like": np.nan}}
    assert "a finite number, got nan" in refused(catalog, nan)[1]
    assert "cannot be named" in refused(catalog, LIKES, profile="../x")[1]
    assert refused(catalog, LIKES, expected_version=4)[0] == 409
    with pytest.raises(RequestError) as error:
        catalog.set_value_model("n", "feed", LIKES, by="ann")
    assert error.value.status == 404


def test_one_without_finite_scores_is_refused_in_each_context(catalog: Catalog) -> None:
    bad = {"kind": "weighted_sum", "terms": {"click": {"weight": 1.0, "power": -1e4}}}
    assert "no finite number to the power of -10000" in refused(catalog, bad)[1]
    nested = {"kind": "by_context", "column": "tab", "values": {"x": bad}, "default": LIKES}
    assert "no finite number to the power of -10000" in refused(catalog, nested)[1]
    nested["values"] = {"x": LIKES}
    assert catalog.set_value_model("m", "feed", nested, by="ann").values["feed"] == 1


def test_there_are_not_too_many_profiles(catalog: Catalog) -> None:
    for name in ("a", "b", "a"):
        catalog.set_value_model("m", name, LIKES, by="ann")
    assert refused(catalog, LIKES, profile="c") == (
        400,
        "there are 2 profiles already. Set one of them.",
    )
    with pytest.raises(RequestError, match="no profile 'c'; known: a, b, default"):
        catalog.take("m").order("c")


def test_weights_change_atomically_with_the_model(tmp_path: Path, process: GateProcess) -> None:
    """While value models are set, an answer has the weights of the number that it tells."""
    path = worlds.save(worlds.level(3), tmp_path / "bundle")
    faults: list[str] = []
    stop = threading.Event()
    with Catalog({"m": path}, process=process) as catalog:

        def read() -> None:
            while not stop.wait(0.001):
                served = catalog.take("m")
                ones = {task: np.full(2, 3.0) for task in worlds.LEVELS.task_names}
                order = served.order()
                score_N = order.score(ones, np.zeros(2, dtype=np.int64), {}).score_N
                weight = 3.0 if served.values["default"] == 0 else served.values["default"] * 10.0
                if not np.array_equal(score_N, np.full(2, 9.0 * weight)):
                    faults.append(f"{score_N} of {weight}")

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 21):
            terms = dict.fromkeys(worlds.LEVELS.task_names, number * 10.0)
            tree = {"kind": "weighted_sum", "terms": terms}
            served = catalog.set_value_model("m", "default", tree, by="ann")
            assert served.values["default"] == catalog.take("m").values["default"] == number
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []


def test_profiles_that_do_not_fit_a_new_bundle_fall_back_and_come_again(
    home: Path, process: GateProcess
) -> None:
    settings = CatalogSettings(gate=GateSettings(may_lose=("watch",)))
    with Catalog({"m": home}, settings=settings, process=process) as catalog:
        catalog.set_value_model("m", "feed", LIKES, by="ann")
        watch = {"kind": "weighted_sum", "terms": {"watch": 1.0}}
        catalog.set_value_model("m", "player", watch, by="ann")
        full = catalog.take("m").bundle
        fewer = worlds.MIXED.model_copy(update={"tasks": worlds.MIXED.tasks[:2]})
        worlds.save(worlds.bundle(fewer), home)
        assert catalog.reload("m").refused == {}
        served = catalog.take("m")
        assert dict(served.values) == {"default": 0, "feed": 1, "player": 0}
        assert served.order("player") is served.order("default")
        assert list(served.unfit) == ["player"]
        assert "'watch' is no task" in catalog.status()["m"]["unfit"]["player"]
        told = served.described()["profiles"]["player"]
        assert "'watch' is no task" in told["unfit"]
        worlds.save(full, home)
        catalog.reload("m")
        assert dict(catalog.take("m").values) == {"default": 0, "feed": 1, "player": 1}


def test_another_process_sees_it_at_its_next_look(
    catalog: Catalog, home: Path, process: GateProcess
) -> None:
    with Catalog({"m": home}, settings=BOUNDED, process=process) as other:
        catalog.set_value_model("m", "feed", LIKES, by="ann")
        assert "feed" not in other.take("m").profiles
        other._shelves["m"].look()
        assert other.take("m").values["feed"] == 1
        assert other.set_value_model("m", "feed", LIKES, by="bob").values["feed"] == 2
        assert refused(catalog, LIKES, expected_version=1)[0] == 409
        with RunLock(home.with_name("bundle.values")):
            assert refused(catalog, LIKES)[0] == 409


def test_a_damaged_snapshot_falls_back_on_the_one_before(home: Path) -> None:
    folder = home.with_name("bundle.values")
    store = ChangeStore(folder)
    for number in range(12):
        store.change(partial(Changes.with_pinned, version=str(number)))
    assert len([path for path in folder.iterdir() if path.name.startswith("step-")]) == 8
    newest = max(folder.glob("step-*"))
    (newest / "changes.json").write_text("{}")
    again = ChangeStore(folder)
    assert again.current.pinned == "10"
    assert "damaged" in again.notices[0]
    assert again.change(lambda changes: changes.with_pinned(None)).pinned is None
    for path in folder.glob("step-*"):
        (path / "changes.json").write_text("{}")
    with pytest.raises(ArtefactError, match="no checkpoint is intact"):
        ChangeStore(folder)


def test_what_cannot_be_kept_is_not_put_in_force(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, message = refused(catalog, LIKES)
    assert status == 503
    assert "could not be kept" in message
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert catalog.set_value_model("m", "feed", LIKES, by="ann").values["feed"] == 1


def test_a_history_remembers_some_and_refuses_what_cannot_be() -> None:
    model = Order.of(worlds.level(1)).model
    assert model is not None
    profile = Profile()
    for _ in range(KEPT + 5):
        profile = profile.extended(model, None, "ann")
    assert (len(profile.versions), profile.current) == (KEPT, KEPT + 5)
    while profile.current > 6:
        profile = profile.rolled_back()
    with pytest.raises(ConfigError, match="version 5 is not remembered"):
        profile.rolled_back()
    tree = profile.model_dump()
    with pytest.raises(ConfigError, match="rising"):
        Profile(current=0, versions=tree["versions"][::-1])
    with pytest.raises(ConfigError, match="no version 500"):
        Profile(current=500, versions=tree["versions"])
    assert Changes(profiles={"feed": profile}).profile("feed") == profile
    with pytest.raises(ConfigError, match="must be at most"):
        Bounds(min=2.0, max=1.0)
