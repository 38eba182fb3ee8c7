"""A run that is looked at is the run that is not, to the bit; what was seen is in its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyrank.audit.affinity import Affinity
from polyrank.audit.gradients import GradientEvidence
from polyrank.audit.probe import EvidenceProbe, read_log, run_evidence
from polyrank.errors import ConfigError
from polyrank.training import Prepared, TrainResult, train
from tests.training.runs import SCHEMA, Bomb, Recorder, Stopped, config, digest, lines, prepared

TASKS = SCHEMA.task_names
NETWORK: dict[str, Any] = {
    "embedding_dropout": 0.2,
    "sharing": {
        "kind": "mmoe",
        "num_experts": 2,
        "widths": [16, 8],
        "norm": "batch",
        "gate_dropout": 0.2,
    },
    "towers": {"widths": [8], "dropout": 0.2},
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"))


def settings(**further: Any) -> Any:
    return config(batch_size=100, epochs=1, **{"model": NETWORK, **further})


def looked_at(log: Prepared, folder: Path, run: Any, **probe: Any) -> TrainResult:
    return train(run, log, folder, probe=EvidenceProbe(**probe), observer=Recorder())


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"table_optimizer": "rowwise_adam"},
        {"tasks": {"like": {"writes": False}}},
    ],
    ids=["adagrad", "adam", "reader"],
)
def test_nothing_of_the_run_changes(log: Prepared, tmp_path: Path, further: Any) -> None:
    run = settings(**further)
    plain = train(run, log, tmp_path / "plain")
    seen = looked_at(log, tmp_path / "seen", run, every=2)
    assert digest(seen.model) == digest(plain.model)
    records = lines(tmp_path / "seen")
    assert [own for own in records if own["kind"] != "probe"] == lines(tmp_path / "plain")
    probes = [own for own in records if own["kind"] == "probe"]
    assert [own["step"] for own in probes] == [2, 4, 6]
    writers = {"click", "watch"} if further.get("tasks") else set(TASKS)
    for own in probes:
        assert set(own["found"]["affinity"]) == writers
        assert set(own["found"]["affinity"]["click"]) == set(TASKS)
        assert set(own["found"]["layer"]["norms"]) == writers


def test_a_run_cut_off_and_resumed_has_seen_what_the_whole_one_saw(
    log: Prepared, tmp_path: Path
) -> None:
    run = settings(checkpoint={"every": 2})
    looked_at(log, tmp_path / "whole", run, every=1)
    with pytest.raises(Stopped):
        train(run, log, tmp_path / "cut", probe=EvidenceProbe(1), observer=Bomb())
    train(run, log, tmp_path / "cut", probe=EvidenceProbe(1), resume="strict")
    whole, cut = (
        [own for own in lines(tmp_path / name) if own["kind"] == "probe"]
        for name in ("whole", "cut")
    )
    assert len(whole) == 6
    assert cut == whole


def test_the_log_tells_all(log: Prepared, tmp_path: Path) -> None:
    """Means of what the records say, by hand."""
    looked_at(log, tmp_path, settings(), every=2, rule="sgd")
    records = read_log(tmp_path)
    affinity, gradients = run_evidence(TASKS, records)
    probes = [own for own in records if own["kind"] == "probe"]
    (train_record,) = [own for own in records if own["kind"] == "train"]
    values = [own["found"]["affinity"]["click"]["watch"] for own in probes]
    assert affinity.means["click"]["watch"].value == pytest.approx(sum(values) / 3)
    assert (affinity.rule, affinity.looks, affinity.reason) == ("sgd", 3, None)
    assert affinity.seconds == pytest.approx(sum(own["timing"]["seconds"] for own in probes))
    assert affinity.share is not None
    assert 0 < affinity.share < 1
    balance = train_record["balance"]
    assert gradients.fork.where == "fork"
    assert gradients.fork.cosine("like", "click") == balance["cosines"]["click/like"]
    assert gradients.fork.pairs["click/like"].conflict == balance["conflict_rates"]["click/like"]
    assert gradients.fork.norms["watch"].value == balance["gradient_norms"]["watch"]
    assert gradients.layer.where == "sharing.experts.weights.1"
    found = [own["found"]["layer"] for own in probes]
    cosines = [own["cosines"]["like/watch"] for own in found]
    pair = gradients.layer.pairs["like/watch"]
    assert pair.cosine.value == pytest.approx(sum(cosines) / 3)
    assert pair.conflict == pytest.approx(sum(value < 0 for value in cosines) / 3)
    norms = [(own["norms"]["like"], own["norms"]["watch"]) for own in found]
    alike = [2 * a * b / (a * a + b * b) for a, b in norms]
    assert pair.similarity.value == pytest.approx(sum(alike) / 3)
    assert [step for step, _ in pair.cosines] == [2, 4, 6]
    dots, squares = zip(*(own["halves"]["click"] for own in found), strict=True)
    snr = sum(dots) / ((sum(squares) - sum(dots)) / 2)
    assert gradients.noise["click"].snr == pytest.approx(snr)
    assert gradients.noise["click"].rows == 100
    through = json.loads(json.dumps([affinity.to_json(), gradients.to_json()], allow_nan=False))
    assert Affinity.from_json(through[0]) == affinity
    assert GradientEvidence.from_json(through[1]) == gradients
    bare = [{key: own[key] for key in own if key != "timing"} for own in records]
    untimed, _ = run_evidence(TASKS, bare)
    assert (untimed.seconds, untimed.share, untimed.means) == (None, None, affinity.means)


def test_bad_settings_are_refused(log: Prepared, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`every` must be at least 1, got 0"):
        EvidenceProbe(every=0)
    empty = EvidenceProbe(every=5, rule=None)
    train(settings(), log, tmp_path, probe=empty)
    affinity, gradients = run_evidence(TASKS, read_log(tmp_path))
    assert affinity.looks == 0
    assert gradients.layer.reason is None
