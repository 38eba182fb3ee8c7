"""Training with list terms: whole requests, resumption, two processes, the bundle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from polyrank.bundle import Bundle, Card, describe_tasks, load_bundle, save_bundle
from polyrank.config import RunConfig
from polyrank.data import Batch
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.heads import masked_mean
from polyrank.model import RankingModel
from polyrank.schema import Binary, Categorical, Keys, Numeric, Schema, parse
from polyrank.scoring import Scorer
from polyrank.training import Prepared, prepare, train
from polyrank.training.processes import Processes
from polyrank.training.step import denominators_of
from polyrank.training.whole_requests import FOLDER, with_whole_requests
from tests.heads.lists.slow import KINDS, Row, slow_mean
from tests.training.forkserver import ForkServer
from tests.training.lists_worker import work
from tests.training.runs import Recorder, Stopped, digest, lines

SCHEMA = Schema(
    features=(
        Categorical(name="item", side="item", min_frequency=1),
        Numeric(name="age", side="user"),
    ),
    tasks=(Binary(name="click"), Binary(name="like", within="click")),
    keys=Keys(user="user", request="request", weight="weight"),
)
LONGEST = 40
TERMS = {
    "click": {"kind": "jrc", "weight": 0.5},
    "like": {"kind": "ranknet", "weight": 2.0},
}


def log(rows: int = 700, seed: int = 0) -> pa.Table:
    """Requests of 1 to 40 rows, scattered over the log; one row in fifteen has none.

    A user of high age clicks on everything; within a request, the item decides.
    """
    rng = np.random.default_rng(seed)
    lengths = [LONGEST, *rng.integers(1, 12, rows)]
    request = np.repeat(np.arange(len(lengths)), lengths)[:rows]
    request = rng.permutation(request)
    item, user = rng.integers(0, 15, rows), request % 50
    age = 40.0 + 15 * (user % 3 - 1)
    quality = np.random.default_rng(9).normal(size=15)
    click = rng.random(rows) < 1 / (1 + np.exp(-1.5 * quality[item] - 0.1 * (age - 40)))
    return pa.table(
        {
            "item": item,
            "age": age,
            "user": user,
            "request": pa.array([f"r{code}" for code in request], mask=rng.random(rows) < 1 / 15),
            "click": pa.array(click.astype(float), mask=rng.random(rows) < 0.05),
            "like": rng.integers(0, 2, rows).astype(float),
            "weight": rng.choice([0.0, 0.5, 1.0, 2.0], rows),
        }
    )


def config(
    lists: Any = TERMS, *, data: Mapping[str, Any] | None = None, **training: Any
) -> RunConfig:
    return parse(
        RunConfig,
        {
            "schema": SCHEMA.model_dump(mode="json"),
            "data": {
                "train": "train.parquet",
                "validation": "validation.parquet",
                **(data or {}),
            },
            "model": {
                "embedding_dim": 4,
                "sharing": {"kind": "shared_bottom", "widths": [8]},
                "towers": {"widths": [8]},
                "lists": lists,
            },
            "training": {
                "batch_size": 64,
                "epochs": 2,
                "learning_rate": 0.01,
                "warmup_steps": 2,
                "precision": "fp32",
                "device": "cpu",
                "select": {"patience": 0},
                **training,
            },
        },
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists")
    pq.write_table(log(), path / "train.parquet")
    pq.write_table(log(300, 1), path / "validation.parquet")
    return path


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return prepare(config(data={"cache": "cache"}), folder, folder / "prepare")


def epoch_of(prepared: Prepared, epoch: int = 0, **cursor: Any) -> list[Batch]:
    given = {"batch_size": 64, "seed": 0, "epoch": epoch, "whole_requests": True, **cursor}
    return list(prepared.train.batches(**given))


def codes_of(batch: Batch) -> list[int]:
    assert batch.groups is not None
    return batch.groups["request"].tolist()


# Batches.


def test_no_scattered_request_is_cut(prepared: Prepared) -> None:
    """The encoder's codes say which rows belong together; the log has them everywhere."""
    batches = epoch_of(prepared)
    homes: dict[int, set[int]] = {}
    for place, batch in enumerate(batches):
        for code in codes_of(batch):
            homes.setdefault(code, set()).add(place)
    assert len(homes.pop(-1)) == len(batches)
    assert all(len(places) == 1 for places in homes.values())
    counts = Counter(code for batch in batches for code in codes_of(batch))
    expected = Counter(filter(None, log()["request"].to_pylist()))
    del counts[-1]
    assert sorted(counts.values()) == sorted(expected.values())
    assert max(counts.values()) == prepared.train.longest_request


