"""A second version is compared, and never touches an answer."""

from __future__ import annotations

import hashlib
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from polyrank.scoring import Scorer
from polyrank.scoring.engines import Predictions
from polyrank.serving.errors import RequestError
from polyrank.serving.models import Catalog, CatalogSettings, Comparison, GateProcess, Served
from polyrank.serving.models.comparison import Latencies, overlap
from polyrank.serving.models.drift import spearman
from polyrank.serving.models.shadowing import MAX_ERRORS, Background, Shadowing
from tests.serving.models import worlds

IDS = [f"request-{number}" for number in range(400)]
ROWS = worlds.rows(12)


def scored(served: Served) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The clicks of some candidates."""
    found: np.ndarray[tuple[int], np.dtype[np.float64]]
    found = served.scorer.score(ROWS)["predicted_click"].to_numpy()
    return found


def timed(served: Served) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    """The same, of a version that takes a hundredth of a second for each of its number."""
    return scored(served), 0.01 * int(served.version)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2; each test sets values of its own beside a copy of the link."""
    home = tmp_path_factory.mktemp("versions")
    for number in (1, 2):
        worlds.save(worlds.bundle(seed=number), home / str(number))
    return home


@pytest.fixture
def catalog(tmp_path: Path, versions: Path, process: GateProcess) -> Iterator[Catalog]:
    (tmp_path / "m").symlink_to(versions)
    with Catalog({"m": tmp_path / "m"}, process=process) as found:
        found.pin("m", "1")
        yield found


