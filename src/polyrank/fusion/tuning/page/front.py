"""The figure of the front: every trial by two objectives, with its weights and how to apply it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from polyrank.fusion import parse_value_model
from polyrank.fusion.tuning.page.applied import PLACE, template
from polyrank.fusion.tuning.page.changes import named_points
from polyrank.fusion.tuning.page.figures import thinned
from polyrank.fusion.tuning.result import Point, Tuned, Values
from polyrank.pages import Behaviour, Figure, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import ACCENT, FAINT, INK, MUTED, PAGE

if TYPE_CHECKING:
    import altair as alt


MAX_POINTS = 1500
MAX_CELLS = 25_000
_STAR = (
    "M0,-1L0.235,-0.324L0.951,-0.309L0.38,0.124L0.588,0.809L0,0.4"
    "L-0.588,0.809L-0.38,0.124L-0.951,-0.309L-0.235,-0.324Z"
)
_MARGIN = 0.08  # around the front, of its extent


class _Look(NamedTuple):
    color: str
    shape: str
    size: int
    shift: tuple[int, int]  # of its name


LOOKS = {
    "misses a guardrail": _Look(FAINT, "cross", 22, (0, 0)),
    "dominated": _Look(MUTED, "circle", 16, (0, 0)),
    "front": _Look(ACCENT, "circle", 60, (0, 0)),
    "today": _Look(INK, "diamond", 190, (0, 20)),
    "start": _Look(INK, "square", 120, (0, 20)),
    "nearest": _Look(INK, "triangle-down", 170, (0, -15)),
    "knee": _Look(ACCENT, "triangle-up", 190, (0, 20)),
    "champion": _Look(ACCENT, _STAR, 330, (0, -22)),
}
"""How each role is drawn, from the back to the front."""
_KINDS = {
    "misses a guardrail": "misses a guardrail",
    "dominated": "a feasible trial is better in every objective, or as good",
    "front": "on the front",
}
_DIM = ("misses a guardrail", "dominated")
_AROUND = ("front", "today", "nearest", "knee", "champion")  # what the axes show at first


class _Row(NamedTuple):
    role: str
    trial: int | None
    objectives: Values
    slacks: Values
    weights: Sequence[float | None]


def front(tuned: Tuned, command: str | None) -> Figure:
    """All trials, as far as a page can hold them; of the front each."""
    table = _rows(tuned)
    left_out = len(tuned.trials) - sum(row.trial is not None for row in table)
    labels = {"role": "Role", "trial": "Trial"}
    labels |= {f"o{place}": goal.name for place, goal in enumerate(tuned.objectives)}
    labels |= {f"s{place}": f"slack: {rail.name}" for place, rail in enumerate(tuned.guardrails)}
    labels |= {f"w{place}": f"weight: {name}" for place, name in enumerate(tuned.weights)}
    return Figure(
        name="front",
        title="What can be reached",
        caption="Each point is a ranking. No feasible trial is better than one on the front in "
        "every objective. Choose a point for its weights"
        + (f"; {left_out:,} trials behind the front are left out here." if left_out else "."),
        alt=_alt(tuned),
        data=_columns(table),
        labels=labels,
        charts=[_chart(tuned, table)],
        height=420,
        behaviour=Behaviour("tuning-front", _script(), _data(tuned, command)),
    )


def _rows(tuned: Tuned) -> list[_Row]:
    points = named_points(tuned)
    named = {point.trial for point in points.values()}
    best = frozenset(tuned.front)
    on_front: list[_Row] = []
    others: list[_Row] = []
    for trial in tuned.trials:
        if trial.number in named:
            continue
        role = "dominated" if trial.feasible else "misses a guardrail"
        role = "front" if trial.number in best else role
        row = _Row(role, trial.number, trial.objectives, trial.slacks, trial.weights)
        (on_front if role == "front" else others).append(row)
    width = 2 + len(tuned.objectives) + len(tuned.guardrails) + len(tuned.weights)
    most = min(MAX_POINTS, MAX_CELLS // width)
    kept_front = thinned(on_front, most)
    kept = thinned(others, max(2, most - len(kept_front)))
    return [*kept, *kept_front, *(_named(tuned, *item) for item in points.items())]


def _named(tuned: Tuned, role: str, point: Point) -> _Row:
    weights = point.weights or [None] * len(tuned.weights)
    return _Row(role, point.trial, point.objectives, point.slacks, weights)


def _columns(table: Sequence[_Row]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {
        "role": [row.role for row in table],
        "trial": [row.trial for row in table],
    }
    for letter, groups in (
        ("o", [row.objectives for row in table]),
        ("s", [row.slacks for row in table]),
        ("w", [row.weights for row in table]),
    ):
        for place, column in enumerate(zip(*groups, strict=True)):
            found[f"{letter}{place}"] = list(column)
    return found


def _axes(tuned: Tuned) -> dict[str, str]:
    """What can stand on an axis: its title by field; the first two stand there at first."""
    better = {True: "more is better", False: "less is better"}
    return (
        {
            f"o{place}": f"{goal.name} ({better[goal.higher_is_better]})"
            for place, goal in enumerate(tuned.objectives)
        }
        | {f"s{place}": f"slack: {rail.name}" for place, rail in enumerate(tuned.guardrails)}
        | {f"w{place}": f"weight: {name}" for place, name in enumerate(tuned.weights)}
    )


def _chart(tuned: Tuned, table: Sequence[_Row]) -> Chart:
    import altair as alt

    titles, columns = _axes(tuned), _columns(table)
    x, y = list(titles)[:2]
    roles = [role for role in LOOKS if role in columns["role"]]
    named = list(named_points(tuned))
    seen = [place for place, row in enumerate(table) if row.role in _AROUND]
    base = alt.Chart(rows()).encode(
        x=alt.X(f"{x}:Q", title=titles[x], scale=_scale([columns[x][place] for place in seen])),
        y=alt.Y(f"{y}:Q", title=titles[y], scale=_scale([columns[y][place] for place in seen])),
    )
    look = [LOOKS[role] for role in roles]
    legend = alt.Legend(title=None, symbolSize=130, symbolStrokeWidth=0)
    points = base.encode(
        color=alt.Color(
            "role:N", scale=_by_role(roles, [one.color for one in look]), legend=legend
        ),
        shape=alt.Shape(
            "role:N", scale=_by_role(roles, [one.shape for one in look]), legend=legend
        ),
        tooltip=_tooltip(tuned),
    )
    picked = alt.param(name="picked", value=-1)  # the place of a row
    ring = base.mark_point(filled=False, color=INK, size=520, strokeWidth=2, clip=True).add_params(
        picked
    )
    return alt.layer(
        *(_marks(points, role) for role in roles),
        ring.transform_filter("datum.place === picked"),
        *(_label(base, role) for role in named),
    )


def _marks(points: alt.Chart, role: str) -> alt.Chart:
    size = LOOKS[role].size
    if role in _DIM:
        marks = points.mark_point(clip=True, opacity=0.55, size=size)
    else:
        marks = points.mark_point(clip=True, stroke=PAGE, strokeWidth=1, size=size)
    kept: alt.Chart = marks.transform_filter(_is(role))
    return kept


def _by_role(roles: list[str], values: Sequence[str]) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=roles, range=list(values))


def _scale(values: Sequence[Value]) -> alt.Scale:
    """Around the front, as the page's script does after it."""
    import altair as alt

    numbers = [value for value in values if isinstance(value, float)]
    low, high = min(numbers), max(numbers)
    margin = _MARGIN * (high - low) or 1.0
    return alt.Scale(domain=[low - margin, high + margin], nice=False, zero=False)


