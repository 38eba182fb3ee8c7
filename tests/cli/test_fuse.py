"""``polyrank fuse``: what a bundle ranks by is set, shown, replaced and rolled back."""

from __future__ import annotations

import itertools
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyrank import pages
from polyrank.bundle import load_bundle
from polyrank.errors import ConfigError
from polyrank.fusion.tuning import Tuned, page
from polyrank.fusion.tuning.ranking import Ranking
from polyrank.scoring import PREFIX, Scorer
from tests.cli.workbench import contents, run, succeed

BY_HAND = """
kind: expression
expression: click + 3 * like - w * report
weights: {w: 2}
demotion: {column: item_author, decay: 0.5}
"""


def test_from_equal_contributions_to_a_formula_and_back(
    trained: Path, bundle: Path, tmp_path: Path
) -> None:
    before = contents(bundle)
    log, one, two, three = (trained / "test.parquet", *(tmp_path / n for n in ("1", "2", "3")))
    screen = succeed("fuse", bundle, log, "--init", "--value", "purchase=2", "--apply", one)
    assert contents(bundle) == before
    assert "in force now" in screen
    assert "no estimate of what another" in screen
    assert "the new bundle ranks by version 1, weighted_sum, by init" in screen
    assert f"written to {one}, version {load_bundle(one).version[:12]}" in screen
    after = contents(one)
    assert {name for name in after if before.get(name) != after[name]} == {
        "value_model.json",
        "card.md",
    }

    scored = succeed("score", bundle, log, tmp_path / "scored.parquet")
    assert scored
    found = pq.read_table(tmp_path / "scored.parquet")
    joint_N = found[PREFIX + "purchase"].to_numpy() * found[PREFIX + "click"].to_numpy()
    model = load_bundle(one).value_model
    assert model is not None
    assert model.tunable["purchase"] == pytest.approx(2 / joint_N.mean(), rel=1e-12)
    assert model.tunable["report"] == pytest.approx(-1 / found[PREFIX + "report"].to_numpy().mean())

    (tmp_path / "by_hand.yaml").write_text(BY_HAND)
    screen = succeed("fuse", one, log, "--model", tmp_path / "by_hand.yaml", "--apply", two)
    assert "by version 2, expression, by file" in screen
    assert "- w * report" in screen
    assert "each repetition of item_author in a request keeps 0.5 of its value" in screen
    assert "## Value model" in succeed("card", two)
    screen = succeed("fuse", two, "--rollback", "--apply", three)
    assert "by version 1, weighted_sum, by init" in screen

    candidates = pq.read_table(log).slice(0, 40)
    ranked = [
        Scorer(load_bundle(each)).rank(candidates, explain=True) for each in (one, two, three)
    ]
    assert ranked[0].equals(ranked[2])
    assert not np.array_equal(ranked[0]["item_id"], ranked[1]["item_id"])
    succeed("fuse", three, "--rollback", "--apply", three.with_name("4"))
    screen = succeed("fuse", three, "--rollback")
    assert "ranks by the default weights" in screen
    assert "nothing is written" in screen


def test_a_model_is_applied_without_a_log_and_shown_without_being_applied(
    bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "by_hand.yaml").write_text("{kind: weighted_sum, terms: {click: 1, like: 5}}")
    screen = succeed("fuse", bundle, "--model", tmp_path / "by_hand.yaml")
    assert "mean label" not in screen
    assert "nothing is written" in screen


def test_what_is_refused(trained: Path, bundle: Path, tmp_path: Path) -> None:
    log = trained / "test.parquet"

    def refused(*words: object) -> str:
        outcome = run("fuse", *words)
        assert outcome.code in (2, 3)
        return outcome.err

    twice = refused(bundle, log, "--init", "--rollback")
    assert "at most one of --init, --model FILE and --rollback" in twice
    assert "--init needs a log" in refused(bundle, "--init")
    assert "--value says nothing without --init" in refused(
        bundle, "--rollback", "--value", "click=1"
    )
    assert "a search needs a log" in refused(bundle)
    for option in (("--trials", 5), ("--restart",), ("--pick", "knee"), ("--guard", "none")):
        told = refused(bundle, log, "--init", *option)
        assert f"{option[0]} is for a search, and --init, --model and --rollback" in told
    assert "is the bundle that is read" in refused(bundle, log, "--init", "--apply", bundle)
    assert "nothing to roll back to" in refused(bundle, "--rollback")
    assert "'x' for 'click', which is no number" in refused(
        bundle, log, "--init", "--value", "click=x"
    )
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("")
    for mode in (("--init",), ()):  # before the work
        told = refused(bundle, log, *mode, "--apply", taken)
        assert "taken: already exists, and nothing is ever over" in " ".join(told.split())
    assert "'knea' names no trial, of 0 to 4" in refused(
        bundle, log, "--trials", 5, "--pick", "knea"
    )