def until(what: object, seconds: float = 20.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    assert callable(what)
    while not what():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_requests_are_chosen_by_their_names_and_what_the_second_version_holds(
    catalog: Catalog,
) -> None:
    shadow = catalog.shadow("m", "2", 0.3)
    salt = shadow.second.content.encode() + b"\n"
    digests = {each: hashlib.blake2b(salt + each.encode(), digest_size=8) for each in IDS}
    places = {each: int(digest.hexdigest(), 16) / 2**64 for each, digest in digests.items()}
    assert {each for each in IDS if shadow.chosen(each)} == {i for i in IDS if places[i] < 0.3}
    everything = replace(shadow, share=1.0)
    assert all(everything.chosen(each) for each in [*IDS, "", "\ud800"])


def test_a_shadow_answers_nothing_and_is_compared(catalog: Catalog) -> None:
    shadow = catalog.shadow("m", "2", 0.5)
    picked = [each for each in IDS[:20] if shadow.chosen(each)]
    for each in IDS[:20]:
        served = catalog.take("m", request_id=each)
        assert served.version == "1"
        shadow.compare(each, served, timed)
    until(lambda: shadow.summary()["score_correlation"]["count"] == len(picked))
    found = shadow.summary()
    one, two = (scored(catalog.take("m", version)) for version in ("1", "2"))
    assert found["score_correlation"]["mean"] == pytest.approx(spearmanr(one, two).statistic)
    best = [set(np.argsort(-values)[:10]) for values in (one, two)]
    assert found["top_10_overlap"]["least"] == pytest.approx(len(best[0] & best[1]) / 10)
    assert found["latency_ratio"]["p50"] == pytest.approx(2.0, rel=0.13)
    assert (found["errors"], found["skipped"], found["halted"]) == ({}, 0, False)
    assert catalog.status()["m"]["shadow"]["second"] == "2"


def test_a_canary_answers_its_share_until_it_fails_too_often(catalog: Catalog) -> None:
    canary = catalog.shadow("m", "2", 0.3, "canary")
    by = {each: catalog.take("m", request_id=each).version for each in IDS}
    assert {each for each in IDS if by[each] == "2"} == {e for e in IDS if canary.chosen(e)}
    assert catalog.take("m").version == "1"
    [first, *_] = [each for each in IDS if by[each] == "2"]
    served = catalog.take("m", request_id=first)
    canary.compare(first, served, timed)
    until(lambda: canary.summary()["score_correlation"]["count"] == 1)
    assert canary.summary()["latency_ratio"]["p50"] == pytest.approx(2.0, rel=0.13)
    for _ in range(MAX_ERRORS):
        canary.failed("RuntimeError")
    assert catalog.take("m", request_id=first).version == "1"
    assert canary.summary()["halted"]


def test_a_failing_or_slow_shadow_touches_no_answer(catalog: Catalog) -> None:
    shadow = catalog.shadow("m", "2", 1.0)
    served = catalog.take("m")
    goes_on, began = threading.Event(), threading.Event()

    def failing(by: Served) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
        if by.version == which:
            raise KeyError(by.version)
        return np.arange(3.0), 0.01

    def slow(_: Served) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
        began.set()
        goes_on.wait(20.0)
        return np.arange(3.0), 0.01

    which = "2"
    shadow.compare("a", served, failing)
    until(lambda: shadow.summary()["errors"] == {"KeyError": 1})
    which = "1"
    shadow.compare("a", served, failing)
    until(lambda: shadow.summary()["skipped"] == 1)
    assert shadow.comparison.errors == 1
    shadow.compare("b", served, slow)
    until(began.is_set)
    before = time.monotonic()
    for each in IDS[:100]:
        shadow.compare(each, served, slow)
    assert time.monotonic() - before < 2.0
    assert shadow.summary()["skipped"] == 1 + 100 - CatalogSettings().shadow_queue
    shadow.close()
    goes_on.set()
    shadow.background._thread.join(20.0)
    assert not shadow.background._thread.is_alive()
    assert shadow.summary()["score_correlation"]["count"] <= 1


class Panic(BaseException):
    """What runtimes in Rust throw, such as ``pyo3_runtime.PanicException``."""


class Foreign:
    """An engine of somebody else, which throws what it likes."""

    name, precision = "foreign", "fp32"

    def __init__(self, thrown: type[BaseException]) -> None:
        self.thrown = thrown

    def predict(self, *_: object, **__: object) -> Predictions:
        """Throws, with what a client sent."""
        raise self.thrown("what a client sent")


@pytest.mark.parametrize("failing", ["1", "2"])
def test_a_foreign_engine_may_throw_anything(
    catalog: Catalog, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shadow = catalog.shadow("m", "2", 1.0)
    served = catalog.take("m")
    thrown: list[type[BaseException]] = [Panic, Exception, SystemExit, GeneratorExit, Panic, Panic]
    engines = [Foreign(each) for each in thrown]

    def score(by: Served) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
        if by.version == failing and engines:
            Scorer(by.bundle, engines.pop(0)).score(ROWS)
        return timed(by)

    for each in range(len(thrown) + 1):
        shadow.compare(str(each), served, score)
    until(lambda: shadow.summary()["score_correlation"]["count"] == 1)
    found = shadow.summary()
    counted = {"Panic": 3, "Exception": 1, "SystemExit": 1, "GeneratorExit": 1}
    assert (found["errors"], found["skipped"]) == (
        ({}, len(thrown)) if failing == "1" else (counted, 0)
    )
    told = capsys.readouterr().err.splitlines()
    assert [next(kind for kind in counted if kind in line) for line in told] == list(counted)
    assert all(f"version {failing}" in line and "client sent" not in line for line in told)


def test_promotion_survives_a_restart_and_cancelling_changes_nothing(
    catalog: Catalog, tmp_path: Path, process: GateProcess
) -> None:
    catalog.shadow("m", "2", 0.1)
    assert catalog.cancel("m")["share"] == 0.1
    assert (catalog.take("m").version, catalog.shadowing("m")) == ("1", None)
    with pytest.raises(RequestError, match="nothing is compared") as error:
        catalog.promote("m")
    assert error.value.status == 404
    with pytest.raises(RequestError, match="nothing is compared"):
        catalog.cancel("m")
    first = catalog.shadow("m", "2", 0.1)
    second = catalog.shadow("m", "2", 0.2)
    assert first.background._closed.is_set()
    assert catalog.promote("m")["share"] == second.share
    assert (catalog.take("m").version, catalog.shadowing("m")) == ("2", None)
    catalog.pin("m", "1")
    catalog.shadow("m", "2", 0.1)
    with Catalog({"m": tmp_path / "m"}, process=process) as again:
        assert again.take("m").version == "1"
    assert catalog.pin("m", None).version == "2"


def test_what_cannot_be_compared_is_refused(catalog: Catalog) -> None:
    for version, share, status in (
        ("1", 0.1, 400),
        ("2", 0.0, 400),
        ("2", 1.1, 400),
        ("9", 1, 404),
    ):
        with pytest.raises(RequestError) as error:
            catalog.shadow("m", version, share)
        assert error.value.status == status
    with pytest.raises(RequestError) as error:
        catalog.pin("m", "9")
    assert error.value.status == 404


def test_a_comparison_outlives_value_models_but_no_other_bundle(catalog: Catalog) -> None:
    began = catalog.shadow("m", "2", 1.0)
    tree = {"kind": "weighted_sum", "terms": {"like": 1.0}}
    served = catalog.set_value_model("m", "feed", tree, by="ann")
    shadow = catalog.shadowing("m")
    assert shadow is not None
    assert shadow.comparison is began.comparison
    assert shadow.second.values["feed"] == 1
    shadow.compare("a", began.primary, timed)  # of a pair that is gone
    shadow.compare("b", served, timed)
    until(lambda: shadow.summary()["score_correlation"]["count"] == 1)
    catalog.pin("m", "2")
    assert catalog.shadowing("m") is None


def test_every_version_can_be_shadowed_without_a_catalog(catalog: Catalog) -> None:
    one, two = catalog.take("m", "1"), catalog.take("m", "2")
    shadow = Shadowing.start(one, two, 1.0, "canary")
    assert shadow.pick("any") is two
    shadow.close()


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), min_size=2
    ).filter(lambda pairs: len({a for a, _ in pairs}) > 1 and len({b for _, b in pairs}) > 1)
)
def test_rank_correlation_is_scipys(pairs: list[tuple[float, float]]) -> None:
    a_N, b_N = np.array(pairs).T
    assert spearman(a_N, b_N) == pytest.approx(spearmanr(a_N, b_N).statistic, abs=1e-12)


