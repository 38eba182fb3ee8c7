"""``polyrank export``: refusals at once, and the files that plain runtimes read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.cli import main
from polyrank.errors import ConfigError
from polyrank.scoring import TorchEngine
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


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"g\+\+ nor clang\+\+"):
        require_compiler()


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["onnx", "triton"])
def test_plain_onnx_runtime_predicts_from_the_file(
    saved: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows of one user, whose side is given once."""
    out = saved / form
    words = ["export", str(saved / "bundle"), "--out", str(out), "--format", form, "--json"]
    assert main([*words, "--on", str(saved / "log.parquet")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 500
    folder = out / "polyrank" if form == "triton" else out
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
