"""A search from settings to result: chosen under guardrails, resumed to the bit, told honestly."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank.config import read_yaml
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.evaluation import Observations, compare
from polyrank.fusion import Demotion, Expression, WeightedSum
from polyrank.fusion.tuning import (
    CEM,
    GAUC,
    NDCG,
    TPE,
    Hold,
    Random,
    Range,
    Settings,
    Tuned,
    Value,
    check_later,
    front_of,
    search,
    told,
)
from polyrank.fusion.tuning import WeightedRecall as Recall
from polyrank.fusion.tuning.memo import FILE
from polyrank.fusion.tuning.ranking import Ranking
from polyrank.fusion.tuning.written import read_guardrail, read_objective
from polyrank.schema import parse
from tests.fusion.tuning import worlds

CHILD = """
from pathlib import Path
import sys, time
from polyrank.fusion.tuning import CEM, search
from tests.fusion.tuning import worlds
settings = worlds.some_settings(search=CEM(trials=400, population=20))
search(worlds.task(settings), Path(sys.argv[1]), lambda done: time.sleep(0.2 if done > 100 else 0))
"""


def by_number(found: Tuned) -> list[tuple[Any, ...]]:
    return [(each.weights, each.objectives, each.slacks) for each in found.trials]


def test_the_result_is_what_its_trials_say() -> None:
    settings = worlds.some_settings(search=CEM(trials=200), primary="ndcg@10 of watch")
    searched = search(worlds.task(settings))
    found = told(searched)
    assert len(found.trials) == 200
    assert [each.number for each in found.trials] == list(range(200))
    assert found.trials[0].weights == tuple(worlds.START.values())
    assert found.start.objectives == found.trials[0].objectives
    feasible = [each for each in found.trials if each.feasible]
    assert 0 < len(feasible) < 200
    values = np.array([each.objectives for each in feasible])
    assert [feasible[place].number for place in front_of(values)] == list(found.front)
    best = max(feasible, key=lambda each: each.objectives[1])
    assert found.champion is not None
    assert found.champion.objectives[1] == best.objectives[1]
    assert found.knee is not None
    assert found.knee.trial in found.front
    assert found.nearest is None

    # Each number again, by the model itself.
    click = NDCG(task="click")
    again = Ranking(searched.task.log, searched.ranking.model, None, (click,))
    (today,) = again.meter.of_scores(searched.task.today_N[None])[0]
    assert found.guardrails[0].limit == 0.9 * today
    for each in (found.champion, found.knee):
        assert each.weights is not None
        score_N = again.scores(dict(zip(found.weights, each.weights, strict=True)))
        (value,) = again.meter.of_scores(score_N[None])[0]
        assert each.slacks[0] == value - 0.9 * today
    assert found.today.slacks[0] == pytest.approx(0.1 * today)
    assert found.today.weights is None

    for one in found.sensitivity:
        place = one.factors.index(1.0)
        assert one.objectives[place] == found.champion.objectives
    factor = found.sensitivity[0].factors.index(2.0)
    names = dict(zip(found.weights, found.champion.weights or (), strict=True))
    names["click"] *= 2
    twice = searched.ranking.meter.of_scores(searched.ranking.scores(names)[None])[0]
    assert found.sensitivity[0].objectives[factor] == tuple(twice[:2])
    assert len(found.sensitivity) == 5
    assert found.sensitivity[0].factors[0] == 0.0

    volume = found.hypervolume
    assert volume.value == volume.values[-1] > volume.today > 0
    assert volume.trials[-1] == 200
    assert list(volume.values) == sorted(volume.values)
    shuffled = Ranking(searched.task.log, searched.ranking.model, None, (NDCG(task="like"),))
    nothing = shuffled.meter.of_scores(np.zeros((1, 240)))
    assert volume.reference[0] == nothing[0, 0]


def test_the_result_is_read_back_to_the_bit(tmp_path: Path) -> None:
    found = told(search(worlds.task(worlds.some_settings(resamples=40))))
    found.write(tmp_path)
    assert Tuned.read(tmp_path) == found
    tree = json.loads((tmp_path / "tuning.json").read_text())
    del tree["trials"]
    (tmp_path / "tuning.json").write_text(json.dumps(tree))
    with pytest.raises(ArtefactError, match="trials: is missing"):
        Tuned.read(tmp_path)
    with pytest.raises(ArtefactError, match="holds no result"):
        Tuned.read(tmp_path / "nowhere")


def test_what_is_picked() -> None:
    found = told(search(worlds.task(worlds.some_settings())))
    assert found.champion == found.knee
    assert found.champion is not None
    assert tuple(found.picked("champion").values()) == found.champion.weights
    assert found.picked("7") == dict(zip(found.weights, found.trials[7].weights, strict=True))
    for pick in ("150", "best", "-1"):
        with pytest.raises(ConfigError, match=f"'{pick}' names no trial, of 0 to 149"):
            found.picked(pick)


def test_a_guardrail_that_nothing_satisfies() -> None:
    hopeless = Hold(of=NDCG(task="click"), at_least=2.0)
    settings = worlds.some_settings(guardrails=(hopeless, Hold(of=NDCG(task="like"), at_least=0.5)))
    searched = search(worlds.task(settings))
    found = told(searched)
    assert found.champion is None
    assert found.knee is None
    assert found.front == ()
    assert found.hypervolume.value == 0.0
    best = max(each.slacks[0] for each in found.trials)
    assert found.nearest is not None
    assert found.nearest.slacks[0] == best
    text = searched.goals.told_missed(searched.value_PK)
    assert "ndcg@10 of click at least 200% of today's" in text
    assert f"is held by none, at best missed by {-best:.4g}" in text
    assert "like" not in text
    with pytest.raises(ConfigError, match="there is no champion: no trial holds every guardrail"):
        found.picked("champion")


def test_guardrails_that_exclude_each_other() -> None:
    click = NDCG(task="click", k=1)
    wide = told(search(worlds.task(worlds.some_settings(guardrails=(), objectives=(click,)))))
    middle = float(np.median([each.objectives[0] for each in wide.trials]))
    rails = (
        Hold(of=click, at_least=middle + 1e-3, absolute=True),
        Hold(of=click, at_most=middle - 1e-3, absolute=True),
    )
    searched = search(worlds.task(worlds.some_settings(guardrails=rails)))
    text = searched.goals.told_missed(searched.value_PK)
    assert "each is held by some, never all at once: the nearest misses ndcg@1 of click" in text


def test_bounds_of_today() -> None:
    hold = Hold(of=NDCG(task="click"), at_least=0.99)
    assert hold.limit(0.5) == pytest.approx(0.495)
    assert hold.limit(-5.0) == pytest.approx(-5.05)
    assert hold.slack(0.5, 0.5) == pytest.approx(0.005)
    most = Hold(of=NDCG(task="report"), at_most=1.0)
    assert most.limit(0.3) == 0.3
    assert most.slack(0.2, 0.3) == pytest.approx(0.1)
    fixed = Hold(of=NDCG(task="click"), at_least=0.4, absolute=True)
    assert (fixed.limit(9.0), fixed.name) == (0.4, "ndcg@10 of click at least 0.4")
    # What ranks today holds "at least all of today's" to the bit.
    model = WeightedSum(terms=worlds.START)
    log = worlds.log()
    task = worlds.task(
        worlds.some_settings(guardrails=(Hold(of=NDCG(task="click"), at_least=1.0),)),
        model,
        log=log,
        today_N=model.score(log.candidates).score_N,
        today_weights=model.tunable,
    )
    found = told(search(task))
    assert found.trials[0].slacks == (0.0,)
    assert found.today.weights == found.start.weights


def test_any_value_model_by_the_plain_path() -> None:
    """A formula that says the same gives the same numbers; so does a demotion of nothing."""
    terms = {"click": 1.0, "like": 2.0}
    formula = Expression(expression="click * a + like * b", weights={"a": 1.0, "b": 2.0})
    summed = told(search(worlds.task(model=WeightedSum(terms=terms))))
    written = told(search(worlds.task(model=formula)))
    assert written.weights == ("a", "b")
    for fast, plain in zip(summed.trials, written.trials, strict=True):
        assert fast.weights == plain.weights
        assert plain.objectives == pytest.approx(fast.objectives, abs=1e-12)
    assert 0.0 not in written.sensitivity[0].factors
    demotion = Demotion(column="author", decay=0.3)
    demoted = search(worlds.task(model=WeightedSum(terms=terms), demotion=demotion))
    assert not demoted.ranking.fast
    assert by_number(told(demoted)) != by_number(summed)
    held = demoted.ranking.scores(terms)
    log = demoted.task.log
    undemoted = WeightedSum(terms=terms).score(log.candidates)
    assert np.array_equal(held, demotion.apply(undemoted, log.candidates).score_N)


def test_weights_that_are_searched() -> None:
    model = WeightedSum(terms={**worlds.START, "like": 0.0})
    found = told(search(worlds.task(model=model)))
    assert found.weights == ("click", "purchase", "report", "watch")
    report = found.weights.index("report")
    assert all(each.weights[report] < 0 for each in found.trials)
    assert (found.lower[report], found.upper[report]) == pytest.approx((-0.09, -90.0))
    for each in found.trials:
        for weight, lower, upper in zip(each.weights, found.lower, found.upper, strict=True):
            assert abs(lower) * (1 - 1e-12) <= abs(weight) <= abs(upper) * (1 + 1e-12)
    own = {
        "like": Range(start=5.0, lower=0.5, upper=2.0),
        "click": Range(lower=1.0, upper=1.0),
    }
    found = told(search(worlds.task(worlds.some_settings(weights=own), model)))
    assert found.weights == ("like", "purchase", "report", "watch")
    assert (found.lower[0], found.upper[0]) == (2.5, 10.0)
    assert found.trials[0].weights[0] == 5.0
    assert found.model["terms"]["click"]["weight"] == 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"clik": Range()}, r"weights: 'clik' is no weight of the value model\. Did you mean 'cli"),
        ({"like": Range(lower=0.5)}, r"weights\.like: it is 0 at the start.*Give it a `start`"),
        ({"click": Range(lower=2.0)}, r"weights\.click: is searched from 2 to 30 times its start"),
        (
            {name: Range(lower=1.0, upper=1.0) for name in worlds.START if name != "like"},
            "no weight is left to search",
        ),
    ],
)
def test_weights_that_are_refused(weights: dict[str, Range], message: str) -> None:
    model = WeightedSum(terms={**worlds.START, "like": 0.0})
    with pytest.raises(ConfigError, match=message):
        search(worlds.task(worlds.some_settings(weights=weights), model))


def test_defaults_are_what_the_log_has() -> None:
    log = worlds.log()
    found = Settings().resolved(log)
    assert [each.name for each in found.objectives or ()] == [
        "ndcg@10 of click",
        "ndcg@10 of like",
        "ndcg@10 of purchase",
    ]
    assert [each.name for each in found.guardrails or ()] == [
        "ndcg@10 of click at least 99% of today's",
        "ndcg@10 of like at least 99% of today's",
        "ndcg@10 of purchase at least 99% of today's",
        "ndcg@10 of report at most 101% of today's",
        "ndcg@10 of watch at least 99% of today's",
    ]
    rows = log.rows
    columns = (rows.predictions, {**rows.labels, "report": np.zeros(240)}, rows.masks)
    later = worlds.replayed(*columns, rows.groups["request"], rows.groups["user"])
    names = [each.name for each in Settings().resolved(log, later).guardrails or ()]
    assert len(names) == 4
    assert not any("report" in name for name in names)
    del log.rows.groups["request"]  # type: ignore[attr-defined]
    assert {each.kind for each in Settings().resolved(log).objectives or ()} == {"gauc"}
    del log.rows.groups["user"]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="neither requests nor users"):
        Settings().resolved(log)


def test_nothing_to_raise_by_default() -> None:
    rows = worlds.log().rows
    nothing = {**rows.labels, **dict.fromkeys(("click", "like", "purchase"), np.zeros(240))}
    log = worlds.replayed(
        rows.predictions, nothing, rows.masks, rows.groups["request"], rows.groups["user"]
    )
    with pytest.raises(ConfigError, match="no binary task with a label above 0 that is not bad"):
        Settings().resolved(log)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"objectives": []}, "objectives"),
        ({"objectives": [{"kind": "ndgc"}]}, "objectives.0.*'ndgc'"),
        ({"objectives": [{"kind": "ndcg", "task": "a"}] * 2}, "'ndcg@10 of a' stands there twice"),
        ({"search": {"kind": "cem", "elites": 3}}, "elites: unknown key"),
        ({"guardrails": [{"of": {"kind": "ndcg", "task": "a"}}]}, "give either it or `at_most`"),
        ({"resamples": 3}, "resamples: must be 0 or at least 40"),
        ({"lower": 0}, "lower: .*greater than 0|lower: must be"),
        (
            {"objectives": [{"kind": "ndcg", "task": "a"}], "primary": "ndcg of a"},
            "'ndcg of a' is no objective",
        ),
    ],
)
def test_settings_that_are_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Settings, tree)


def test_a_primary_that_the_defaults_lack() -> None:
    with pytest.raises(ConfigError, match="'gauc of like' is no objective"):
        told(search(worlds.task(Settings(primary="gauc of like", search=Random(trials=3)))))


def test_objectives_and_guardrails_as_words() -> None:
    assert read_objective("ndcg@5:click") == NDCG(task="click", k=5)
    assert read_objective("gauc:click") == GAUC(task="click")
    assert read_objective("recall@3:like") == Recall(task="like", k=3)
    assert read_objective("value@2:a=20,b") == Value(worth={"a": 20.0, "b": 1.0}, k=2)
    assert read_guardrail("ndcg:click>=99%") == Hold(of=NDCG(task="click"), at_least=0.99)
    hold = Hold(of=Value(worth={"report": 1.0}, k=5), at_most=0.2, absolute=True)
    assert read_guardrail("value@5:report=1<=0.2") == hold
    for text, message in (
        ("click", "--objective got 'click'. Write it as ndcg@10:TASK"),
        ("nddcg:click", "no objective. Did you mean 'ndcg'"),
        ("ndcg@x:click", "k: "),
        ("gauc@3:click", "k: unknown key"),
        ("value:a=b", "'b' is no number"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_objective(text)
    with pytest.raises(ConfigError, match="--guard got 'ndcg:click'.*quoted"):
        read_guardrail("ndcg:click")
    with pytest.raises(ConfigError, match="--guard got 'ndcg:click>=most', where 'most' is no"):
        read_guardrail("ndcg:click>=most")


# ------------------------------------------------------------------------------ going on


@pytest.mark.parametrize("kind", [CEM(trials=90, population=20), TPE(trials=24, startup=5)])
def test_an_interrupted_search_goes_on_to_the_same_bits(kind: CEM | TPE, tmp_path: Path) -> None:
    settings = worlds.some_settings(search=kind)
    whole = told(search(worlds.task(settings)))
    calls = itertools.count()

    def stop(done: int) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    part = search(worlds.task(settings), tmp_path, stop)
    assert not part.complete
    assert not told(part).complete
    assert len(part.weight_PW) < kind.trials
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 1 + len(part.weight_PW)
    rest = search(worlds.task(settings), tmp_path)
    assert by_number(told(rest)) == by_number(whole)
    before = (tmp_path / FILE).read_bytes()
    assert by_number(told(search(worlds.task(settings), tmp_path))) == by_number(whole)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_killed_process_loses_at_most_a_line(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment)
    memo = tmp_path / FILE
    for _ in range(600):
        if memo.exists() and memo.read_bytes().count(b"\n") > 120:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    content = memo.read_bytes()
    assert 120 < content.count(b"\n") < 401
    memo.write_bytes(content + b'{"trial": 999, "weigh')  # the line that it was writing
    settings = worlds.some_settings(search=CEM(trials=400, population=20))
    went_on = told(search(worlds.task(settings), tmp_path))
    assert memo.read_bytes().startswith(content)
    assert by_number(went_on) == by_number(told(search(worlds.task(settings))))


def test_another_search_does_not_go_on(tmp_path: Path) -> None:
    search(worlds.task(), tmp_path)
    others = [
        (worlds.task(worlds.some_settings(seed=1)), "settings.seed was 0, is 1"),
        (
            worlds.task(worlds.some_settings(search=Random(trials=151))),
            r"settings.search.trials was 150, is 151\. Give --work another folder",
        ),
        (worlds.task(seed=1), "log.fingerprint was"),
        (
            worlds.task(model=WeightedSum(terms={"click": 1.0, "like": 2.0})),
            "model.terms.purchase was",
        ),
        (worlds.task(demotion=Demotion(column="author", decay=0.5)), "demotion was null, is"),
        (
            worlds.task(worlds.some_settings(seed=2, lower=0.5, upper=2.0, values={"a": 1})),
            "settings.lower .*; settings.seed .*; settings.upper .*, and 1 more",
        ),
    ]
    for task, message in others:
        with pytest.raises(ConfigError, match=message):
            search(task, tmp_path)
    kept = (tmp_path / "trials.jsonl").read_bytes()
    older = tmp_path / "older"
    older.mkdir()
    (older / "trials.jsonl").write_bytes(kept.replace(b'"format": 2', b'"format": 1', 1))
    with pytest.raises(ConfigError, match="format was 1, is 2"):  # measured by other last digits
        search(worlds.task(), older)
    for wrong in (worlds.task(worlds.some_settings(weights={"nothing": {}})),):
        with pytest.raises(ConfigError):
            search(wrong, tmp_path, restart=True)
    assert (tmp_path / "trials.jsonl").read_bytes() == kept  # a refused search forgets nothing
    assert search(others[0][0], tmp_path, restart=True).complete
    assert (tmp_path / "trials.jsonl").read_bytes() != kept


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [b"{", *lines[1:]], "line 1 is no trial"),
        (lambda lines: [*lines[:3], b"nothing", *lines[4:]], "line 4 is no trial"),
        (lambda lines: [*lines[:3], *lines[4:]], "line 4 is no trial"),
        (lambda lines: [*lines[:2], b'{"trial": 1}', *lines[3:]], "line 3 is no trial"),
        (lambda lines: [*lines[:2], lines[2].replace(b"0.", b"1.")], "trial 1 had other weights"),
    ],
)
def test_damaged_trials(tmp_path: Path, damage: Any, message: str) -> None:
    settings = worlds.some_settings(search=Random(trials=8))
    search(worlds.task(settings), tmp_path)
    lines = (tmp_path / FILE).read_bytes().splitlines()
    (tmp_path / FILE).write_bytes(b"\n".join(damage(lines)) + b"\n")
    with pytest.raises(ArtefactError, match=message):
        search(worlds.task(settings), tmp_path)


def test_stopped_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ranking, "values", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(worlds.task(), tmp_path)


# ------------------------------------------------------------------------------ gains, later


@pytest.mark.parametrize("nulls", [False, True])
def test_intervals_are_those_of_compare(nulls: bool) -> None:
    log = worlds.log(4, rows=400, nulls=nulls)
    measures = (NDCG(task="click"), NDCG(task="purchase", k=3), GAUC(task="click"))
    settings = worlds.some_settings(
        objectives=measures, guardrails=(), search=Random(trials=9), resamples=200, seed=3
    )
    searched = search(worlds.task(settings, log=log))
    found = told(searched)
    assert found.gains is not None
    assert found.champion is not None
    assert found.champion.weights is not None
    weights = dict(zip(found.weights, found.champion.weights, strict=True))

    def ranked_by(score_N: np.ndarray[Any, Any]) -> Observations:
        rows = log.rows
        predictions = {"click": score_N, "purchase": score_N}
        return Observations(
            predictions=predictions,
            labels={task: rows.labels[task] for task in predictions},
            masks={task: rows.masks[task] for task in predictions},
            groups=rows.groups,
        )

    tasks = [worlds.SCHEMA.task("click"), worlds.SCHEMA.task("purchase")]
    expected = compare(
        ranked_by(searched.task.today_N),
        ranked_by(searched.ranking.scores(weights)),
        tasks,
        metrics=["ndcg@10", "ndcg@3", "gauc"],
        resamples=200,
        seed=3,
    )
    for gain, (task, metric) in zip(
        found.gains.rows,
        (("click", "ndcg@10"), ("purchase", "ndcg@3"), ("click", "gauc")),
        strict=True,
    ):
        row = expected.row(task, metric)
        assert gain.difference == pytest.approx(row.difference, abs=1e-12)
        assert (gain.lower, gain.upper) == pytest.approx((row.lower, row.upper), abs=1e-9)


def test_gains_that_cannot_be_told() -> None:
    log = worlds.log(4)
    rows = log.rows
    rng = np.random.default_rng(0)
    one = np.zeros(240, dtype=np.int64)
    columns = (rows.predictions, rows.labels, rows.masks)
    settings = worlds.some_settings(
        objectives=(GAUC(task="click"), NDCG(task="like")), guardrails=(), resamples=50
    )
    weighted = worlds.replayed(
        *columns, rows.groups["request"], rows.groups["user"], rng.random(240)
    )
    found = told(search(worlds.task(settings, log=weighted)))
    assert found.gains is not None
    assert "weigh differently" in (found.gains.rows[0].reason or "")
    assert found.gains.rows[1].lower is not None
    alone = worlds.replayed(*columns, one, one)
    found = told(search(worlds.task(settings, log=alone)))
    assert found.gains is not None
    assert {row.reason for row in found.gains.rows} == {
        "fewer than 2 to draw from, so there is no interval"
    }


def test_a_later_log_is_measured_as_itself() -> None:
    settings = worlds.some_settings(search=CEM(trials=200), resamples=50)
    searched = search(worlds.task(settings))
    found = told(searched)
    same = check_later(searched, found, searched.task.log, searched.task.today_N)
    assert same.champion == found.champion
    assert same.knee == found.knee
    assert same.today == found.today
    assert same.gains == found.gains
    assert same.limits == (found.guardrails[0].limit,)

    other = worlds.log(9)
    later = check_later(searched, found, other, other.rows.predictions["click"])
    assert found.champion is not None
    assert found.champion.weights is not None
    assert later.champion is not None
    ranking = Ranking(other, searched.ranking.model, None, (NDCG(task="like"), NDCG(task="click")))
    weights = dict(zip(found.weights, found.champion.weights, strict=True))
    like, click = ranking.meter.of_scores(ranking.scores(weights)[None])[0]
    _, today = ranking.meter.of_scores(other.rows.predictions["click"][None])[0]
    assert later.champion.objectives[0] == like
    assert later.champion.slacks[0] == pytest.approx(click - 0.9 * today, abs=1e-15)
    assert (later.rows, later.on) == (240, "a small log")

    rows = other.rows
    nothing = {**rows.labels, "like": np.zeros(240)}
    empty = worlds.replayed(
        rows.predictions, nothing, rows.masks, rows.groups["request"], rows.groups["user"]
    )
    with pytest.raises(DataError, match="ndcg@10 of like: is undefined"):
        searched.task.check_defined(empty)


def test_nothing_later_without_a_champion() -> None:
    hopeless = (Hold(of=NDCG(task="click"), at_least=2.0),)
    searched = search(worlds.task(worlds.some_settings(guardrails=hopeless, resamples=50)))
    later = check_later(searched, told(searched), searched.task.log, searched.task.today_N)
    assert (later.champion, later.knee, later.gains) == (None, None, None)


def test_the_settings_in_the_documentation_are_settings(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "fusion.md").read_text()
    block = next(part for part in text.split("```yaml\n")[1:] if part.startswith("objectives:"))
    (tmp_path / "search.yaml").write_text(block.partition("```")[0])
    found = parse(Settings, read_yaml(tmp_path / "search.yaml"))
    assert found.search == CEM(trials=5000, population=100)
    assert [each.name for each in found.guardrails or ()] == [
        "ndcg@10 of click at least 99% of today's",
        "value@3 of report at most 100% of today's",
    ]
