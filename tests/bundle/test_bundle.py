"""A bundle: what is saved is what is loaded, and nothing else is."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyrank.bundle import Card, load_bundle, render, save_bundle
from polyrank.bundle.bundle import Bundle
from polyrank.calibration import IdentityCurve
from polyrank.errors import ArtefactError, ConfigError, DivergedError
from polyrank.evaluation import evaluate
from polyrank.fusion import parse_value_model
from polyrank.scoring import Scorer, observe_log
from polyrank.storage import commit_directory, open_committed
from tests import feeds

RANKS = {"kind": "weighted_sum", "terms": {"click": {"weight": 3.0}}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "bundle"
    save_bundle(feeds.bundle(joined=True), path)
    return path


def _scores(bundle: Bundle) -> pa.Table:
    return Scorer(bundle).score(feeds.bare_log().slice(0, 500))


def test_scores_before_saving_and_after_loading_are_the_same_bits(saved: Path) -> None:
    assert _scores(load_bundle(saved)).equals(_scores(feeds.bundle(joined=True)))


def test_everything_comes_back(saved: Path) -> None:
    before, after = feeds.bundle(joined=True), load_bundle(saved)
    assert after.schema == before.schema
    assert after.model_config == before.model_config
    assert after.card == before.card
    assert after.encoders.fingerprint() == before.encoders.fingerprint()
    assert after.tables["items"].equals(before.tables["items"])
    assert not after.model.training
    for name, value in before.model.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], value), name


def test_the_version_names_the_content(saved: Path, tmp_path: Path) -> None:
    version = load_bundle(saved).version
    assert len(version) == 64
    other = feeds.bundle(joined=False)
    assert save_bundle(other, tmp_path / "other") != version


def test_the_network_names_what_predicts(saved: Path, tmp_path: Path) -> None:
    """Not what calibrates, joins or ranks; a weight that is another one is another network."""
    whole = load_bundle(saved)
    assert len(whole.network) == 64
    value_model, _ = parse_value_model(RANKS, where="test")
    others = {
        "values": whole.with_value_model(value_model),
        "calibration": replace(whole, calibration={"click": IdentityCurve(reason="by hand")}),
        "tables": replace(whole, tables={"items": whole.tables["items"].slice(1)}),
    }
    for name, other in others.items():
        version = save_bundle(other, tmp_path / name)
        found = load_bundle(tmp_path / name)
        assert (found.version, found.network) == (version, whole.network), name
        assert version != whole.version, name
    altered = load_bundle(saved)
    with torch.no_grad():
        next(altered.model.parameters()).view(-1)[0] += 1.0
    save_bundle(altered, tmp_path / "altered")
    assert load_bundle(tmp_path / "altered").network != whole.network


def test_the_version_does_not_tell_when_it_was_written(saved: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # The manifest counts whole seconds.
    version = save_bundle(feeds.bundle(joined=True), tmp_path / "later")
    assert version == load_bundle(saved).version == load_bundle(tmp_path / "later").version
    made = [(path / "MANIFEST.json").read_bytes() for path in (saved, tmp_path / "later")]
    assert made[0] != made[1]


def test_a_saved_bundle_is_not_written_over_by_accident(saved: Path) -> None:
    with pytest.raises(ConfigError, match="exist"):
        save_bundle(feeds.bundle(joined=True), saved)


def test_any_changed_byte_is_refused(saved: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = sorted(path.relative_to(saved) for path in saved.rglob("*") if path.is_file())
    assert any(name.name == "weights.safetensors" for name in names)
    for name in names:
        copy = tmp_path / "copy"
        shutil.copytree(saved, copy)
        content = bytearray((copy / name).read_bytes())
        place = int(rng.integers(len(content)))
        content[place] ^= 1 << int(rng.integers(8))
        (copy / name).write_bytes(bytes(content))
        with pytest.raises(ArtefactError):
            load_bundle(copy)
        shutil.rmtree(copy)


def test_a_newer_format_is_refused_by_number(saved: Path, tmp_path: Path) -> None:
    with open_committed(saved, kind="bundle", supported_versions={1}) as found:
        files = {name: found.read(name) for name in found.names}
    commit_directory(tmp_path / "new", files, kind="bundle", format_version=2)
    with pytest.raises(ArtefactError, match="2"):
        load_bundle(tmp_path / "new")


def test_weights_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    with open_committed(saved, kind="bundle", supported_versions={1}) as found:
        files = {name: found.read(name) for name in found.names}
    tree = json.loads(files["model.json"])
    tree["sharing"]["num_experts"] = 4
    files["model.json"] = json.dumps(tree).encode()
    commit_directory(tmp_path / "mixed", files, kind="bundle", format_version=1)
    with pytest.raises(ArtefactError, match=r"weights\.safetensors.*of one model"):
        load_bundle(tmp_path / "mixed")


@pytest.mark.parametrize("name", ["schema.json", "encoders.json", "card.json", "model.json"])
def test_a_sealed_bundle_with_a_part_that_is_no_object_is_refused(
    saved: Path, tmp_path: Path, name: str
) -> None:
    with open_committed(saved, kind="bundle", supported_versions={1}) as found:
        files = {entry: found.read(entry) for entry in found.names}
    files[name] = b"[]\n"
    commit_directory(tmp_path / "odd", files, kind="bundle", format_version=1)
    with pytest.raises(ArtefactError, match=name):
        load_bundle(tmp_path / "odd")


def test_a_bundle_without_its_side_table_is_refused(saved: Path, tmp_path: Path) -> None:
    with open_committed(saved, kind="bundle", supported_versions={1}) as found:
        files = {name: found.read(name) for name in found.names if "items" not in name}
    commit_directory(tmp_path / "bare", files, kind="bundle", format_version=1)
    with pytest.raises(ArtefactError, match=r"tables/items\.parquet"):
        load_bundle(tmp_path / "bare")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    bundle = feeds.bundle()
    weight = next(iter(bundle.model.parameters()))
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.view(-1)[0] = float("nan")
        with pytest.raises(DivergedError, match="finite"):
            save_bundle(bundle, tmp_path / "nan")
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    assert not (tmp_path / "nan").exists()


def test_nothing_in_a_bundle_is_a_pickle(saved: Path) -> None:
    for path in saved.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith((b"\x80", b"PK"))


def test_the_card_tells_tasks_dates_and_metrics() -> None:
    scorer = Scorer(feeds.bundle())
    tasks = scorer.bundle.schema.tasks
    result = evaluate(observe_log(scorer, feeds.log()), tasks, metrics=["auc"], resamples=40)
    card = Card.model_validate(
        {**feeds.bundle().card.model_dump(), "metrics": {"test": result.to_json()}}
    )
    text = render(card)
    assert "| purchase | binary, within click; predicted: P(purchase = 1 \\| click = 1) |" in text
    assert "| report | binary, less is better; predicted: P(report = 1) |" in text
    assert "| train | 3,000 | 1 | 2 |" in text
    assert f"| click | auc | {result.value('click', 'auc'):.5g} |" in text


def test_a_refusal_names_the_bundle_by_the_path_that_was_given(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bundles are compared by paths whose last parts are alike."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, "a/bundle")
    for file, fault in (("MANIFEST.json", "the file is missing"), ("schema.json", "missing")):
        Path("a/bundle", file).rename("aside")
        with pytest.raises(ArtefactError, match=rf"^a/bundle: MANIFEST\.json: .*{fault}"):
            load_bundle(Path("a/bundle"))
        Path("aside").rename(Path("a/bundle", file))
    with pytest.raises(ArtefactError, match=r"^b/bundle: does not exist"):
        load_bundle(Path("b/bundle"))


def test_the_folder_of_a_run_leads_to_its_bundle(saved: Path) -> None:
    run = saved.parent
    with pytest.raises(ArtefactError) as refused:
        load_bundle(run)
    assert refused.value.where == f"{run}: MANIFEST.json"
    assert str(refused.value).endswith(f"Did you mean {saved}?")