def test_without_terms_the_cache_and_the_order_are_as_ever(
    prepared: Prepared, folder: Path, tmp_path: Path
) -> None:
    def cached() -> dict[str, bytes]:
        files = (path for path in (folder / "cache").glob("*/*") if path.parent.name != FOLDER)
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}

    before = cached()
    plain = prepare(config({}, data={"cache": "cache"}), folder, tmp_path)
    assert plain.train.longest_request is None
    assert cached() == before
    assert plain.fingerprint == prepared.fingerprint
    alone = prepare(config({}), folder, tmp_path / "alone")
    assert not (tmp_path / "alone" / "cache" / FOLDER).exists()
    for left, right in zip(plain.train.whole(), alone.train.whole(), strict=True):
        assert torch.equal(left.ids_BF, right.ids_BF)


def test_the_log_by_request_is_written_once(prepared: Prepared, folder: Path) -> None:
    def stamp() -> list[tuple[str, int]]:
        files = sorted((folder / "cache" / FOLDER).iterdir())
        return [(path.name, path.stat().st_mtime_ns) for path in files]

    before = stamp()
    again = prepare(config(data={"cache": "cache"}), folder, folder / "again")
    assert stamp() == before
    assert again.train.longest_request == prepared.train.longest_request


def test_a_damaged_log_by_request_is_written_again(folder: Path, tmp_path: Path) -> None:
    rows = [batch.ids_BF for batch in prepare(config(), folder, tmp_path).train.whole()]
    (path,) = (tmp_path / "cache" / FOLDER).glob("rows-*.bin")
    path.write_bytes(path.read_bytes()[:-1])
    again = prepare(config(), folder, tmp_path)
    for ids_BF, batch in zip(rows, again.train.whole(), strict=True):
        assert torch.equal(ids_BF, batch.ids_BF)


class Second(Processes):
    """Waits for the first process."""

    rank, world = 1, 2

    def first_does(self, work: Callable[[], Any]) -> Any:
        return None


def test_another_process_opens_what_the_first_one_wrote_or_says_it_vanished(
    prepared: Prepared, folder: Path, tmp_path: Path
) -> None:
    found = with_whole_requests(prepared, folder / "cache", Second(), max_bytes=1)
    assert found.train.longest_request == prepared.train.longest_request
    with pytest.raises(ArtefactError, match="by request vanished. Start again"):
        with_whole_requests(prepared, tmp_path, Second(), max_bytes=1)


def test_a_cache_with_room_for_one_copy_only_is_refused(folder: Path, tmp_path: Path) -> None:
    prepare(config({}), folder, tmp_path / "plain")
    used = sum(path.stat().st_size for path in (tmp_path / "plain").glob("cache/*/rows-*.bin"))
    enough = {"cache_max_bytes": used}
    prepare(config({}, data=enough), folder, tmp_path / "one")
    with pytest.raises(ConfigError, match=r"the cache is full.*kept twice") as caught:
        prepare(config(data=enough), folder, tmp_path / "two")
    assert caught.value.where == "data.cache_max_bytes"


