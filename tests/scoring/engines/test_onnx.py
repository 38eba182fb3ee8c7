"""ONNX Runtime: what eager torch predicts, in bits that depend on a row and its user alone."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.bundle import Bundle, save_bundle
from polyrank.data import Batch, Encoders, Reader, open_log
from polyrank.errors import ConfigError
from polyrank.model import RankingModel
from polyrank.scoring import Scorer
from polyrank.scoring.engines import (
    BLOCK_ROWS,
    Engine,
    OnnxEngine,
    Precision,
    Predictions,
    TorchEngine,
    UserRows,
    choose,
    graphs,
)
from polyrank.scoring.engines.base import joined
from polyrank.scoring.engines.onnx import session_of
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.int8 import quantised, quantised_by
from polyrank.scoring.export.made_up import made_up
from polyrank.scoring.export.parity import compare_predictions
from polyrank.scoring.export.write import export_bundle
from tests import feeds

ROWS = BLOCK_ROWS + 100
TASKS = ("click", "watch_time")
PLACES = torch.arange(500) % 7


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The feed's features with two of its tasks, since every task takes time to export."""
    whole = feeds.bundle()
    tasks = tuple(task for task in whole.schema.tasks if task.name in TASKS)
    schema = whole.schema.model_copy(update={"tasks": tasks})
    encoders = Encoders.fit(schema, Reader(open_log(feeds.log()), schema).chunks("all"))
    model = RankingModel(schema, encoders.layout, feeds.MODEL, seed=1).eval()
    return replace(whole, schema=schema, encoders=encoders, model=model, network="0123" * 16)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYRANK_CACHE", str(home))
        yield home


@pytest.fixture(scope="module")
def batch(bundle: Bundle) -> Batch:
    return made_up(bundle.encoders, ROWS)


@pytest.fixture(scope="module")
def engines(bundle: Bundle) -> list[OnnxEngine]:
    """With one thread, exported; with two, from the cache."""
    made = [choose(bundle, "onnx", threads=threads) for threads in (1, 2)]
    return [engine for engine in made if isinstance(engine, OnnxEngine)]


@pytest.fixture(scope="module")
def whole(engines: list[OnnxEngine], batch: Batch) -> Predictions:
    return engines[0].predict(batch)


def _same(found: Predictions, want: Predictions, rows: slice | np.ndarray) -> bool:
    return all(np.array_equal(found[task], want[task][rows]) for task in want)


def test_it_predicts_what_eager_torch_predicts(
    bundle: Bundle, batch: Batch, engines: list[OnnxEngine]
) -> None:
    rows = batch.slice(0, 300)
    want = TorchEngine(bundle.model).predict(rows)
    found = engines[0].predict(rows)
    assert found.keys() == want.keys()
    for task, value in want.items():
        assert value.dtype == found[task].dtype == np.float64
        assert np.abs(found[task] - value).max() <= 1e-6 * max(1.0, np.abs(value).max())


def test_a_row_has_the_same_bits_in_every_batch(
    engines: list[OnnxEngine], batch: Batch, whole: Predictions
) -> None:
    for engine in engines:
        for size in (0, 1, 2, 3, 5, 17, 33, 100, BLOCK_ROWS, ROWS):
            assert _same(engine.predict(batch.slice(0, size)), whole, slice(0, size)), size


@settings(max_examples=15)
@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=70))
def test_a_row_has_the_same_bits_at_every_place(
    engines: list[OnnxEngine], batch: Batch, whole: Predictions, rows: list[int]
) -> None:
    found = engines[1].predict(batch.take(torch.tensor(rows)))
    assert _same(found, whole, np.array(rows))