SEARCH = ("--objective", "ndcg@10:click", "--objective", "value@3:watch_time", "--trials", 120)


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed: drawing a page takes longer than all else."""

    def refused() -> None:
        raise ConfigError("the page needs the extra `report`")

    monkeypatch.setattr(pages, "require_report", refused)


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)


def test_a_search_is_shown_kept_applied_and_rolled_back(
    trained: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, later, work = trained / "validation.parquet", trained / "test.parquet", tmp_path / "work"
    words = (bundle, log, *SEARCH, "--guard", "ndcg@5:click>=90%", "--work", work)
    screen = succeed("fuse", *words, "--then", later, "--pick", "knee", "--apply", tmp_path / "one")
    for told in (
        "searching weights of the weighted_sum by cem",
        f"on the 400 rows of {log} in 40 requests; 120 trials, seed 0",
        "raise ndcg@10 of click",
        "raise value@3 of watch_time",
        "hold  ndcg@5 of click at least 90% of today's",
        "120 rankings tried in",
        "room to each guardrail",
        "what changes when one weight of the champion is multiplied",
        f"the same rankings on the 400 rows of {later}, where nothing was chosen",
        "estimate of what another order would have earned",
        "the new bundle ranks by version 1, weighted_sum, by search",
    ):
        assert told in screen
    assert max(len(line) for line in screen.splitlines() if str(trained.parent) not in line) <= 100
    found = Tuned.read(work)
    assert f"the result is {work / 'tuning.json'}" in screen
    assert f"its page is {work / 'tuning.html'}" in screen
    assert "--pick" in (work / "tuning.html").read_text()
    draw_nothing(monkeypatch)
    applied = load_bundle(tmp_path / "one")
    assert found.knee is not None
    assert applied.value_model is not None
    assert tuple(applied.value_model.tunable[name] for name in found.weights) == found.knee.weights
    assert "## Value model" in succeed("card", tmp_path / "one")

    # The same command looks its trials up; another one is refused, and may forget them.
    trials = (work / "trials.jsonl").read_bytes()
    screen = succeed("fuse", *words, "--pick", "5", "--apply", tmp_path / "two")
    assert (work / "trials.jsonl").read_bytes() == trials
    assert Tuned.read(work).trials == found.trials
    outcome = run("fuse", *words, "--seed", 3)
    assert outcome.code == 2
    assert "holds another search: settings.seed was 0, is 3" in outcome.err
    outcome = run("fuse", *words, "--seed", 3, "--restart", "--guard", "ndcg@1:klick>=1")
    assert outcome.code == 2
    assert "klick" in outcome.err
    assert (work / "trials.jsonl").read_bytes() == trials
    assert succeed("fuse", *words, "--seed", 3, "--restart")
    assert (work / "trials.jsonl").read_bytes() != trials
    screen = succeed("fuse", tmp_path / "one", "--rollback")
    assert "ranks by the default weights" in screen


def test_the_command_of_the_page_applies_a_trial_of_that_search(
    trained: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def shown(tuned: Tuned, folder: Path, *, tasks: object, command: str) -> Path:
        commands.append(command)
        return folder

    monkeypatch.setattr(page, "write_page", shown)
    work, table = tmp_path / "a folder; with 'marks'", trained / "later log.parquet"
    shutil.copy(trained / "test.parquet", table)
    options = ("--guard", "ndcg@5:click>=90%", "--set", "resamples=0", "--part", "all")
    words = (bundle, table, *SEARCH, *options, "--value", "like=2", "--seed", 7, "--work", work)
    succeed("fuse", *words)
    trials = (work / "trials.jsonl").read_bytes()
    again = commands[0].replace("{pick}", "5").replace("FOLDER", str(tmp_path / "out"))
    program, *typed = shlex.split(again)
    assert program == "polyrank"
    succeed(*typed)
    assert (work / "trials.jsonl").read_bytes() == trials
    applied, found = load_bundle(tmp_path / "out").value_model, Tuned.read(work)
    assert applied is not None
    assert [applied.tunable[name] for name in found.weights] == list(found.trials[5].weights)
    bad = next(trial.number for trial in found.trials if not trial.feasible)
    outcome = run(*typed[:-4], "--pick", bad, "--apply", tmp_path / "bad")
    told = f"warning: --pick {bad} misses ndcg@5 of click at least 90% of today's"
    assert told in outcome.err.splitlines()


@pytest.mark.usefixtures("without_page")
def test_a_search_without_options_says_what_it_does(trained: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained / "run" / "bundle", bundle)
    log = trained / "validation.parquet"
    screen = succeed("fuse", bundle, log, "--trials", 40)
    for task in ("click", "long_view", "like"):
        assert f"raise ndcg@10 of {task}" in screen
        assert f"hold  ndcg@10 of {task} at least 99% of today's" in screen
    assert "hold  ndcg@10 of watch_time at least 99% of today's" in screen
    assert "nothing is written: --apply FOLDER writes the bundle" in screen
    assert "no page: the page needs the extra `report`" in screen
    assert len(Tuned.read(tmp_path / "bundle-tuning").trials) == 40
    assert contents(bundle) == contents(trained / "run" / "bundle")


@pytest.mark.usefixtures("without_page")
def test_a_search_from_a_file(trained: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(SETTINGS)
    words = (bundle, trained / "validation.parquet", "--settings", tmp_path / "search.yaml")
    work = ("--work", tmp_path / "work")
    screen = succeed("fuse", *words, *work, "--set", "search.trials=25", "--primary", "gauc:like")
    assert "by random" in screen
    assert "the best gauc of like that holds every guardrail" in screen
    assert "hold  nothing: no guardrail is set" in screen
    found = Tuned.read(tmp_path / "work")
    assert (len(found.trials), found.seed, found.weights) == (25, 4, ("click", "like"))
    outcome = run("fuse", *words, "--search", "nsga")
    assert "--search got 'nsga', which is none. Did you mean 'nsga2'" in outcome.err


SETTINGS = """
objectives:
  - {kind: gauc, task: like}
  - {kind: weighted_recall, task: click, k: 3}
