"""Help, versions, and mistakes on the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from polyrank._version import __version__
from polyrank.cli import main
from polyrank.cli.app import INTERRUPTED, app
from polyrank.errors import InterruptedRun, PolyrankError
from tests.cli.workbench import run, succeed

VERBS = (
    "demo",
    "init",
    "validate",
    "explain",
    "train",
    "calibrate",
    "fuse",
    "estimate",
    "evaluate",
    "score",
    "compare",
    "card",
    "report",
    "simulate",
    "features",
)


def test_help_names_every_verb_in_80_columns() -> None:
    text = succeed("--help")
    assert succeed() == text
    assert succeed("-h") == text
    for verb in VERBS:
        assert f"  {verb} " in text
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str) -> None:
    text = succeed(verb, "--help")
    assert text.startswith(f"Usage: polyrank {verb}")


def test_version() -> None:
    assert succeed("--version").strip() == __version__


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["nonsense"], "nonsense"),
        (["train"], "config"),
        (["train", "--sett", "x"], "--sett"),
        (["demo", "--rows", "many"], "--rows"),
        (["demo", "--rows", "3"], "--rows"),
        (["evaluate", "a", "b", "--resamples", "-1"], "--resamples"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_exit_code_2(words: list[str], fragment: str) -> None:
    outcome = run(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    sentence, line = outcome.err.splitlines()
    assert sentence.startswith("polyrank: ")
    assert fragment in sentence
    assert "--help" in sentence
    assert json.loads(line)["code"] == "config"


def test_on_a_terminal_there_is_no_line_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["train", "nothing.yaml"]) == 2
    assert len(screen.getvalue().splitlines()) == 1


def test_words_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["polyrank", "train", "nothing.yaml"])
    assert main() == 2


def _name(callback: object) -> str:
    return str(getattr(callback, "__name__", ""))


def _verb_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def broken() -> None:
        raise error

    broken.__name__ = "card"
    (command,) = [found for found in app.registered_commands if _name(found.callback) == "card"]
    monkeypatch.setattr(command, "callback", broken)
    return run("card").code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), INTERRUPTED),
        (InterruptedRun("stopped"), 75),
        (PermissionError(13, "Permission denied"), 6),
        (SystemExit(1), 1),
        (SystemExit("stopped"), 1),
        *((kind("told"), kind.exit_code) for kind in PolyrankError.__subclasses__()),
    ],
    ids=str,
)
def test_what_a_verb_raises_becomes_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    assert _verb_that_raises(monkeypatch, error) == code


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    for verb in ("train", "validate"):
        outcome = run(verb, tmp_path / "nothing.yaml")
        assert outcome.code == 2
        assert outcome.error["where"] == str(tmp_path / "nothing.yaml")


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    for words in (["card"], ["evaluate", "x.parquet"], ["score", "x.parquet", tmp_path / "o"]):
        outcome = run(words[0], tmp_path / "nothing", *words[1:])
        assert outcome.code == 4
        assert "nothing" in outcome.error["where"]
