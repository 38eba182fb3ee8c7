"""Tuning what a bundle ranks by, on a log.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from polyrank.bundle import Bundle
from polyrank.config import read_yaml
from polyrank.errors import ConfigError
from polyrank.fusion import Candidates, Demotion, ValueModel, WeightedSum, parse_value_model
from polyrank.fusion.tuning import (
    Point,
    Replayed,
    Searched,
    Settings,
    Task,
    Tuned,
    check_later,
    search,
    told,
)
from polyrank.scoring.fusing import Replay, equal_start, replay
from polyrank.scoring.order import Order, expected
from polyrank.scoring.scorer import Scorer

WHERE = "start"


class Then(NamedTuple):
    """Rows of a log."""

    log: Any
    part: str = "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """A search on a log, and the bundles that it can lead to."""

    bundle: Bundle
    log: Replay
    source: str
    """The log, as it was named."""
    found: Searched
    tuned: Tuned

    def applied(self, pick: str = "champion") -> Bundle:
        """The bundle that ranks by a picked trial; what it ranked by before stays in its history.

        Args:
            pick: ``champion``, ``knee``, or a trial's number.

        Raises:
            ConfigError: There is no such trial.
        """
        picked = self.tuned.picked(pick)
        model = self.found.ranking.model.tuned(picked)
        demotion = self.found.ranking.demotion
        order = Order(schema=self.bundle.schema, model=model, demotion=demotion)
        measured = self.log.measured(self.log.score(order))
        return self.bundle.with_value_model(
            model,
            demotion,
            by="search",
            source=self.source,
            measured={**measured, "search": self.provenance(pick)},
        )

    def provenance(self, pick: str) -> dict[str, Any]:
        """Where a picked trial comes from, and what it was measured to do."""
        point = self._point(pick)
        names = [goal.name for goal in self.tuned.objectives]
        guardrails = [each.name for each in self.tuned.guardrails]
        return {
            "pick": pick,
            "trial": point.trial,
            "trials": len(self.tuned.trials),
            "seed": self.tuned.seed,
            "settings": self.tuned.settings,
            "log": self.tuned.log.model_dump(mode="json"),
            "objectives": dict(zip(names, point.objectives, strict=True)),
            "today": dict(zip(names, self.tuned.today.objectives, strict=True)),
            "slacks": dict(zip(guardrails, point.slacks, strict=True)),
            "feasible": point.feasible,
        }

    def _point(self, pick: str) -> Point:
        named = {"champion": self.tuned.champion, "knee": self.tuned.knee}
        point = named.get(pick)
        if point is not None:
            return point
        trial = self.tuned.trials[int(pick)]
        return Point(
            objectives=trial.objectives,
            slacks=trial.slacks,
            weights=trial.weights,
            trial=trial.number,
            told="a trial",
        )


def tune(
    scorer: Scorer,
    log: Any,
    settings: Settings,
    *,
    folder: Path | None = None,
    part: str = "all",
    then: Then | None = None,
    max_quarantine_share: float | None = None,
    progress: Callable[[int], None] = lambda done: None,
    ready: Callable[[Task], None] = lambda task: None,
    restart: bool = False,
) -> Tuning:
    """Search weights of the bundle's value model on a log.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: A path, glob, folder or Arrow-compatible table, with labels.
        settings: What is raised and held, and how weights are searched.
        folder: Where trials are kept as they are made, to go on from; it exists. Null: nowhere.
        part: The part of the log by the split of the bundle's run; "all": every row.
        then: Rows on which today's, the knee's and the champion's ranking are measured at the end;
            none of those that are searched on.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        progress: Told the number of trials after each batch.
        ready: Told what is tuned, with resolved settings, before the search.
        restart: Forget the folder's trials, once nothing refuses this search.

    Raises:
        ConfigError: A setting names what is not there, or is not that of the folder's trials.
        DataError: A log is refused, or says nothing about an objective.
    """
    if then is not None:
        _check_apart(Then(log, part), then)
    given = _given(settings.start)
    orders = [Order.of(scorer.bundle)]
    if given is not None:
        given[0].check(scorer.bundle.schema.task_names, where=settings.start)
        orders.append(Order(schema=scorer.bundle.schema, model=given[0], demotion=given[1]))
    found, later = (
        None
        if each is None
        else replay(
            scorer, each.log, orders, part=each.part, max_quarantine_share=max_quarantine_share
        )
        for each in (Then(log, part), then)
    )
    assert found is not None
    task = _task(scorer.bundle, found, given or _start(scorer.bundle, found, settings), settings)
    checked = None if later is None else as_replayed(later)
    if checked is not None and checked.fingerprint == task.log.fingerprint:
        _refuse_same_rows("are the rows that are searched on")
    task = task.with_settings(settings.resolved(task.log, checked))
    if checked is not None:
        task.check_defined(checked)
    ready(task)
    searched = search(task, folder, progress, restart=restart)
    tuned = told(searched)
    if later is not None and checked is not None and tuned.complete:
        today_N = later.score(orders[0]).score_N
        tuned = tuned.model_copy(update={"later": check_later(searched, tuned, checked, today_N)})
    source = str(log) if isinstance(log, str | Path) else "a table"
    return Tuning(bundle=scorer.bundle, log=found, source=source, found=searched, tuned=tuned)


def _check_apart(searched: Then, then: Then) -> None:
    """Refuse parts of one log that have rows in common, as far as their names tell it."""
    both = (searched.log, then.log)
    named = all(isinstance(log, str | Path) for log in both)
    same = both[0] is both[1] or (named and str(both[0]) == str(both[1]))
    if same and ("all" in (searched.part, then.part) or searched.part == then.part):
        _refuse_same_rows(f"part {then.part!r} has rows of {searched.part!r}, which is searched on")


def _refuse_same_rows(why: str) -> NoReturn:
    raise ConfigError(
        f"{why}, so the choice was made on them",
        where="then",
        hint="Check it on a later log; or search with --part validation and give --then test.",
    )


def _task(
    bundle: Bundle,
    found: Replay,
    start: tuple[ValueModel, Demotion | None],
    settings: Settings,
) -> Task:
    model, demotion = start
    order = Order.of(bundle)
    return Task(
        log=as_replayed(found),
        model=model,
        demotion=demotion,
        today_N=found.score(order).score_N,
        today_weights=_today_weights(order, model, demotion),
        settings=settings,
        bundle=bundle.version,
    )


def as_replayed(found: Replay) -> Replayed:
    """A replay as a search reads it."""
    candidates = Candidates(
        predictions=expected(found.schema, found.rows.predictions),
        request_N=found.request_N,
        columns=found.columns,
    )
    return Replayed(schema=found.schema, rows=found.rows, candidates=candidates, on=found.on)


def _given(start: str) -> tuple[ValueModel, Demotion | None] | None:
    if start in ("auto", "equal", "today"):
        return None
    path = Path(start)
    if not path.is_file():
        raise ConfigError(
            f"{start!r} is neither auto, equal nor today, nor a file",
            where=WHERE,
            hint="Give one of them, or the path of a value model, as YAML.",
        )
    return parse_value_model(read_yaml(path), where=path.name)


def _start(bundle: Bundle, found: Replay, settings: Settings) -> tuple[ValueModel, Demotion | None]:
    """The bundle's own, or equal contributions; what demotes repetitions stays."""
    if settings.start == "today" and bundle.value_model is None:
        raise ConfigError(
            "the bundle has no value model to start from",
            where=WHERE,
            hint="Write `start: equal`, or set one first: polyrank fuse --model FILE.",
        )
    if settings.start != "equal" and bundle.value_model is not None:
        if settings.values:
            raise ConfigError(
                "`values` say nothing where the bundle's value model is the start",
                where="values",
                hint="Write `start: equal`.",
            )
        return bundle.value_model, bundle.demotion
    return equal_start(found, settings.values), bundle.demotion


def _today_weights(
    order: Order, model: ValueModel, demotion: Demotion | None
) -> Mapping[str, float] | None:
    """Of what ranks by now, where it is the same model but for its weights."""
    weights = {task: weight for task, weight in order.weights.items() if weight}
    today = order.model or WeightedSum(terms=weights)
    if today.tunable.keys() != model.tunable.keys() or order.demotion != demotion:
        return None
    same = type(today) is type(model) and model.tuned(today.tunable) == today
    return today.tunable if same else None