def test_what_is_undefined_is_counted_as_such() -> None:
    comparison = Comparison(top_k=2)
    comparison.add(np.ones(3), np.arange(3.0), 0.1, 0.2)
    comparison.add(np.empty(0), np.empty(0), 0.1, 0.2)
    found = comparison.summary()
    assert found["score_correlation"] == {"mean": None, "least": None, "count": 0, "undefined": 2}
    assert found["top_2_overlap"]["undefined"] == 1
    assert found["latency_ratio"]["p50"] == pytest.approx(2.0, rel=0.13)
    assert Comparison().summary()["latency_ratio"] == {"p50": None, "p99": None}
    assert overlap(np.array([1.0, np.nan, 0.5]), np.array([0.5, 2.0, 1.0]), 2) == 0.5


def test_what_waits_to_be_compared_is_bounded_in_bytes() -> None:
    """Let go of once it is done; one that is larger than all there may be waits by itself."""
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    done = list[str]()

    class Request:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self) -> None:
            begun.release()
            assert go_on.acquire(timeout=20)
            done.append(self.name)

    background = Background(size=64, failed=lambda _: None, num_bytes=100)
    assert background.offer(Request("first"), 60)
    assert begun.acquire(timeout=20)
    assert not background.offer(Request("too much"), 41)
    assert background.offer(Request("second"), 40)
    assert not background.offer(Request("too much"), 1)
    last = Request("nothing")
    kept = weakref.ref(last)
    assert background.offer(last, 0)
    del last
    for _ in range(3):
        go_on.release()
    for _ in range(2):
        assert begun.acquire(timeout=20)
    for _ in range(2000):  # until it says that nothing is held
        if kept() is None and background.offer(Request("large"), 101):
            break
        time.sleep(0.005)
    assert begun.acquire(timeout=20)
    go_on.release()
    background.close()
    assert done[:3] == ["first", "second", "nothing"]


def test_memory_is_bounded() -> None:
    comparison = Comparison()
    for number in range(100):
        comparison.error(f"kind {number}")
    assert comparison.errors == 100
    assert len(comparison.summary()["errors"]) == 17


@settings(max_examples=30)
@given(st.lists(st.floats(1e-6, 900.0), min_size=1, max_size=50), st.sampled_from([0.5, 0.99]))
def test_quantiles_of_latencies_are_right_to_a_bucket(values: list[float], share: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert latencies.quantile(share) == pytest.approx(exact, rel=0.13)
