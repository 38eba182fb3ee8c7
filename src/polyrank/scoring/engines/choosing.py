"""Choosing an engine by what is installed and what is fast, measured when it is loaded."""

from __future__ import annotations

import time
from typing import Literal

from polyrank.bundle import Bundle
from polyrank.data import Batch
from polyrank.errors import ConfigError
from polyrank.installed import missing
from polyrank.scoring.engines.base import Engine, UserRows
from polyrank.scoring.engines.compiled import CompiledEngine
from polyrank.scoring.engines.eager import TorchEngine
from polyrank.scoring.engines.graphs import find_graph, keep_graph
from polyrank.scoring.engines.onnx import OnnxEngine, require_runtime
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.int8_tables import require_tables, take_tables, with_int8_tables
from polyrank.scoring.export.made_up import made_up

EngineName = Literal["auto", "eager", "onnx", "compiled"]
Precision = Literal["fp32", "bf16", "int8", "int8_tables"]
PRECISIONS: dict[str, tuple[Precision, ...]] = {
    "auto": ("fp32",),
    "eager": ("fp32",),
    "onnx": ("fp32", "int8", "int8_tables"),
    "compiled": ("fp32", "bf16"),
}
"""Those that an engine has. Only fp32 ranks as the bundle was evaluated; see ``export.parity``."""
CALIBRATED_ON = 2000
"""Made-up rows, where none are recorded."""
ROWS, TURNS = 200, 5
"""How many made-up candidates of one user are scored, and how often, to tell which is faster."""


def choose(
    bundle: Bundle,
    name: EngineName = "auto",
    *,
    precision: Precision = "fp32",
    threads: int | None = None,
    rows: Batch | None = None,
) -> Engine:
    """An engine for a bundle.

    Args:
        bundle: The model.
        name: Which one; ``auto``: the faster of eager torch and ONNX Runtime on a few made-up
            candidates, where the latter is installed and the bundle's network is ready on this
            machine, as it is once ``onnx`` was asked for. Nothing is exported for ``auto``, so it
            takes less than a second.
        precision: ``fp32``, or less: of ``compiled`` bf16, of ``onnx`` int8, or int8_tables:
            embedding tables in 8 bits, too, about a quarter of the bytes. The bundle's own are then
            let go of: it can be neither saved nor given another engine.
        threads: Of the engine; null: as torch.
        rows: Recorded ones, by which int8 fixes its ranges; null: rows are made up.

    Raises:
        ConfigError: The engine is not installed, has no such precision, or cannot run the network;
            or the bundle's tables were let go of.
    """
    require_tables(bundle.model)
    check_precision(name, precision)
    if name == "auto":
        return _fastest(bundle, threads)
    if name == "onnx":
        return _onnx(bundle, precision, threads, rows)
    if name == "compiled":
        return CompiledEngine(bundle.model, inputs_of(bundle), precision=precision)
    return TorchEngine(bundle.model)


def check_precision(name: EngineName, precision: Precision) -> None:
    """Refuse a precision that an engine does not have.

    Raises:
        ConfigError: With those it has, and which engine has this one.
    """
    if precision not in PRECISIONS[name]:
        able = [other for other, known in PRECISIONS.items() if precision in known]
        raise ConfigError(
            f"engine {name!r} has no precision {precision!r}",
            hint=f"It has {', '.join(PRECISIONS[name])}; {precision}: {', '.join(able)}.",
        )


def _onnx(
    bundle: Bundle, precision: Precision, threads: int | None, rows: Batch | None
) -> OnnxEngine:
    inputs = inputs_of(bundle)

    def make() -> bytes:
        from polyrank.scoring.export.onnx_file import graph_of

        return graph_of(bundle.model, inputs)

    require_runtime()
    graph = keep_graph(bundle.network, "fp32", make)
    tables = None
    if precision != "fp32":
        from polyrank.scoring.export.int8 import quantised

        rows = made_up(bundle.encoders, CALIBRATED_ON) if rows is None else rows
        graph = quantised(graph, bundle.model, inputs, rows)
    if precision == "int8_tables":
        graph, tables = with_int8_tables(graph, bundle.model)
        take_tables(bundle.model)
    return OnnxEngine(
        bundle.model, inputs, graph, threads=threads, precision=precision, tables=tables
    )


def _fastest(bundle: Bundle, threads: int | None) -> Engine:
    eager = TorchEngine(bundle.model)
    ready = not missing("onnxruntime") and find_graph(bundle.network, "fp32")
    if not ready:
        return eager
    onnx = OnnxEngine(bundle.model, inputs_of(bundle), ready, threads=threads)
    rows = made_up(bundle.encoders, ROWS)
    users = UserRows.shared(rows.slice(0, 1), ROWS)

    def seconds(engine: Engine) -> float:
        engine.predict(rows, users=users)
        taken = []
        for _ in range(TURNS):
            start = time.perf_counter()
            engine.predict(rows, users=users)
            taken.append(time.perf_counter() - start)
        return min(taken)

    tried: list[Engine] = [onnx, eager]
    return min(tried, key=seconds)
