"""polyrank's side of scoring_latency.py: one engine, candidates of one user, encoded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "peers")]

import torch  # noqa: E402
from timing import tell, timed  # noqa: E402

import scoring_fixture  # noqa: E402
from polyrank.model import RankingModel  # noqa: E402
from polyrank.scoring.engines import CompiledEngine, Engine, OnnxEngine, TorchEngine, UserRows  # noqa: E402
from polyrank.scoring.export.int8_tables import take_tables, with_int8_tables  # noqa: E402
from polyrank.scoring.export.network import Inputs  # noqa: E402
from polyrank.scoring.export.parity import compare_predictions  # noqa: E402


def engine_of(model: RankingModel, name: str, precision: str, graph: Path, threads: int) -> Engine:
    """One engine of the fixture's network, whose exported graph is kept at ``graph``."""
    inputs = Inputs(model.layout)
    if name == "eager":
        return TorchEngine(model)
    if name == "compiled":
        return CompiledEngine(model, inputs, precision=precision)
    if not graph.exists():
        from polyrank.scoring.export.onnx_file import graph_of

        graph.write_bytes(graph_of(model, inputs))
    content, tables = graph.read_bytes(), None
    if precision != "fp32":
        from polyrank.scoring.export.int8 import quantised

        content = quantised(content, model, inputs, scoring_fixture.rows(2000, seed=1))
    if precision == "int8_tables":
        content, tables = with_int8_tables(content, model)
        take_tables(model)
    return OnnxEngine(model, inputs, content, threads=threads, precision=precision, tables=tables)


def table_bytes(model: RankingModel, engine: Engine) -> int:
    """Of the embedding tables, the engine's and the model's."""
    own = engine.table_bytes if isinstance(engine, OnnxEngine) else 0
    return own + sum(table.nbytes for table in model.tables_of_inputs())


def resident_bytes() -> int:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def products(threads: int) -> float:
    """GFLOP/s of the first layer's product, measured here and now."""
    torch.set_num_threads(threads)
    x, weight = torch.randn(1024, 432), torch.randn(2048, 432)
    best = float("inf")
    for _ in range(20):
        start = time.process_time() if threads == 1 else time.perf_counter()
        torch.nn.functional.linear(x, weight)
        end = time.process_time() if threads == 1 else time.perf_counter()
        best = min(best, end - start)
    return 2 * 1024 * 432 * 2048 / best / 1e9


def main() -> None:
    """Arguments: engine, precision, graph, threads, turns, numbers of candidates."""
    name, precision, graph = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    threads, turns = int(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(threads)
    model = scoring_fixture.model()
    engine = engine_of(model, name, precision, graph, threads)
    found: dict[str, object] = {
        "table_bytes": table_bytes(model, engine),
        "resident_bytes": resident_bytes(),
    }
    for count in map(int, sys.argv[6:]):
        batch = scoring_fixture.rows(count)
        users = UserRows.shared(batch.slice(0, 1), count)
        found[str(count)] = timed(lambda b=batch, u=users: engine.predict(b, users=u), turns)
    batch = scoring_fixture.rows(1000, seed=2)
    users = UserRows.shared(batch.slice(0, 1), 1000)
    reference = TorchEngine(scoring_fixture.model()).predict(batch, users=users)
    parity = compare_predictions(reference, engine.predict(batch, users=users), on="1,000 rows")
    found["parity"] = {task: own.model_dump() for task, own in parity.tasks.items()}
    found["gflops"] = products(threads)
    tell(found)


if __name__ == "__main__":
    main()
