"""The page of a search, in words and in numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from polyrank.fusion import (
    ByContext,
    Expression,
    Factor,
    Linear,
    Product,
    Rank,
    RankEnsemble,
    ValueModel,
    WeightedSum,
    parse_value_model,
)
from polyrank.fusion.tuning import Trial, Tuned
from polyrank.fusion.tuning.page import write_page
from polyrank.fusion.tuning.page.applied import PLACE, template
from polyrank.fusion.tuning.page.changes import evidence
from polyrank.fusion.tuning.page.compose import composed
from polyrank.fusion.tuning.page.front import MAX_POINTS, front
from polyrank.fusion.tuning.page.verdict import verdict
from polyrank.fusion.tuning.result import Gain, Gains
from polyrank.pages import Figure, Table
from tests.fusion.tuning.searched import NAMES, searched


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return searched()


def with_gain(
    tuned: Tuned,
    lower: float | None,
    upper: float | None,
    today: float = 100,
    picked: float = 103.1,
) -> Tuned:
    """As if the champion raised the primary goal from 100 to 103.1, and held 99.4 % of the first
    guardrail's goal and 90 % of the other's."""
    assert tuned.primary is not None
    assert tuned.champion is not None
    row = Gain(
        goal=tuned.primary,
        today=today,
        picked=picked,
        difference=picked - today,
        lower=lower,
        upper=upper,
    )
    gains = Gains(of="champion", drawn="user", units=9, resamples=40, confidence=0.95, rows=(row,))
    shares = zip(tuned.guardrails, (0.994, 0.9), strict=True)
    slacks = tuple(
        (share * rail.today - rail.limit) * (1 if rail.side == "at_least" else -1)
        for rail, share in shares
    )
    champion = tuned.champion.model_copy(update={"slacks": slacks})
    return tuned.model_copy(update={"gains": gains, "champion": champion, "later": None})


def with_guardrails(tuned: Tuned, times: int) -> Tuned:
    """The same guardrails so many times."""
    points = {
        name: point.model_copy(update={"slacks": point.slacks * times})
        for name in ("today", "start", "knee", "champion")
        if (point := getattr(tuned, name))
    }
    return tuned.model_copy(update={"guardrails": tuned.guardrails * times, **points})


LEAD = (
    "On the rows that it was chosen on, the champion raises "
    "`value@5 of click + 6 like + 15 share - 40 report` by 3.10 %"
)
HELD = (
    ", and keeps `ndcg@10 of click` at 99.4 % of today's "
    "and `value@5 of report` at 90.0 % of today's."
)


@pytest.mark.parametrize(
    ("lower", "upper", "sentence", "tone"),
    [
        (2.2, 4.0, f"{LEAD} (interval +2.20 % to +4.00 %){HELD}", "good"),
        (-0.5, 4.0, f"{LEAD}, which may be nothing (interval −0.50 % to +4.00 %){HELD}", "neutral"),
        (None, None, f"{LEAD}{HELD}", "neutral"),
    ],
)
def test_the_verdict_says_what_is_raised_and_what_is_held(
    tuned: Tuned, lower: float | None, upper: float | None, sentence: str, tone: str
) -> None:
    found = verdict(with_gain(tuned, lower, upper))
    assert (found.sentence.replace("\N{NO-BREAK SPACE}", " "), found.tone) == (sentence, tone)


def test_the_verdict_fits_what_there_is_to_say(tuned: Tuned) -> None:
    good = with_gain(tuned, 2.2, 4.0)
    assert verdict(with_gain(tuned, -4.0, -2.0)).tone == "bad"
    stopped = verdict(good.model_copy(update={"complete": False}))
    assert stopped.sentence.endswith("The search was stopped before its last trial.")
    everything = verdict(good.model_copy(update={"primary": None})).sentence
    assert all(f"`{goal.name}`" in everything for goal in tuned.objectives)
    assert "keeps" not in verdict(with_guardrails(good, 0)).sentence
    assert verdict(with_guardrails(good, 2)).sentence.endswith(", and holds all 4 guardrails.")
    same = verdict(with_gain(tuned, -1.0, 1.0, picked=100.0))
    assert "the champion leaves `value@5" in same.sentence
    unit = verdict(with_gain(tuned, 0.1, 0.9, today=-2.0, picked=-1.5))
    assert "by 0.500 (interval +0.100 to +0.900)" in unit.sentence


def test_later_rows_decide_and_what_they_miss_is_said(tuned: Tuned) -> None:
    assert tuned.later is not None
    assert tuned.later.champion is not None
    limit, slack = tuned.later.limits[0], -0.01
    champion = tuned.later.champion.model_copy(update={"slacks": (slack, 1.0)})
    missed = tuned.model_copy(
        update={"later": tuned.later.model_copy(update={"champion": champion})}
    )
    found = verdict(missed)
    today = limit + tuned.later.today.slacks[0]
    assert found.sentence.startswith("On rows on which nothing was chosen, the champion")
    assert found.sentence.endswith(
        f"but misses `{tuned.guardrails[0].name}` by {1 / today:.2f}\N{NO-BREAK SPACE}% of today's."
    )
    assert found.tone == "bad"


def test_where_nothing_holds_the_page_says_by_how_much(tmp_path: Path) -> None:
    none = searched(at_least=1.3, later=False, resamples=0)
    assert none.champion is None
    assert none.nearest is not None
    found = verdict(none)
    rail = none.guardrails[0]
    share = f"{-100 * none.nearest.slacks[0] / rail.today:.2f}\N{NO-BREAK SPACE}%"
    assert f"the nearest misses `{rail.name}` by {share} of today's" in found.sentence
    assert found.tone == "bad"
    page = composed(none, tasks=None, command=None)
    assert [section.title for section in page.sections] == [
        "Result",
        "Choose a point",
        "Sensitivity",
        "The search",
    ]
    roles = set(front(none, None).data["role"])
    assert roles == {"misses a guardrail", "today", "start", "nearest"}


def test_tables_have_the_numbers_that_were_measured(tuned: Tuned) -> None:
    assert tuned.later is not None
    assert tuned.later.gains is not None
    assert tuned.gains is not None
    later, search = evidence(tuned)
    for best, gains in ((later, tuned.later.gains), (search, tuned.gains)):
        before, after = best.values(best.points["today"]), best.values(best.points["champion"])
        for row in gains.rows:
            assert before[row.goal] == pytest.approx(row.today, rel=1e-9)
            assert after[row.goal] == pytest.approx(row.picked, rel=1e-9)
    tables = [
        block
        for section in composed(tuned, tasks=None, command=None).sections
        for block in section.blocks
        if isinstance(block, Table)
    ]
    goals, rails, weights, *_ = tables
    row = tuned.later.gains.rows[0]
    change = f"{100 * row.difference / row.today:+.2f}\N{NO-BREAK SPACE}%".replace("-", "−")
    assert change in goals.rows[0]
    assert [line[0] for line in rails.rows] == [rail.name for rail in tuned.guardrails]
    picked = {row.goal: row.picked for row in tuned.later.gains.rows}
    for rail, limit, line in zip(tuned.guardrails, tuned.later.limits, rails.rows, strict=True):
        assert line[1:3] == [limit, pytest.approx(picked[rail.goal.name], rel=1e-9)]
    assert [line[0] for line in weights.rows] == list(NAMES)


@pytest.mark.parametrize(
    "model",
    [
        WeightedSum(terms={"click": 1.0, "like": {"weight": -2.0, "lower": 0.1, "power": 0.5}}),  # type: ignore[dict-item]
        Product(terms={"click": Factor(weight=1.0, plus=0.1), "like": Factor(weight=0.3)}),
        RankEnsemble(terms={"click": Rank(weight=2.0), "like": Rank(weight=1.0, beta=0.5)}),
        Linear(weights={"click": 1.0, "like": 2.0}, on="logits", intercept=0.1),
        Expression(expression="click * a + like * b - 0.123456789", weights={"a": 1.0, "b": 2.0}),
        ByContext(
            column="surface",
            values={"feed": WeightedSum(terms={"click": 1.0})},
            default=WeightedSum(terms={"click": 1.0, "like": 2.0}),
        ),
    ],
    ids=lambda model: model.kind,
)
def test_the_model_to_copy_is_the_model_of_the_trial(model: ValueModel) -> None:
    names = list(model.tunable)
    wanted = {name: -1e-7 / (place + 3) for place, name in enumerate(names)}
    text = template(model, names)
    for place, name in enumerate(names):
        assert text.count(PLACE.format(place)) == 1
        text = text.replace(PLACE.format(place), repr(wanted[name]))
    found, demotion = parse_value_model(YAML(typ="safe", pure=True).load(text), where="copied")
    assert (found, demotion) == (model.tuned(wanted), None)


def test_of_very_many_trials_the_front_is_kept_and_the_rest_is_thinned(tuned: Tuned) -> None:
    more = [
        Trial(number=number, weights=one.weights, objectives=one.objectives, slacks=one.slacks)
        for number, one in enumerate(tuned.trials * 20)
    ]
    figure = front(tuned.model_copy(update={"trials": tuple(more)}), None)
    data = figure.data
    shown = {number for number in data["trial"] if number is not None}
    assert set(tuned.front) <= shown
    late = sum(int(number) >= 0.9 * len(more) for number in shown)
    assert 0.08 < late / len(shown) < 0.12  # evenly over the search
    assert MAX_POINTS - 5 <= len(data["role"]) <= MAX_POINTS + 5
    assert f"{len(more) - len(shown):,} trials behind the front are left out" in figure.caption


def test_the_front_shows_every_trial_and_names_those_with_a_name(tuned: Tuned) -> None:
    figure = front(tuned, None)
    assert tuned.champion is not None
    lines = list(zip(*figure.data.values(), strict=True))
    by_trial = {line[1]: line for line in lines if line[1] is not None}
    assert by_trial.keys() == set(range(len(tuned.trials)))
    for trial in tuned.trials:
        numbers = (*trial.objectives, *trial.slacks, *trial.weights)
        assert by_trial[trial.number][2:] == numbers
    roles = {number: line[0] for number, line in by_trial.items()}
    assert roles[tuned.champion.trial] == "champion"
    named = {"start", "knee", "champion"}
    assert {n for n, role in roles.items() if role == "front"} == {
        number for number in tuned.front if roles[number] not in named
    }
    assert all(
        (role == "misses a guardrail") == (not tuned.trials[number].feasible)
        for number, role in roles.items()
        if role not in named
    )


@pytest.mark.nightly
def test_figures_are_written_as_images_where_asked(tuned: Tuned, tmp_path: Path) -> None:
    write_page(tuned, tmp_path, figures=True)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    figures = [
        block
        for section in composed(tuned, tasks=None, command=None).sections
        for block in section.blocks
        if isinstance(block, Figure)
    ]
    assert names == {f"{figure.name}.png" for figure in figures}
    assert names == {"front.png", "sensitivity.png", "hypervolume.png"}
