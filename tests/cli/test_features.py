"""``polyrank features load``: from a bundle to a store that a server can open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.serving.deadline import Deadline
from polyrank.serving.features import Provider, store_settings
from tests import feeds
from tests.cli.workbench import run, succeed
from tests.serving.features import world


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "bundle"
    save_bundle(feeds.bundle(joined=True), path)
    return path


def _served(store: str) -> pa.Table:
    """The items as a server has them that reads ``store``."""
    found = feeds.bundle(joined=True)
    provider = Provider.open(found.schema, found.tables, {"items": store_settings(store)})
    items = feeds.items()
    completed = provider.complete(items.select(["item_id"]), Deadline.never())
    provider.close()
    assert completed.known["items"].all()
    return completed.table.select(items.column_names)


def test_a_store_is_filled_and_filled_again(bundle: Path, tmp_path: Path) -> None:
    rows = feeds.items().num_rows
    for name in ("items.sqlite", "items.lmdb"):
        store = str(tmp_path / name)
        told = succeed("features", "load", str(bundle), "--to", store)
        assert told == f"{rows} rows of side table 'items' loaded into {name.partition('.')[2]}\n"
        assert _served(store).equals(feeds.items())
    other = feeds.items()
    place = other.column_names.index("item_age_days")
    other = other.set_column(place, "item_age_days", pc.negate(other["item_age_days"]))
    pq.write_table(other, tmp_path / "new.parquet")
    table = f"items={tmp_path / 'new.parquet'}"
    succeed("features", "load", str(bundle), "--to", store, "--table", table, "--only", "items")
    assert _served(store).equals(other)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--to", "redi://:hush@host"], 2, "--to: store: must be `memory`, a file that ends in"),
        (["--to", "redis://:hush@host/x"], 2, "the address of a Redis server cannot be read"),
        (["--to", "memory"], 2, "filled when the server starts"),
        (["--to", "redis://:hush@127.0.0.1:1"], 6, "127.0.0.1:1/0: cannot fill side table 'items'"),
        (["--to", "a.lmdb", "--only", "item"], 2, "no side table 'item'. Did you mean 'items'?"),
        (["--to", "/no/such/folder/a.sqlite"], 6, "a.sqlite: cannot be written"),
    ],
)
def test_what_is_wrong_is_told_without_a_password(
    bundle: Path, words: list[str], code: int, told: str
) -> None:
    outcome = run("features", "load", bundle, *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert told in outcome.err
    assert "hush" not in outcome.err


@pytest.mark.parametrize("ending", ["sqlite", "lmdb"])
def test_one_table_is_not_loaded_over_a_file_that_holds_another(
    tmp_path: Path, ending: str
) -> None:
    save_bundle(world.bundle(), tmp_path / "bundle")
    load, file = ("features", "load", tmp_path / "bundle"), tmp_path / f"both.{ending}"
    succeed(*load, "--to", file)
    before = file.read_bytes()
    outcome = run(*load, "--to", file, "--only", "items")
    assert outcome.code == 2
    assert f"both.{ending}: holds users too, and a file is written anew" in outcome.err
    assert file.read_bytes() == before
    alone = ("--to", tmp_path / f"items.{ending}", "--only", "items")
    succeed(*load, *alone)
    succeed(*load, *alone)


def test_a_bundle_without_side_tables(bundle: Path, tmp_path: Path) -> None:
    whole = load_bundle(bundle)
    schema = whole.schema.model_copy(update={"tables": ()})
    save_bundle(replace(whole, schema=schema, tables={}), tmp_path / "bundle")
    outcome = run("features", "load", tmp_path / "bundle", "--to", "a.lmdb")
    assert outcome.code == 2
    assert "has no side table" in outcome.err