def test_a_request_longer_than_a_batch_is_refused_with_the_size_that_holds_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    longest = prepared.train.longest_request
    assert longest is not None
    with pytest.raises(DataError, match=f"has {longest} rows.*`batch_size` = 20.*least {longest}"):
        train(config(batch_size=20, data={"cache": "cache"}), prepared, tmp_path)


def test_a_log_prepared_without_terms_is_refused(folder: Path, tmp_path: Path) -> None:
    plain = prepare(config({}), folder, tmp_path / "plain")
    with pytest.raises(ConfigError, match="requests stand together"):
        train(config(), plain, tmp_path / "run")


# Learning.


@pytest.mark.parametrize("kind", KINDS)
def test_the_part_of_a_batch_is_that_of_plain_loops(prepared: Prepared, kind: str) -> None:
    run = config({"click": {"kind": kind}})
    model = RankingModel(SCHEMA, prepared.encoders.layout, run.model, seed=3).eval()
    for batch in epoch_of(prepared)[:3]:
        assert batch.labels_BT is not None
        assert batch.observed_BT is not None
        assert batch.weight_B is not None
        logits = model(batch).logits
        further = logits[f"click.{kind}"] if kind == "jrc" else torch.zeros(len(batch), 1)
        columns = (
            *(logits["click"][:, 0], batch.labels_BT[:, 0], batch.weight_B),
            *(batch.observed_BT[:, 0], further[:, 0]),
        )
        listed = [
            Row(logit, int(label), code, weight, bool(seen), other)
            for code, logit, label, weight, seen, other in zip(
                codes_of(batch), *(column.tolist() for column in columns), strict=True
            )
        ]
        part = model.objective.parts[-1]
        total = denominators_of(model.objective, batch)[-1].float()
        loss_B = model.objective.losses(logits, batch, [part.name])[part.name]
        mask_B = model.objective.masks(batch)[:, -1]
        found = masked_mean(loss_B, mask_B, batch.weight_B, total)
        assert found.item() == pytest.approx(slow_mean(kind, listed), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_moves_the_weights_and_lowers_its_loss(
    prepared: Prepared, tmp_path: Path, kind: str
) -> None:
    lists = {"click": {"kind": kind, "weight": 1.0}}
    result = train(config(lists, epochs=4), prepared, tmp_path)
    losses = [record["losses"]["click"] for record in lines(tmp_path) if record["kind"] == "train"]
    assert losses[-1] < losses[0]
    assert result.steps == 4 * prepared.train.num_batches(64)
    assert result.skipped_empty == 0
    other = train(
        config({"click": {"kind": kind, "weight": 0.01}}, epochs=4), prepared, tmp_path / "o"
    )
    assert digest(result.model) != digest(other.model)


def test_bf16_learns_about_the_same(prepared: Prepared, tmp_path: Path) -> None:
    losses = {}
    for precision in ("bf16", "fp32"):
        train(config(precision=precision), prepared, tmp_path / precision)
        *_, losses[precision] = (
            record["losses"] for record in lines(tmp_path / precision) if record["kind"] == "train"
        )
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]


# The same bits.


class Bomb(Recorder):
    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def advance(self, step: int, rows: int) -> None:
        if step == self._step:
            raise Stopped


