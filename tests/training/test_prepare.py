"""From a log to encoded batches: the ledger, the cache, what is refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from polyrank.config import RunConfig
from polyrank.data import EncodedLog, Encoders
from polyrank.errors import ArtefactError, ConfigError, DataError, StorageError
from polyrank.schema import Binary, Categorical, Keys, Numeric, Schema, SideTable, parse
from polyrank.storage import RunLock
from polyrank.training import Prepared, Sources, Span, open_sources, prepare, train
from polyrank.training.prepare import _Preparation
from tests.training.runs import lines

SCHEMA = Schema(
    features=(
        Categorical(name="item", side="item", min_frequency=1),
        Numeric(name="age", side="user"),
    ),
    tasks=(Binary(name="click"), Binary(name="like", within="click")),
    keys=Keys(user="user", time="day"),
)
DAYS = 10


def log(rows: int = 500, seed: int = 0, first_day: int = 0, days: int = DAYS) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "user": rng.integers(0, 20, rows),
            "item": rng.integers(0, 15, rows),
            "age": rng.normal(30, 5, rows),
            "day": np.sort(rng.integers(first_day, first_day + days, rows)),
            "click": pa.array(rng.integers(0, 2, rows).astype(float), mask=rng.random(rows) < 0.1),
            "like": rng.integers(0, 2, rows).astype(float),
            "noise": rng.normal(size=rows),
        }
    )


def config(data: dict[str, Any], schema: Schema = SCHEMA, **more: Any) -> RunConfig:
    tree = {
        "schema": schema.model_dump(mode="json"),
        "data": data,
        "model": {"embedding_dim": 2, "sharing": {"kind": "shared_bottom", "widths": [4]}},
        "training": {"batch_size": 64, "epochs": 1, "precision": "fp32", "device": "cpu"},
        **more,
    }
    return parse(RunConfig, tree)


SPLIT = {"kind": "time", "validation_from": 7, "test_from": 9}


@pytest.fixture
def split(tmp_path: Path) -> tuple[RunConfig, Path]:
    """One Parquet log to divide by time."""
    pq.write_table(log(), tmp_path / "log.parquet")
    return config({"log": "log.parquet", "split": SPLIT}), tmp_path


def whole(encoded: EncodedLog) -> list[torch.Tensor]:
    return [batch.ids_BF for batch in encoded.whole()]


def same_rows(left: Prepared, right: Prepared) -> bool:
    pairs = [(left.train, right.train), (left.validation, right.validation)]
    return all(torch.equal(torch.cat(whole(a)), torch.cat(whole(b))) for a, b in pairs)


class Counted:
    """Counts calls of the passes over the log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits = self.builds = 0
        fit, build = Encoders.fit, EncodedLog.build

        def counted_fit(*args: Any, **kwargs: Any) -> Encoders:
            self.fits += 1
            return fit(*args, **kwargs)

        def counted_build(*args: Any, **kwargs: Any) -> EncodedLog:
            self.builds += 1
            return build(*args, **kwargs)

        monkeypatch.setattr(Encoders, "fit", counted_fit)
        monkeypatch.setattr(EncodedLog, "build", counted_build)


def test_a_log_is_divided_encoded_and_accounted_for(split: tuple[RunConfig, Path]) -> None:
    run, root = split
    rows = pq.read_table(root / "log.parquet")
    days = rows["day"].to_numpy()
    counts = {
        "train": int((days < 7).sum()),
        "validation": int(((days >= 7) & (days < 9)).sum()),
        "test": int((days >= 9).sum()),
    }
    seen: list[tuple[str, int]] = []
    prepared = prepare(run, root, root / "run", report=lambda *told: seen.append(told))
    assert prepared.test is not None
    assert prepared.train.num_rows == counts["train"]
    assert prepared.validation.num_rows == counts["validation"]
    assert prepared.test.num_rows == counts["test"]
    assert prepared.ledger.read == 500 == prepared.ledger.used + prepared.ledger.masked
    click = rows["click"].to_numpy(zero_copy_only=False)
    assert prepared.ledger.masked == int(np.isnan(click).sum())
    assert prepared.data_dates == {
        "train": Span(rows=counts["train"], first="0", last="6"),
        "validation": Span(rows=counts["validation"], first="7", last="8"),
        "test": Span(rows=counts["test"], first="9", last="9"),
    }
    assert prepared.notices == ("nothing reads the columns noise",)
    assert seen == [
        ("fit", counts["train"]),
        ("encode train", counts["train"]),
        ("encode validation", counts["validation"]),
        ("encode test", counts["test"]),
    ]
    assert prepared.provenance["files"] == "log.parquet"
    assert not (root / "run" / "quarantine.parquet").exists()


