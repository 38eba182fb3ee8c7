"""Commands that overwrite replace their own kind alone, and say so before the work."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from polyrank.cli.app import app
from polyrank.errors import ConfigError
from polyrank.serving.features import fill, store_settings
from polyrank.storage import commit_directory
from tests.cli.workbench import run

FORCED = {
    "calibrate": ("BUNDLE", "no-such-log", "export"),
    "export": ("BUNDLE", "--out", "bundle"),
    "fuse": ("BUNDLE", "no-such-log", "--init", "--apply", "export"),
    "init": ("no-such-log", "--out", "mine.parquet"),
    "score": ("BUNDLE", "LOG", "mine.yaml"),
}
"""By verb, its words, of which the last names something of another kind."""


def test_every_command_with_force_is_tried() -> None:
    commands = [each.callback for each in app.registered_commands]
    assert all(callable(each) for each in commands)
    found = {
        each.__name__ for each in commands if each and "force" in inspect.signature(each).parameters
    }
    assert found == set(FORCED)


@pytest.mark.parametrize("verb", FORCED)
def test_force_replaces_its_own_kind_alone(
    trained: Path, bundle: Path, tmp_path: Path, verb: str
) -> None:
    for kind in ("bundle", "export"):
        commit_directory(tmp_path / kind, {"mine": b"1"}, kind=kind, format_version=1)
    (tmp_path / "mine.yaml").write_text("data: mine\n")
    (tmp_path / "mine.parquet").write_bytes((trained / "test.parquet").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = {"BUNDLE": bundle, "LOG": tmp_path / "mine.parquet"}
    *words, target = FORCED[verb]
    asked = [verb, *(given.get(word, word) for word in words), tmp_path / target]
    plain, forced = run(*asked), run(*asked, "--force")
    assert (plain.code, forced.code) == (2, 2)
    assert "already exists" in plain.error["message"]
    assert "--force" in plain.error["hint"]
    assert "is to be replaced by" in forced.error["message"]
    assert "move it away yourself" in forced.error["hint"]
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("name", ["store.sqlite", "store.lmdb"])
def test_stores_and_pages_replace_their_own_kind_alone(
    bundle: Path, tmp_path: Path, name: str
) -> None:
    """They replace what they wrote before unasked, so all the more."""
    (tmp_path / name).write_text("data: mine\n")
    with pytest.raises(ConfigError, match="is none by its content"):
        fill(store_settings(str(tmp_path / name), where="here"), {})
    told = run("report", bundle, "--out", tmp_path / name)
    assert "by one of HTML and is none by its content" in told.error["message"]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["data: mine\n"]