@settings(max_examples=15)
@given(size=st.integers(1, 300), num_users=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_row_has_the_same_bits_whoever_shares_its_user(
    bundle: Bundle,
    engines: list[OnnxEngine],
    batch: Batch,
    size: int,
    num_users: int,
    seed: int,
) -> None:
    """Users without rows, one user for all, and a user a row; eager torch, too."""
    torch.manual_seed(seed)
    users = UserRows(
        batch=batch.slice(700, 700 + num_users), row_N=torch.randint(0, num_users, (size,))
    )
    rows = batch.slice(seed, seed + size)
    full = joined(rows, users, bundle.model.layout)
    tried: list[Engine] = [*engines, TorchEngine(bundle.model)]
    for engine in tried:
        assert _same(engine.predict(rows, users=users), engine.predict(full), slice(None))


def test_users_are_cut_with_the_rows_of_a_large_batch(
    engines: list[OnnxEngine], batch: Batch, whole: Predictions
) -> None:
    users = UserRows(batch=batch, row_N=torch.arange(ROWS))
    assert _same(engines[0].predict(batch, users=users), whole, slice(None))


def test_a_scorer_scores_with_it(bundle: Bundle, engines: list[OnnxEngine]) -> None:
    eager, onnx = (
        Scorer(bundle, engine).score(feeds.log().slice(0, 200)) for engine in (None, engines[0])
    )
    assert eager.column_names == onnx.column_names
    for name in (name for name in onnx.column_names if name.startswith("predicted_")):
        want = eager[name].to_numpy()
        assert np.abs(onnx[name].to_numpy() - want).max() <= 1e-6 * max(1.0, np.abs(want).max())


def test_an_engine_that_nobody_holds_is_gone_at_once(
    bundle: Bundle, engines: list[OnnxEngine], batch: Batch
) -> None:
    """A server replaces engines: what Python would have to look for stays for hours."""
    gc.collect()
    gc.disable()
    try:
        engine = choose(bundle, "onnx", threads=1)
        engine.predict(batch.slice(0, 3))
        held = weakref.ref(engine)
        del engine
        assert held() is None
    finally:
        gc.enable()


def test_the_network_is_exported_once(
    bundle: Bundle, engines: list[OnnxEngine], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> bytes:
        raise AssertionError("exported again")

    assert len(list((cache / "engines").iterdir())) == 1
    assert graphs.keep_graph(bundle.network, "fp32", refuse) == graphs.find_graph(
        bundle.network, "fp32"
    )
    assert graphs.find_graph("", "fp32") is None
    assert graphs.find_graph("another", "fp32") is None


def test_an_altered_network_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYRANK_CACHE", str(tmp_path))
    assert graphs.keep_graph("version", "fp32", lambda: b"first") == b"first"
    (file,) = tmp_path.rglob("graph.onnx")
    file.write_bytes(b"other")
    assert graphs.find_graph("version", "fp32") is None
    assert graphs.keep_graph("version", "fp32", lambda: b"second") == b"second"
    assert graphs.find_graph("version", "fp32") == b"second"


def test_a_disk_that_refuses_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("POLYRANK_CACHE", str(tmp_path / "file"))
    assert graphs.keep_graph("version", "fp32", lambda: b"first") == b"first"
    assert graphs.find_graph("version", "fp32") is None


def test_the_cache_stands_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLYRANK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert graphs.home() == tmp_path / "polyrank" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert graphs.home() == Path.home() / ".cache" / "polyrank" / "engines"


def test_int8_keeps_the_order_and_the_bits(bundle: Bundle, batch: Batch) -> None:
    rows = batch.slice(0, 500)
    assert choose(bundle, "onnx", precision="int8", rows=rows).precision == "int8"
    graph, inputs = graphs.find_graph(bundle.network, "fp32"), inputs_of(bundle)
    assert graph is not None
    small = quantised(graph, bundle.model, inputs, rows, least=8)
    engine = OnnxEngine(bundle.model, inputs, small, threads=2, precision="int8")
    reference, found = TorchEngine(bundle.model).predict(rows), engine.predict(rows)
    told = compare_predictions(reference, found, on="rows")
    assert all(0 < task.relative < 0.03 for task in told.tasks.values())
    assert all(task.rank_correlation > 0.99 for task in told.tasks.values())
    for size in (1, 3, 17, 100):
        assert _same(engine.predict(rows.slice(0, size)), found, slice(0, size)), size
    for shared in (UserRows.shared(rows.slice(3, 4), 500), UserRows(batch=rows, row_N=PLACES)):
        full = joined(rows, shared, bundle.model.layout)
        alone = OnnxEngine(bundle.model, inputs, small, threads=1, precision="int8")
        assert _same(engine.predict(rows, users=shared), alone.predict(full), slice(None))


def test_tables_in_int8_take_the_place_of_the_bundles(
    bundle: Bundle, batch: Batch, engines: list[OnnxEngine], tmp_path: Path
) -> None:
    del engines  # made, so that the network is ready
    rows, own = batch.slice(0, 500), replace(bundle, model=deepcopy(bundle.model))
    before = sum(table.nbytes for table in own.model.tables_of_inputs())
    want = choose(bundle, "onnx", precision="int8", rows=rows).predict(rows)
    engine = choose(own, "onnx", precision="int8_tables", rows=rows)
    assert isinstance(engine, OnnxEngine)
    assert engine.precision == "int8_tables"
    width = own.model.tables()[0].dim
    assert sum(table.nbytes for table in own.model.tables_of_inputs()) == 0
    assert engine.table_bytes == before * (width + 1) / width / 4
    found = engine.predict(rows)
    told = compare_predictions(want, found, on="rows")
    assert all(0 < task.relative < 0.01 for task in told.tasks.values())
    for size in (1, 3, 17, 100):
        assert _same(engine.predict(rows.slice(0, size)), found, slice(0, size)), size
    for use in (
        lambda: choose(own),
        lambda: own.model.predict(rows),
        lambda: save_bundle(own, tmp_path / "bundle"),
    ):
        with pytest.raises(ConfigError, match="8 bits"):
            use()


# Choosing.


def test_auto_takes_what_is_ready_and_fast(bundle: Bundle, engines: list[OnnxEngine]) -> None:
    del engines  # made, so that the network is ready
    assert choose(bundle).name in ("eager", "onnx")
    assert choose(replace(bundle, network="")).name == "eager"
    assert choose(bundle, "eager").precision == "fp32"


@pytest.mark.parametrize(
    "precision", [pytest.param("int8", marks=pytest.mark.nightly), "int8_tables"]
)
def test_a_file_in_less_precision_predicts_what_the_engine_predicts(
    bundle: Bundle,
    batch: Batch,
    engines: list[OnnxEngine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
) -> None:
    """In plain ONNX Runtime, and says beside it how far that is off; the bundle stays whole."""
    del engines  # made, so that the network is ready
    monkeypatch.setattr(quantised_by, "__kwdefaults__", {"least": 8})  # the feed's are narrow
    monkeypatch.setattr(quantised, "__kwdefaults__", {"least": 8})
    rows, own = batch.slice(0, 300), replace(bundle, model=deepcopy(bundle.model))
    parity = export_bundle(bundle, tmp_path / "x", "onnx", rows, on="rows", precision=precision)
    session = session_of((tmp_path / "x" / "model.onnx").read_bytes(), 1)
    given = inputs_of(bundle).of(rows, None)
    feed = {each.name: given[each.name].numpy() for each in session.get_inputs()}
    found = dict(zip(TASKS, session.run(list(TASKS), feed), strict=True))
    want = choose(own, "onnx", precision=precision).predict(rows)
    assert compare_predictions(want, found, on="rows").worst <= 1e-6
    told = compare_predictions(TorchEngine(bundle.model).predict(rows), found, on="rows")
    assert parity.tasks == told.tasks
    assert 1e-5 < parity.worst < 0.05
    beside = json.loads((tmp_path / "x" / "parity.json").read_bytes())
    assert (beside["precision"], beside["engine"]) == (precision, "onnx")
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["polyrank.precision"] == precision
    assert meta["polyrank.bundle"] == bundle.version


@pytest.mark.parametrize(
    ("name", "precision", "told"),
    [("eager", "int8", "int8: onnx"), ("onnx", "bf16", "bf16: compiled")],
)
def test_a_precision_that_an_engine_lacks_is_refused(
    bundle: Bundle, name: str, precision: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        choose(bundle, name, precision=precision)  # type: ignore[arg-type]


def test_without_onnx_runtime_it_is_eager_torch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert choose(bundle).name == "eager"
    told = r"engine: needs onnxruntime.* pip install 'polyrank\[export\]'; or use 'eager'"
    with pytest.raises(ConfigError, match=told):
        choose(bundle, "onnx")
    with pytest.raises(ConfigError, match=told):
        OnnxEngine(bundle.model, inputs_of(bundle), b"")
