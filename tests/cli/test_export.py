"""``polyrank export``: refusals at once, and the files that plain runtimes read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.cli import main
from polyrank.cli.export import export
from polyrank.cli.score import score
from polyrank.cli.serve import serve
from polyrank.errors import ConfigError
from polyrank.scoring import Scorer, TorchEngine
from polyrank.scoring.engines import choose
from polyrank.scoring.engines.choosing import PRECISIONS
from polyrank.scoring.export.compiled import require_compiler
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.made_up import made_up, one_request
from tests import feeds


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("export")
    save_bundle(feeds.bundle(), home / "bundle")
    pq.write_table(feeds.log().slice(0, 500), home / "log.parquet")
    return home


def test_it_never_writes_into_the_bundle(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(saved / "bundle"), "--out", str(saved / "bundle" / "x")]) == 2
    assert "lies in the bundle" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_it_replaces_its_own_only(
    saved: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another bundle, a file, a folder of anything: refused at once, and left as they were."""
    shutil.copytree(saved / "bundle", tmp_path / "other")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "MANIFEST.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("other", "file", "folder", "torn"):
        words = ["export", str(saved / "bundle"), "--out", str(tmp_path / name), "--format", form]
        assert main(words) == 2
        assert "--force" in capsys.readouterr().err
        assert main([*words, "--force"]) == 2
        assert "is to be replaced" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_without_a_compiler_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"g\+\+ nor clang\+\+"):
        require_compiler()
    words = ["export", "no-such-bundle", "--out", str(tmp_path / "x"), "--format", "pt2"]
    assert main(words) == 2  # before anything is loaded
    assert "clang++" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 65])
def test_a_name_that_is_no_folder_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "no-such-bundle", "--out", str(tmp_path / "x"), "--name", name]) == 2
    assert "--name: must be up to 64 letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "--out", "x", "--precision", "bf16"), "'onnx' has no precision 'bf16'"),
        (("export", "--out", "x", "--format", "pt2", "--precision", "int8"), "bf16; int8: onnx"),
        (("score", "log", "out", "--precision", "int8"), "'eager' has no precision 'int8'"),
        (("score", "log", "out", "--engine", "onnx", "--precision", "bf16"), "bf16: compiled"),
        (("score", "log", "out", "--precision", "fp8"), "fp8"),
    ],
)
def test_a_precision_that_there_is_not_is_refused_first(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], "no-such-bundle", *words[1:]]) == 2
    assert told in capsys.readouterr().err


def test_precisions_are_asked_for_alike() -> None:
    asked = []
    for verb in (serve, score, export):
        kinds, option = get_args(get_type_hints(verb, include_extras=True)["precision"])
        literal = next((each for each in get_args(kinds) if get_args(each)), kinds)
        asked.append((get_args(literal), option.help))
    assert asked[0] == asked[1] == asked[2]
    assert set(asked[0][0]) == {each for known in PRECISIONS.values() for each in known}


@pytest.mark.nightly
@pytest.mark.parametrize(("form", "precision"), [("onnx", "int8"), ("pt2", "bf16")])
def test_less_precision_is_told_beside_the_export(
    saved: Path, form: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = saved / precision
    words = ["export", str(saved / "bundle"), "--out", str(out), "--format", form]
    assert main([*words, "--precision", precision, "--on", str(saved / "log.parquet")]) == 0
    assert f"in {precision}" in capsys.readouterr().out
    told = json.loads((out / "parity.json").read_text())
    assert told["precision"] == precision
    worst = max(task["relative"] for task in told["tasks"].values())
    assert 1e-5 < worst < 0.05
    if form == "onnx":
        scored = saved / "scored.parquet"
        words = ["score", str(saved / "bundle"), str(saved / "log.parquet"), str(scored)]
        assert main([*words, "--engine", "onnx", "--precision", precision]) == 0
        bundle = load_bundle(saved / "bundle")
        scorer = Scorer(bundle, choose(bundle, "onnx", precision="int8"))
        assert pq.read_table(scored).equals(scorer.score(pq.read_table(saved / "log.parquet")))


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["onnx", "triton"])
def test_plain_onnx_runtime_predicts_from_the_file(
    saved: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows of one user, whose side is given once."""
    out = saved / form
    words = ["export", str(saved / "bundle"), "--out", str(out), "--format", form, "--json"]
    words += ["--name", "feed"]
    assert main([*words, "--on", str(saved / "log.parquet")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 500
    folder = out / "feed" if form == "triton" else out
    file = folder / "1" / "model.onnx" if form == "triton" else folder / "model.onnx"
    assert json.loads((folder / "parity.json").read_text())["tasks"] == told["tasks"]
    bundle = load_bundle(saved / "bundle")
    rows, inputs = made_up(bundle.encoders, 70), inputs_of(bundle)
    users = one_request(rows)
    want = TorchEngine(bundle.model).predict(rows, users=users)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = inputs.of(rows, users)
    assert given["user_ids"].shape[0] == 1
    names = [each["name"] for each in json.loads((folder / "inputs.json").read_text())["inputs"]]
    found = session.run(list(want), {name: given[name].numpy() for name in names})
    for value, (task, expected) in zip(found, want.items(), strict=True):
        assert np.abs(value - expected).max() <= 1e-6 * max(1, np.abs(expected).max()), task
    assert main([*words]) == 2
    assert "exists" in capsys.readouterr().err