@pytest.mark.parametrize("step", [3, 14, 20])
def test_resuming_ends_with_the_bits_of_the_uninterrupted_run(
    prepared: Prepared, tmp_path: Path, step: int
) -> None:
    run = config(checkpoint={"every": 4})
    whole = train(run, prepared, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(run, prepared, tmp_path / "cut", observer=Bomb(step))
    resumed = train(run, prepared, tmp_path / "cut", resume="strict" if step > 4 else "auto")
    assert digest(resumed.model) == digest(whole.model)
    assert resumed.history == whole.history
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_other_terms_cannot_resume(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(config(checkpoint={"every": 4}), prepared, tmp_path, observer=Bomb(6))
    other = config({"click": {"kind": "rcr"}}, checkpoint={"every": 4})
    with pytest.raises(ConfigError, match="model.lists.click.kind: 'jrc' in the checkpoint"):
        train(other, prepared, tmp_path, resume="auto")


def gradients(model: RankingModel, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """Of the loss of all parts, summed over the batches, as processes sum theirs."""
    objective = model.objective
    model.zero_grad()
    totals = torch.stack([denominators_of(objective, batch) for batch in batches]).sum(0).float()
    names = [part.name for part in objective.parts]
    for batch in batches:
        assert batch.weight_B is not None
        losses = objective.losses(model(batch).logits, batch, names)
        masks = objective.masks(batch).unbind(1)
        means = [
            part.weight * masked_mean(losses[part.name], mask_B, batch.weight_B, total)
            for part, mask_B, total in zip(objective.parts, masks, totals, strict=True)
        ]
        torch.stack(means).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {name: grad.to_dense() for name, grad in found.items() if grad is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 3])
def test_the_gradients_of_the_ranks_add_up(prepared: Prepared, kind: str, world: int) -> None:
    run = config({"click": {"kind": kind}, "like": {"kind": kind, "weight": 2.0}})
    model = RankingModel(SCHEMA, prepared.encoders.layout, run.model, seed=3)
    ranks = [epoch_of(prepared, rank=rank, world=world) for rank in range(world)]
    for whole, *parts in zip(epoch_of(prepared)[:4], *ranks, strict=False):
        alone, together = gradients(model, [whole]), gradients(model, parts)
        assert alone.keys() == together.keys()
        for name, grad in alone.items():
            torch.testing.assert_close(together[name], grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.timeout(300)
def test_two_processes_do_what_one_does(server: ForkServer, folder: Path, tmp_path: Path) -> None:
    """And prepare the log together: the first writes it, the second waits."""
    tree = config({"click": {"kind": "listnet"}, "like": {"kind": "ranknet"}}).tree()
    settings = tmp_path / "run.yaml"
    settings.write_text(json.dumps(tree))  # JSON is YAML

    def arguments(name: str) -> list[str]:
        run = tmp_path / name
        run.mkdir()
        return [str(settings), str(folder), str(run)]

    order = server.order(
        tmp_path / "errors",
        call="tests.training.lists_worker:work",
        arguments=arguments("two"),
    )
    started = server.start_many(order, 2)
    work(*arguments("one"))
    told = server.wait_all(started)
    assert told == [0, 0], [path.read_text() for path in (tmp_path / "errors").iterdir()]

    def result(run: str, rank: int) -> Any:
        return json.loads((tmp_path / run / f"result-{rank}.json").read_text())

    alone, first, second = result("one", 0), result("two", 0), result("two", 1)
    assert first["weights"] == second["weights"]
    assert first["steps"] == alone["steps"]
    shared = zip(first["rows"], second["rows"], strict=True)
    assert [one + two for one, two in shared] == alone["rows"]
    assert min(first["rows"] + second["rows"]) > 0
    for name, weights in alone["weights"].items():
        np.testing.assert_allclose(first["weights"][name], weights, rtol=0, atol=1e-5, err_msg=name)
    for record, other in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        if record["kind"] == "train":
            assert record["rows"] == other["rows"]
            assert record["losses"] == pytest.approx(other["losses"], rel=1e-4)


# The bundle.


def test_a_saved_bundle_scores_the_same(prepared: Prepared, tmp_path: Path) -> None:
    run = config()
    result = train(run, prepared, tmp_path / "run")
    bundle = Bundle(
        schema=SCHEMA,
        encoders=prepared.encoders,
        model=result.model,
        model_config=run.model,
        tables={},
        card=Card(tasks=describe_tasks(SCHEMA), data={}),
    )
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.model_config == run.model
    candidates = log(50, 2).select(["item", "age"])
    assert Scorer(loaded).score(candidates).equals(Scorer(bundle).score(candidates))
