"""Reading logged lists whose chances are known, with what they earned and what is predicted.

Shapes: N rows, R requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.data import open_log
from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation import Observations
from polyrank.fusion.off_policy import WeightJitter, is_whole
from polyrank.schema import Schema
from polyrank.scoring.first_rows import MOST_ROWS, context_of, first_rows
from polyrank.scoring.labels import SERVED
from polyrank.scoring.off_policy_columns import (
    RANK,
    WHERE,
    codes,
    listed_by,
    numbered,
    numbers_in,
)
from polyrank.scoring.order import Order, expected
from polyrank.scoring.scorer import Scorer
from polyrank.scoring.slices import slice_values

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
DRAWN = "weight_"
"""Before the name of a value model's weight: the column of what was drawn for the request."""
DRAWN_FROM = "served_drawn"
"""What a request's ranking was drawn from, as a server logs it: ``drawn_from``; null: not drawn."""
MOST_BROKEN = 0.05
"""Share of requests that may be left out because something of them is missing."""
LAST = 1e-3
"""How far the propensity of a list's last place may be below 1, which it is but for rounding."""
NOT_RANDOM = ("not randomised", "without propensities", "not drawn around these weights")
"""Why requests are no part of the experiment, so that any number of them may be left out."""
TO_LOG = (
    "Rank some requests at random with known chances and log every candidate that was ranked, "
    "with its request, its place from 1, and in `keys.propensity` the chance of that candidate at "
    "that place given those above it (by scores with Gumbel noise: exp(u) over the sum of exp(u) "
    "of it and all below). Or name the column that marks requests in uniformly random order "
    "(--randomised), or log weights drawn for each request (--jitter); docs/fusion.md tells how."
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a log, and how its chances are known."""

    worth: Mapping[str, float]
    """By task, what its label adds to the reward; outside its sample space a label counts as 0."""
    places: int = 1
    """The first ones of a list, whose rewards count."""
    propensity: str | None = None
    """The column of propensities; null: ``keys.propensity``."""
    randomised: str | None = None
    """The column that is 1 or true in requests whose order was uniformly random; the others are
    left out."""
    drawn: tuple[str, ...] = ()
    """Weights of the value model that were drawn for each request, each in the column
    ``weight_<name>``; then neither propensities nor whole lists are needed."""
    drawn_from: str | None = None
    """By ``drawn_from``: requests of which the log says that they were drawn otherwise, or not at
    all, are left out; a log without the column ``served_drawn`` says nothing."""

    def check(self, schema: Schema) -> None:
        """Refuse what fits no log.

        Raises:
            ConfigError: No reward, one of no task or that is no number, or ``places`` below 1.
        """
        for name, value in self.worth.items():
            if name not in schema.task_names:
                hint = suggest(name, schema.task_names)
                raise ConfigError(f"{name!r} is no task", where="--reward", hint=hint)
            if not np.isfinite(value):
                raise ConfigError(
                    f"{name!r} is worth {value:g}", where="--reward", hint="Give a finite number."
                )
        if not any(self.worth.values()):
            raise ConfigError(
                "no task earns anything",
                where="--reward",
                hint=f"Write --reward TASK or TASK=WORTH. Tasks: {', '.join(schema.task_names)}.",
            )
        if self.places < 1:
            raise ConfigError(f"must be at least 1, got {self.places}", where="--places")


@dataclass(frozen=True, kw_only=True, eq=False)
class LoggedRows:
    """Requests of known chances, all of each."""

    schema: Schema
    predictions: Mapping[str, Floats]
    columns: Mapping[str, NDArray[Any]]
    """The context that value models read."""
    request_N: NDArray[np.int64]
    place_N: Floats
    reward_N: Floats
    """NaN only beyond the places asked for."""
    model_N: Floats
    """The reward that the bundle expects of a row."""
    weight_N: Floats
    cluster_N: NDArray[np.int64]
    """Users; requests where the log knows none."""
    propensity_N: Floats
    """Of the place given those above; NaN where weights were drawn."""
    drawn: Mapping[str, Floats]
    otherwise_N: Bools
    """Whether the log says that a row's weights were not drawn as asked."""
    on: str
    """Which rows these are, in words."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason, how many requests."""
    clusters: str = "users"
    """What intervals are over."""

    @property
    def num_requests(self) -> int:
        """R."""
        return len(np.unique(self.request_N))


def read_logged(
    scorer: Scorer,
    log: Any,
    orders: Sequence[Order],
    question: Question,
    *,
    part: str = "all",
    max_quarantine_share: float | None = None,
    most_rows: int = MOST_ROWS,
) -> LoggedRows:
    """Predict a log once, and keep the requests that can be told of.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: A path, glob, folder or Arrow-compatible table, with labels.
        orders: What will be judged: their context columns are read.
        question: The reward, and how chances are known.
        part: The part of the log by the split of the bundle's run; "all": every row.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        most_rows: Rows that are held in memory: the first ones count.

    Raises:
        ConfigError: The question fits no log, or an unknown part.
        DataError: The log is refused, or says not what was likely; more than 1 in 20 of its
            requests are broken.
    """
    schema = scorer.bundle.schema
    question.check(schema)
    source = open_log(log)
    given = source.schema().names
    context = context_of(orders, given)
    listed = listed_by(schema, given)
    known = _known_by(schema, question, given)
    read = first_rows(
        scorer,
        log,
        source,
        extra=(*context, *known, *listed.values()),
        keep=(*context, *known, *listed.values()),
        part=part,
        max_quarantine_share=max_quarantine_share,
        most_rows=most_rows,
    )
    found = _gathered(schema, read.rows, read.columns, context, known, listed, question, read.on)
    return _kept(found, question)


def _known_by(schema: Schema, question: Question, given: Sequence[str]) -> tuple[str, ...]:
    """The columns that say what was likely.

    Raises:
        DataError: All that is missing.
    """
    keys, lacks, listed = schema.keys, [], listed_by(schema, given)
    for role, served in (("request", SERVED), ("position", RANK)):
        column = getattr(keys, role)
        if column is None and role not in listed:
            lacks.append(f"the schema has no `keys.{role}`, and the log no column {served!r}")
        elif role not in listed:
            lacks.append(f"`keys.{role}` {column!r} is no column of the log")
    if question.drawn:
        known = tuple(DRAWN + name for name in question.drawn)
        lacks += [f"there is no column {name!r}" for name in known if name not in given]
        known += (DRAWN_FROM,) if DRAWN_FROM in given else ()
    else:
        asked = question.randomised or question.propensity or keys.propensity
        known = () if asked is None else (asked,)
        if asked is None:
            lacks.append("the schema has no `keys.propensity`, and no --propensity names a column")
        elif asked not in given:
            lacks.append(f"there is no column {asked!r}")
    if lacks:
        raise DataError(
            f"the log does not say how likely what it shows was: {'; '.join(lacks)}",
            where=WHERE,
            hint=TO_LOG,
        )
    return known


def _gathered(
    schema: Schema,
    rows: Observations,
    held: pa.Table,
    context: Sequence[str],
    known: Sequence[str],
    listed: Mapping[str, str],
    question: Question,
    told: str,
) -> LoggedRows:
    """All rows, with what is known of each."""
    code_N = rows.groups.get("request")
    request_N = numbered(codes(held[listed["request"]]) if code_N is None else code_N)
    place_N = numbers_in(held, listed["position"])
    value = expected(schema, rows.predictions)
    return LoggedRows(
        schema=schema,
        predictions=rows.predictions,
        columns={name: slice_values(held, name) for name in context},
        request_N=request_N,
        place_N=place_N,
        reward_N=_weighed(question.worth, {t: _outcome(schema, rows, t) for t in question.worth}),
        model_N=_weighed(question.worth, value),
        weight_N=np.ones(rows.num_rows) if rows.weights is None else rows.weights,
        cluster_N=rows.groups.get("user", request_N),
        propensity_N=_propensities(held, known, question, request_N, place_N),
        drawn={name: numbers_in(held, DRAWN + name) for name in question.drawn},
        otherwise_N=_otherwise(held, question),
        on=told,
        clusters="users" if "user" in rows.groups else "requests",
    )


def _otherwise(held: pa.Table, question: Question) -> Bools:
    if question.drawn_from is None or DRAWN_FROM not in held.column_names:
        return np.zeros(held.num_rows, dtype=np.bool_)
    told = held[DRAWN_FROM].cast(pa.large_string())
    same = pc.fill_null(pc.equal(told, question.drawn_from), False)
    return ~np.asarray(same.to_numpy(), dtype=np.bool_)


def drawn_from(centre: Mapping[str, float], jitter: WeightJitter) -> str:
    """Which weights are drawn, and how far around them, as one text that is the same for the same.

    >>> drawn_from({"click": 1.0}, WeightJitter(scale=0.15))
    '{"scale": 0.15, "weights": {"click": 1.0}}'
    """
    weights = {name: float(weight) for name, weight in centre.items()}
    return json.dumps({"scale": jitter.scale, "weights": weights}, sort_keys=True)


def _propensities(
    held: pa.Table,
    known: Sequence[str],
    question: Question,
    request_N: NDArray[np.int64],
    place_N: Floats,
) -> Floats:
    """(N,) of the place given those above; -1 where a request's order was not random."""
    if question.drawn:
        return np.full(len(request_N), np.nan)
    value_N = numbers_in(held, known[0])
    if question.randomised is None:
        return value_N
    size_N = np.bincount(request_N)[request_N]
    with np.errstate(divide="ignore", invalid="ignore"):
        uniform_N = 1.0 / (size_N - place_N + 1)
    return np.where(value_N == 1, uniform_N, -1.0)


def _kept(found: LoggedRows, question: Question) -> LoggedRows:
    """The requests that can be told of, and how many of the others there are.

    Raises:
        DataError: None is left, or too many are broken.
    """
    left_out: dict[str, int] = {}
    good_R = np.ones(found.num_requests, dtype=np.bool_)
    for reason, bad_N in _faults(found, question):
        bad_R = np.bincount(found.request_N, bad_N, minlength=len(good_R)) > 0
        if (bad_R & good_R).any():
            left_out[reason] = int((bad_R & good_R).sum())
            good_R &= ~bad_R
    faults = {reason: number for reason, number in left_out.items() if reason not in NOT_RANDOM}
    broken = sum(faults.values())
    told = "; ".join(f"{number:,} {reason}" for reason, number in (faults or left_out).items())
    if not good_R.any() or broken > MOST_BROKEN * (good_R.sum() + broken):
        raise DataError(
            f"{broken:,} of {int(good_R.sum()) + broken:,} requests cannot be told of, and leaving "
            f"out more than {MOST_BROKEN:.0%} would favour the others: {told}"
            if broken
            else f"no request was randomised: {told}",
            where=WHERE,
            hint=TO_LOG,
        )
    return _only(found, good_R[found.request_N], left_out)


def _faults(found: LoggedRows, question: Question) -> Iterator[tuple[str, Bools]]:
    """By reason, (N,) rows for which their request is left out; an earlier reason hides later."""
    inside_N = found.place_N <= question.places
    unknown_N = np.isnan(found.reward_N) & inside_N
    if question.drawn:
        yield NOT_RANDOM[2], found.otherwise_N
        yield "with a row of unknown place", np.isnan(found.place_N)
        wrong_N = np.zeros(len(inside_N), dtype=np.bool_)
        for weight_N in found.drawn.values():
            first_R = np.zeros(found.num_requests)
            first_R[found.request_N[::-1]] = weight_N[::-1]
            wrong_N |= ~(weight_N == first_R[found.request_N])
        yield "whose drawn weights are missing or differ between rows", wrong_N
    else:
        yield from _chance_faults(found, question)
    yield "whose reward was not observed", unknown_N


def _chance_faults(found: LoggedRows, question: Question) -> Iterator[tuple[str, Bools]]:
    request_N, propensity_N = found.request_N, found.propensity_N
    size_N = np.bincount(request_N)[request_N]
    missing_N = propensity_N == -1 if question.randomised else np.isnan(propensity_N)
    none_N = np.bincount(request_N, missing_N)[request_N] == size_N
    yield NOT_RANDOM[0 if question.randomised else 1], none_N
    if question.randomised:
        yield "of which only some rows are marked as randomised", missing_N
    yield "whose rows are not each place from 1 once", ~is_whole(request_N, found.place_N)
    good_N = (propensity_N > 0) & (propensity_N <= 1)
    yield "with a propensity that is unknown or not in (0, 1]", ~good_N
    last_N = (found.place_N == size_N) & (propensity_N < 1 - LAST)
    yield "whose last place has a propensity below 1: candidates below it were not logged", last_N


def _only(found: LoggedRows, kept_N: Bools, left_out: Mapping[str, int]) -> LoggedRows:
    def of(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {name: column_N[kept_N] for name, column_N in columns.items()}

    return LoggedRows(
        schema=found.schema,
        predictions=of(found.predictions),
        columns=of(found.columns),
        request_N=numbered(found.request_N[kept_N]),
        place_N=found.place_N[kept_N],
        reward_N=found.reward_N[kept_N],
        model_N=found.model_N[kept_N],
        weight_N=found.weight_N[kept_N],
        cluster_N=found.cluster_N[kept_N],
        propensity_N=found.propensity_N[kept_N],
        drawn=of(found.drawn),
        otherwise_N=found.otherwise_N[kept_N],
        on=found.on,
        left_out=left_out,
        clusters=found.clusters,
    )


def _outcome(schema: Schema, rows: Observations, task: str) -> Floats:
    """(N,) the label, 0 where a task that it lies within was observed to be 0; else NaN."""
    label_N = np.where(rows.masks[task], rows.labels[task], np.nan)
    for parent in schema.space(task):
        label_N[rows.masks[parent] & (rows.labels[parent] == 0)] = 0.0
    return label_N


def _weighed(worth: Mapping[str, float], value: Mapping[str, Floats]) -> Floats:
    """(N,) sum of worth times value; a task worth nothing is not asked for its value."""
    return np.asarray(sum(number * value[task] for task, number in worth.items() if number))
