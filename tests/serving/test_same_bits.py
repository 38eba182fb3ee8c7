"""A row has the same bits in a file, in a ranking and as tensors: at every size and every place.

By the other engine at night, since its network takes long to export; that its bits do not depend
on the batch, ``tests/scoring/engines`` says. Of a real log, ``test_same_bits_kuairand.py`` says all
of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from polyrank.bundle import Bundle, save_bundle
from polyrank.cli import main
from polyrank.data import Encoders, Reader, open_log
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.scoring import PREFIX
from polyrank.sharing import SharedBottom
from tests import feeds
from tests.serving.server import Server, running
from tests.serving.tensors import infer

N = 33
"""Rows of one user: two more than a multiple of what matrix products take at once."""
USER = ("user_activity", "user_history")
ITEM = ("item_id", "item_category", "item_length_s", "hour")
TASK = "click"
MODEL = ModelConfig(embedding_dim=8, sharing=SharedBottom(widths=(16,)), towers=Towers(widths=()))


def bundle() -> Bundle:
    """Few features and one task, since every operation takes time to export."""
    whole = feeds.schema()
    schema = whole.model_copy(
        update={
            "features": tuple(f for f in whole.features if f.column in (*USER, *ITEM)),
            "tasks": tuple(task for task in whole.tasks if task.name == TASK),
        }
    )
    encoders = Encoders.fit(schema, Reader(open_log(feeds.log()), schema).chunks("all"))
    model = RankingModel(schema, encoders.layout, MODEL, seed=1).eval()
    return replace(
        feeds.bundle(), schema=schema, encoders=encoders, model=model, model_config=MODEL
    )


@dataclass(frozen=True)
class World:
    """Rows as columns, what ``polyrank score`` makes of them, and a server of the same bundle."""

    rows: dict[str, list[Any]]
    offline_N: NDArray[np.float64]
    server: Server


def _rows() -> pa.Table:
    """An item nobody saw, numbers and categories that are missing; one user with a history."""
    table = feeds.log().select([*USER, *ITEM]).slice(20, N)
    columns = table.to_pydict()
    columns |= {name: [columns[name][-1]] * N for name in USER}
    assert len(columns["user_history"][0]) > 2
    columns["item_id"][4] = 2**40
    for name, every in (("item_category", 7), ("item_length_s", 5)):
        columns[name] = [None if at % every == 1 else it for at, it in enumerate(columns[name])]
    return pa.table(columns, table.schema)


@pytest.fixture(scope="module", params=["eager", pytest.param("onnx", marks=pytest.mark.nightly)])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    home: Path = tmp_path_factory.mktemp("same")
    engine = str(request.param)
    save_bundle(bundle(), home / "feed")
    rows = _rows()
    pq.write_table(rows, home / "rows.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYRANK_CACHE", str(home))
        words = ("score", home / "feed", home / "rows.parquet", home / "scored.parquet")
        assert main([*map(str, words), "--engine", engine]) == 0
        offline_N = pq.read_table(home / "scored.parquet")[PREFIX + TASK].to_numpy()
        with running({"feed": home / "feed"}, engine=engine) as server:
            yield World(rows.to_pydict(), offline_N, server)


def test_a_ranking_of_every_size_has_the_bits_of_the_file(world: World) -> None:
    """Each list starts elsewhere and is shuffled, so that rows stand at other places."""
    assert len(np.unique(world.offline_N)) > N / 2
    rng = np.random.default_rng(0)
    for size in range(1, N + 1):
        places = rng.permutation(N)[:size]
        candidates = [
            {"id": world.rows["item_id"][at], "features": {n: world.rows[n][at] for n in ITEM[1:]}}
            for at in places
        ]
        user = {"features": {name: world.rows[name][0] for name in USER}}
        told = world.server.rank({"user": user, "candidates": candidates})["candidates"]
        assert {each["index"] for each in told} == set(range(size))
        for each in told:
            at = places[each["index"]]
            assert each["predictions"][TASK].hex() == float(world.offline_N[at]).hex(), size


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_tensors_of_every_size_have_the_bits_of_the_file(world: World, binary: bool) -> None:
    """The protocol has no null: rows that lack nothing are asked for."""
    whole = np.array(
        [at for at in range(N) if all(world.rows[name][at] is not None for name in ITEM)]
    )
    assert N / 2 < len(whole) < N
    kinds = {e["name"]: e["datatype"] for e in world.server.ask("GET", "/v2/models/feed")["inputs"]}
    rng = np.random.default_rng(1)
    for size in range(1, len(whole) + 1):
        places = rng.permutation(whole)[:size]
        tensors: list[tuple[str, str, list[int], list[Any]]] = []
        for name in (*USER, *ITEM):
            values = [world.rows[name][at] for at in places]
            if name == "user_history":
                lengths = [len(own) for own in values]
                tensors.append((f"{name}.lengths", "INT64", [size], lengths))
                values = [item for own in values for item in own]
            tensors.append((name, kinds[name], [len(values)], values))
        found = infer(world.server.client, "feed", tensors, [TASK], binary=binary)[TASK]
        assert found.tobytes() == world.offline_N[places].tobytes(), size