def test_encoders_are_fitted_on_the_training_part_alone(split: tuple[RunConfig, Path]) -> None:
    run, root = split
    rows = pq.read_table(root / "log.parquet")
    before = prepare(run, root, root / "a")
    later = rows["day"].to_numpy() >= 7
    item = np.where(later, rows["item"].to_numpy() + 1000, rows["item"].to_numpy())
    pq.write_table(rows.set_column(1, "item", pa.array(item)), root / "log.parquet")
    after = prepare(run, root, root / "b")
    assert before.encoders.fingerprint() == after.encoders.fingerprint()
    assert before.fingerprint != after.fingerprint
    assert after.notices[1] == (
        "100% of the validation ids of feature 'item' are not in its vocabulary"
    )


def test_the_cache_is_used_again_and_gives_the_same(
    split: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, root = split
    first = prepare(run, root, root / "run")
    counted = Counted(monkeypatch)
    again = prepare(run, root, root / "run")
    assert (counted.fits, counted.builds) == (0, 0)
    assert same_rows(first, again)
    assert again.encoders.fingerprint() == first.encoders.fingerprint()
    assert again.ledger.to_dict() == first.ledger.to_dict()
    for name in ("fingerprint", "data_dates", "provenance", "notices"):
        assert getattr(again, name) == getattr(first, name)


def touch_log(run: RunConfig, root: Path) -> RunConfig:
    pq.write_table(log(seed=1), root / "log.parquet")
    return run


def other_split(run: RunConfig, root: Path) -> RunConfig:
    return config({"log": "log.parquet", "split": {**SPLIT, "validation_from": 6}})


def other_schema(run: RunConfig, root: Path) -> RunConfig:
    schema = SCHEMA.model_copy(update={"features": SCHEMA.features[:1]})
    return config({"log": "log.parquet", "split": SPLIT}, schema)


def other_seed(run: RunConfig, root: Path) -> RunConfig:
    tree = run.tree()
    return parse(RunConfig, {**tree, "data": {**tree["data"], "seed": 1}})


def lost_part(run: RunConfig, root: Path) -> RunConfig:
    (root / "run" / "cache" / "train" / "encoded.json").unlink()
    return run


def altered_part(run: RunConfig, root: Path) -> RunConfig:
    path = next((root / "run" / "cache" / "validation").glob("rows-*.bin"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return run


def altered_encoders(run: RunConfig, root: Path) -> RunConfig:
    path = root / "run" / "cache" / "prepared" / "encoders.json"
    path.write_bytes(path.read_bytes() + b" ")
    return run


@pytest.mark.parametrize(
    "change",
    [touch_log, other_split, other_schema, other_seed, lost_part, altered_part, altered_encoders],
)
def test_whatever_does_not_agree_is_built_again(
    split: tuple[RunConfig, Path],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[RunConfig, Path], RunConfig],
) -> None:
    run, root = split
    prepare(run, root, root / "run")
    changed = change(run, root)
    counted = Counted(monkeypatch)
    again = prepare(changed, root, root / "run")
    assert (counted.fits, counted.builds) == (1, 3)
    assert same_rows(again, prepare(changed, root, root / "fresh"))


def test_settings_of_training_do_not_touch_the_cache(
    split: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, root = split
    prepare(run, root, root / "run")
    counted = Counted(monkeypatch)
    tree = run.tree()
    tree["training"]["learning_rate"] = 0.5
    prepare(parse(RunConfig, tree), root, root / "run")
    assert counted.fits == 0


def test_a_configured_cache_serves_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = log()
    click = rows["click"].to_numpy(zero_copy_only=False).copy()
    click[3] = 7.0
    pq.write_table(rows.set_column(4, "click", pa.array(click)), tmp_path / "log.parquet")
    run = config(
        {"log": "log.parquet", "split": SPLIT, "cache": "shared", "max_quarantine_share": 0.1}
    )
    first = prepare(run, tmp_path, tmp_path / "a")
    counted = Counted(monkeypatch)
    second = prepare(run, tmp_path, tmp_path / "b")
    assert counted.fits == 0
    assert (tmp_path / "shared" / "prepared").exists()
    assert first.ledger.quarantined == second.ledger.quarantined == 1
    refused = [pq.read_table(tmp_path / name / "quarantine.parquet") for name in ("a", "b")]
    assert refused[0].equals(refused[1])
    assert refused[0].num_rows == 1


def test_runs_of_several_seeds_share_one_encoded_log(
    split: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, root = split
    tree = run.tree()
    counted, prepared, losses = Counted(monkeypatch), [], []
    for seed in (0, 1):
        data = {**tree["data"], "cache": "shared"}
        one = parse(RunConfig, {**tree, "seed": seed, "data": data})
        prepared.append(prepare(one, root, root / f"run-{seed}"))
        train(one, prepared[-1], root / f"run-{seed}")
        losses.append(lines(root / f"run-{seed}")[0]["losses"])
    assert (counted.fits, counted.builds) == (1, 3)
    assert prepared[0].fingerprint == prepared[1].fingerprint
    assert losses[0] != losses[1]
    orders = [
        torch.cat([batch.ids_BF for batch in one.train.batches(batch_size=64, seed=seed, epoch=0)])
        for seed, one in enumerate(prepared)
    ]
    assert not torch.equal(*orders)
    assert torch.equal(*(order.sort(dim=0).values for order in orders))


def test_parts_and_tables_in_memory(tmp_path: Path) -> None:
    schema = SCHEMA.model_copy(
        update={
            "features": (*SCHEMA.features, Categorical(name="country", min_frequency=1)),
            "tables": (SideTable(name="users", on="user"),),
        }
    )
    users = pa.table({"user": np.arange(20), "country": [f"c{i % 3}" for i in range(20)]})
    sources = Sources.of(train=log(), validation=log(100, 1, DAYS), tables={"users": users})
    data = {"train": "a", "validation": "b", "tables": {"users": "memory"}}
    run = config(data, schema)
    prepared = prepare(run, sources, tmp_path)
    assert prepared.test is None
    assert prepared.train.num_rows == 500
    assert [column.name for column in prepared.encoders.layout.ids] == ["item", "country"]
    assert train(run, prepared, tmp_path).steps == 8
    other = Sources.of(train=log(), validation=log(100, 1, DAYS), tables={})
    with pytest.raises(ConfigError, match="no side table is given for 'users'"):
        prepare(run, other, tmp_path / "other")
    changed = users.set_column(1, "country", pa.array(["x"] * 20))
    again = prepare(
        run,
        Sources.of(train=log(), validation=log(100, 1, DAYS), tables={"users": changed}),
        tmp_path,
    )
    assert again.fingerprint != prepared.fingerprint
    assert again.tables["users"].to_pylist() == changed.to_pylist()


def test_parts_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    sources = Sources.of(train=log(first_day=5), validation=log(100, 1, 3))
    with pytest.raises(DataError, match=r"validation begins at 3, before train ends at 14"):
        prepare(config({"train": "a", "validation": "b"}), sources, tmp_path)
    assert not (tmp_path / "cache" / "prepared").exists()


def test_times_are_told_in_iso(tmp_path: Path) -> None:
    rows = log()
    start = datetime.datetime(2024, 1, 1)
    stamps = [start + datetime.timedelta(days=int(day)) for day in rows["day"].to_pylist()]
    rows = rows.set_column(3, "day", pa.array(stamps, pa.timestamp("ms")))
    pq.write_table(rows, tmp_path / "log.parquet")
    run = config({"log": "log.parquet", "split": {"kind": "time", "validation_from": "2024-01-08"}})
    prepared = prepare(run, tmp_path, tmp_path / "run")
    assert prepared.test is None
    assert prepared.data_dates["train"].first == "2024-01-01T00:00:00"
    assert prepared.data_dates["validation"].first == "2024-01-08T00:00:00"


@pytest.mark.parametrize(("share", "parts"), [(0.0, 2), (0.3, 3)])
def test_a_log_without_times_is_divided_by_user(tmp_path: Path, share: float, parts: int) -> None:
    schema = SCHEMA.model_copy(update={"keys": Keys(user="user")})
    pq.write_table(log(), tmp_path / "log.parquet")
    data = {"log": "log.parquet", "split": {"kind": "user", "validation": 0.3, "test": share}}
    prepared = prepare(config(data, schema), tmp_path, tmp_path / "run")
    assert len(prepared.data_dates) == parts
    assert {span.first for span in prepared.data_dates.values()} == {None}
    assert prepared.ledger.read == 500


def test_a_query_is_a_log(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pq.write_table(log(), tmp_path / "log.parquet")
    run = config({"query": "SELECT * FROM 'log.parquet' WHERE age > 20", "split": SPLIT})
    assert prepare(run, tmp_path, tmp_path / "run").ledger.read > 400


def test_a_refused_log_leaves_no_cache_and_its_rows_in_quarantine(tmp_path: Path) -> None:
    rows = log()
    click = rows["click"].to_numpy(zero_copy_only=False).copy()
    click[3] = 7.0
    pq.write_table(rows.set_column(4, "click", pa.array(click)), tmp_path / "log.parquet")
    run = config({"log": "log.parquet", "split": SPLIT})
    with pytest.raises(DataError, match="click"):
        prepare(run, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run" / "cache" / "prepared").exists()
    assert pq.read_table(tmp_path / "run" / "quarantine.parquet").num_rows == 1


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    pq.write_table(log(), tmp_path / "log.parquet")
    run = config({"log": "log.parquet", "split": {"kind": "time", "validation_from": 99}})
    with pytest.raises(DataError, match="validation"):
        prepare(run, tmp_path, tmp_path / "run")


def test_a_cache_that_would_be_too_large_is_refused(tmp_path: Path) -> None:
    pq.write_table(log(), tmp_path / "log.parquet")
    run = config({"log": "log.parquet", "split": SPLIT, "cache_max_bytes": 15_000})
    with pytest.raises(ConfigError, match="cache_max_bytes"):
        prepare(run, tmp_path, tmp_path / "run")


def test_another_trainer_in_the_folder_is_respected(split: tuple[RunConfig, Path]) -> None:
    run, root = split
    (root / "run").mkdir()
    with RunLock(root / "run"), pytest.raises(ConfigError, match="another trainer"):
        prepare(run, root, root / "run")


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = config({"log": "log.parquet", "split": SPLIT})
    pq.write_table(log(), tmp_path / "log.parquet")
    with pytest.raises((ConfigError, StorageError)):
        prepare(run, tmp_path, tmp_path / "file" / "run")


def test_another_process_opens_what_the_first_one_made(split: tuple[RunConfig, Path]) -> None:
    run, root = split
    first = prepare(run, root, root / "run")
    other = _Preparation(run, open_sources(run.data, root), root / "run", lambda *_: None).open()
    assert other.fingerprint == first.fingerprint
    assert other.encoders.fingerprint() == first.encoders.fingerprint()
    assert same_rows(first, other)
    lost_part(run, root)
    with pytest.raises(ArtefactError, match="vanished"):
        _Preparation(run, open_sources(run.data, root), root / "run", lambda *_: None).open()


def test_errors_that_have_a_place_keep_it(
    split: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> EncodedLog:
        raise ConfigError("wrong", where="elsewhere")

    monkeypatch.setattr(EncodedLog, "build", fail)
    with pytest.raises(ConfigError, match="elsewhere: wrong"):
        prepare(split[0], split[1], split[1] / "run")


def test_a_feature_that_validation_lacks_is_no_unseen_one(tmp_path: Path) -> None:
    later = log(100, 1, DAYS)
    nothing = pa.nulls(100, pa.int64())
    sources = Sources.of(train=log(), validation=later.set_column(1, "item", nothing))
    prepared = prepare(config({"train": "a", "validation": "b"}), sources, tmp_path)
    assert prepared.notices == ("nothing reads the columns noise",)