def _is(role: str) -> alt.FieldEqualPredicate:
    import altair as alt

    return alt.FieldEqualPredicate(field="role", equal=role)


def _label(base: alt.Chart, role: str) -> Any:
    import altair as alt

    dx, dy = LOOKS[role].shift
    text = base.mark_text(clip=role not in _AROUND, dx=dx, dy=dy, fontWeight=600)
    return text.encode(text=alt.value(role)).transform_filter(_is(role))


def _tooltip(tuned: Tuned) -> list[alt.Tooltip]:
    import altair as alt

    goals = [
        alt.Tooltip(f"o{place}:Q", title=goal.name, format=".5~g")
        for place, goal in enumerate(tuned.objectives)
    ]
    weights = [
        alt.Tooltip(f"w{place}:Q", title=f"weight: {name}", format=".4~g")
        for place, name in enumerate(tuned.weights)
    ]
    return [
        alt.Tooltip("role:N", title="Role"),
        alt.Tooltip("trial:Q", title="Trial"),
        *goals,
        *weights,
    ]


def _data(tuned: Tuned, command: str | None) -> dict[str, object]:
    """What the script shows of a point beside its row."""
    model, _ = parse_value_model(tuned.model, where="tuning")
    return {
        "axes": _axes(tuned),
        "dim": _DIM,
        "around": _AROUND,
        "margin": _MARGIN,
        "objectives": [goal.name for goal in tuned.objectives],
        "guardrails": [
            {"name": rail.name, "limit": rail.limit, "sign": 1 if rail.side == "at_least" else -1}
            for rail in tuned.guardrails
        ],
        "weights": list(tuned.weights),
        "told": {role: point.told for role, point in named_points(tuned).items()},
        "kinds": _KINDS,
        "command": command,
        "model": template(model, tuned.weights),
        "places": [PLACE.format(place) for place in range(len(tuned.weights))],
    }


def _alt(tuned: Tuned) -> str:
    x, y = list(_axes(tuned).values())[:2]
    return (
        f"Scatter of {len(tuned.trials):,} trials, {len(tuned.front)} of them on the front: "
        f"across {x}, up {y}."
    )


@cache
def _script() -> str:
    return (files("polyrank.fusion.tuning.page") / "front.js").read_text("utf-8")