guardrails: []
search: {kind: random, trials: 30}
start: equal
values: {long_view: 0, purchase: 0, report: 0, watch_time: 0}
seed: 4
resamples: 0
"""


@pytest.mark.usefixtures("without_page")
def test_a_guardrail_that_nothing_satisfies(trained: Path, bundle: Path, tmp_path: Path) -> None:
    words = (bundle, trained / "validation.parquet", *SEARCH, "--work", tmp_path)
    outcome = run("fuse", *words, "--guard", "ndcg@10:click>=0.999", "--apply", tmp_path / "out")
    assert outcome.code == 2
    assert (
        "ndcg@10 of click at least 0.999 (0.999) is held by none, at best missed by" in outcome.err
    )
    assert "nearest" in outcome.out
    assert Tuned.read(tmp_path).champion is None
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_page")
def test_a_stopped_search_goes_on(
    trained: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (bundle, trained / "validation.parquet", *SEARCH, "--work", tmp_path)
    values, calls = Ranking.values, itertools.count()

    def stopped(self: Ranking, *given: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return values(self, *given)

    monkeypatch.setattr(Ranking, "values", stopped)
    outcome = run("fuse", *words, "--apply", tmp_path / "out")
    assert outcome.code == 75
    assert "the search was stopped after 1 of 120 trials. The same command goes on" in outcome.err
    assert not (tmp_path / "out").exists()
    assert not Tuned.read(tmp_path).complete
    assert succeed("fuse", *words)
    assert len(Tuned.read(tmp_path).trials) == 120


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{kind: weighted_sum, terms: {clik: 1}}", "terms.clik: 'clik' is no task. Did you mean"),
        ("{kind: weightd_sum}", "kind: names no value model, got 'weightd_sum'. Did you mean"),
        ("{terms: {click: 1}}", "kind: is missing. Known: by_context"),
        ("{kind: weighted_sum, terms: {click: .nan}}", "terms.click"),
        ("{kind: expression, expression: click / (like - like)}", "0"),
        ("{kind: weighted_sum, terms: {click: 1}, demotion: item}", "demotion: must be a mapping"),
        (
            "{kind: weighted_sum, terms: {click: 1}, demotion: {column: authr, decay: .5}}",
            "reads column 'authr', which the input lacks",
        ),
    ],
)
def test_a_file_that_is_no_value_model(
    trained: Path, bundle: Path, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "model.yaml").write_text(text)
    words = (bundle, trained / "test.parquet", "--model", tmp_path / "model.yaml")
    outcome = run("fuse", *words, "--apply", tmp_path / "out")
    assert outcome.code in (2, 3)
    assert told in outcome.err
    assert not (tmp_path / "out").exists()
