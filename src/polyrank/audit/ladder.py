"""Climbs the remedies from the cheapest on, as far as a harmed task needs it.

A pure function of the results that are there: it says which runs come next, so that an audit that
was cut off goes on where it was. A remedy that leaves no task harmed is trained again on as many
fresh seeds, beside fresh twins, before it is recommended; if it breaks the promise, the next one is
tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median

from polyrank.audit.answers import compared_with, verdicts_of
from polyrank.audit.compared import Compared
from polyrank.audit.config import AuditConfig
from polyrank.audit.cost import scoring_seconds
from polyrank.audit.jobs import Bench
from polyrank.audit.plan import Plan, alone, changes_of, shape_of, with_runs
from polyrank.audit.remedies import REMEDIES, Case, Remedy
from polyrank.audit.resampling import Kept
from polyrank.audit.results import Result, Store
from polyrank.audit.rows import load
from polyrank.audit.transfer import transfers_of
from polyrank.audit.tried import Beside, Climb, Confirmed, Cost, Tried, Unfit
from polyrank.audit.variants import Changes, Variant
from polyrank.audit.verdict import Verdict, Verdicts, Warnings
from polyrank.config import RunConfig
from polyrank.errors import ConfigError
from polyrank.layers import cost_of

Judged = Verdicts | Warnings | None
WON_BACK = 0.8
"""Share of a task's loss that a remedy must win back, by its best guess, where its runs cannot tell
whether the task is harmed: not being able to tell is no cure."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The remedies of one audit.

    Args:
        config: The run.
        settings: Of the audit.
        bench: What all runs have in common.
        folder: The audit's.
        remedies: In order of cost.
    """

    config: RunConfig
    settings: AuditConfig
    bench: Bench
    folder: Path
    remedies: Sequence[Remedy] = REMEDIES
    _kept: dict[tuple[str, tuple[int, ...]], Judged] = field(default_factory=dict)
    _drawn: Kept = field(default_factory=dict)
    _cases: dict[tuple[str, ...], Case] = field(default_factory=dict)
    _fits: dict[str, Variant | Unfit] = field(default_factory=dict)
    _settled: dict[str, Tried] = field(default_factory=dict)
    _lost: dict[str, float] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that the verdict was read on."""
        return self.settings.run_seeds(self.config.seed)

    @property
    def fresh(self) -> tuple[int, ...]:
        """As many that chose nothing."""
        return tuple(seed + len(self.seeds) for seed in self.seeds)

    def verdicts(self, plan: Plan, role: str = "joint", seeds: Sequence[int] = ()) -> Judged:
        """Of a role beside twins; slices of the joint run alone.

        Args:
            plan: With the runs.
            role: The other side.
            seeds: Theirs; none: those of the audit.
        """
        seeds = tuple(seeds) or self.seeds
        found = [own for own in plan.results.values() if own.seed in seeds]
        runs = [own for own in found if own.kind == "twin" or own.role == role]
        key = (f"{role} {sorted(own.role for own in runs if own.status == 'done')}", seeds)
        if key not in self._kept:
            loaded = load(self.folder, self.config.schema_, runs)
            metrics = self._metrics(runs, role)
            schema, settings = self.config.schema_, self.settings
            self._kept[key] = verdicts_of(
                loaded,
                schema,
                metrics,
                settings,
                role=role,
                sliced=role == "joint",
                kept=self._drawn,
            )
        return self._kept[key]

    def climb(self, base: Plan) -> tuple[Plan, Climb | None]:
        """The plan with the runs of remedies that are there or come next, and what came of them."""
        if self.settings.remedies == "never" or base.waiting:
            return base, None
        judged, always = self.verdicts(base), self.settings.remedies == "always"
        harmed = judged.harmed if isinstance(judged, Verdicts) else ()
        if judged is None or not (harmed or always):
            return base, None
        self._lost.update(
            (own.task, own.gain.value)
            for own in judged.tasks
            if own.task in harmed and own.gain.value is not None
        )
        plan, found = base, Climb(harmed=harmed, tried=(), unfit=(), untried=(), whole=False)
        for remedy in self.remedies:
            made = self._fit(remedy, base, judged, harmed)
            if isinstance(made, Unfit):
                found = replace(found, unfit=(*found.unfit, made))
                continue
            if found.recommended is not None and not always:
                found = replace(found, untried=(*found.untried, remedy.name))
                continue
            plan, one = self._try(plan, remedy, made, found)
            if one is None:
                return plan, found
            found = replace(found, tried=(*found.tried, one))
            if one.confirmed is not None and one.confirmed.keeps:
                found = replace(found, recommended=remedy.name)
        return plan, replace(found, whole=True)

    def made(self, name: str) -> RunConfig:
        """The run with a remedy that ``climb`` tried."""
        variant = self._fits[name]
        assert isinstance(variant, Variant), "it was tried"
        return self.changes.apply(variant, self.config.seed)

    def _try(
        self, plan: Plan, remedy: Remedy, made: Variant, found: Climb
    ) -> tuple[Plan, Tried | None]:
        """The plan with its runs; None where some of them are missing."""
        plan = self._with(plan, [made], self.seeds)
        if plan.waiting:
            return plan, None
        if remedy.name not in self._settled:
            self._settled[remedy.name] = self._tried(plan, remedy, made)
        one = self._settled[remedy.name]
        if not (one.removes and found.harmed) or found.recommended is not None:
            return plan, one
        twins = [Variant(kind="twin", tasks=(task,)) for task in made.tasks]
        plan = self._with(plan, [made, *twins], self.fresh)
        if plan.waiting:
            return plan, None
        return plan, replace(one, confirmed=self._confirmed(plan, made))

    @cached_property
    def changes(self) -> Changes:
        """What its runs are made from."""
        return changes_of(self.config, self.settings, self.bench)

    def _with(self, plan: Plan, variants: Sequence[Variant], seeds: Sequence[int]) -> Plan:
        return with_runs(plan, variants, seeds, self.changes, self.bench, Store(self.folder))

    def _fit(
        self, remedy: Remedy, base: Plan, judged: Verdicts | Warnings, harmed: tuple[str, ...]
    ) -> Variant | Unfit:
        """The remedy if it can be built."""
        if remedy.name not in self._fits:
            case = self._cases.get(harmed) or self._case(base, judged, harmed)
            self._cases[harmed] = case
            self._fits[remedy.name] = _fit(remedy, case, self.changes, self.bench)
        return self._fits[remedy.name]

    def _tried(self, plan: Plan, remedy: Remedy, made: Variant) -> Tried:
        own = [plan.results[made.role, seed] for seed in self.seeds]
        joint = [plan.results["joint", seed] for seed in self.seeds]
        done = [one for one in own if one.status == "done"]
        judged = self.verdicts(plan, made.role)
        return Tried(
            name=remedy.name,
            told=remedy.told,
            changes=dict(made.changes),
            tasks=made.tasks,
            seeds=tuple(one.seed for one in done),
            against_twins=() if judged is None else judged.tasks,
            over_joint=self._over_joint(plan, made),
            removes=_removes(judged, made, own, self._lost),
            cost=self._cost(made, done, [one for one in joint if one.status == "done"]),
            failures=tuple(f"seed {one.seed}: {one.reason}" for one in own if one not in done),
        )

    def _cost(self, made: Variant, own: Sequence[Result], joint: Sequence[Result]) -> Cost | None:
        """Beside the joint run; None where one of them failed on every seed."""
        if not own or not joint:
            return None
        everyone = Variant(kind="joint", tasks=self.config.schema_.task_names)
        ours, theirs = (
            self.changes.apply(variant, self.config.seed) for variant in (made, everyone)
        )
        return Cost(
            parameters=_beside(own[0].parameters, joint[0].parameters),
            multiply_adds=_beside(own[0].multiply_adds, joint[0].multiply_adds),
            row_seconds=_beside(
                scoring_seconds(ours, self.bench), scoring_seconds(theirs, self.bench)
            ),
            run_seconds=_beside(_seconds(own, ours), _seconds(joint, theirs)),
        )

    def _confirmed(self, plan: Plan, made: Variant) -> Confirmed:
        judged = self.verdicts(plan, made.role, self.fresh)
        own = [plan.results[made.role, seed] for seed in self.fresh]
        return Confirmed(
            seeds=self.fresh,
            keeps=_removes(judged, made, own, self._lost),
            against_twins=() if judged is None else judged.tasks,
        )

    def _over_joint(self, plan: Plan, made: Variant) -> tuple[Compared, ...]:
        roles = ("joint", made.role)
        found = (own for own in plan.results.values() if own.role in roles)
        runs = [own for own in found if own.seed in self.seeds]
        loaded = load(self.folder, self.config.schema_, runs)
        metrics = self._metrics(runs, made.role)
        schema, settings = self.config.schema_, self.settings
        return compared_with(loaded, schema, metrics, settings, made.role, self._drawn)

    def _metrics(self, runs: Sequence[Result], role: str) -> Mapping[str, str]:
        """Of the tasks that the role's runs learn."""
        learnt = {task for own in runs if own.role == role for task in own.tasks}
        return {task: metric for task, metric in self.bench.metrics.items() if task in learnt}

    def _case(self, base: Plan, judged: Verdicts | Warnings, harmed: tuple[str, ...]) -> Case:
        done = [own for own in base.results.values() if own.status == "done"]
        margins = {own.task: own.margin or 1.0 for own in judged.tasks}
        found = transfers_of(done, self.bench.metrics)
        gains = {
            (own.source, own.target): own.mean / margins.get(own.target, 1.0)
            for own in found
            if own.gains
        }
        network = shape_of(self.config, self.bench.prepared)
        return Case(
            config=self.config,
            harmed=harmed,
            gains=gains or _affinity(done),
            trunk=cost_of(network.sharing).parameters,
        )


def _affinity(done: Sequence[Result]) -> dict[tuple[str, str], float]:
    """Means over the joint runs that were looked at."""
    seen: dict[tuple[str, str], list[float]] = {}
    for own in done:
        means = {} if own.evidence is None else own.evidence["affinity"]["means"]
        for giver, row in means.items():
            for receiver, mean in row.items():
                if giver != receiver and mean["value"] is not None:
                    seen.setdefault((giver, receiver), []).append(mean["value"])
    return {pair: fmean(values) for pair, values in seen.items()}


def _fit(remedy: Remedy, case: Case, changes: Changes, bench: Bench) -> Variant | Unfit:
    """The remedy if it can be built."""
    made = remedy.make(case)
    if isinstance(made, str):
        return Unfit(name=remedy.name, reason=made)
    try:
        shape_of(changes.apply(made, case.config.seed), bench.prepared)
    except ConfigError as error:
        told = "; ".join(str(fault) for fault in error.problems or (error,))
        return Unfit(name=remedy.name, reason=f"it does not fit this run: {told}")
    return made


def _removes(
    judged: Judged, made: Variant, runs: Sequence[Result], lost: Mapping[str, float]
) -> bool:
    """Every run came to an end, every task was judged, none is harmed, and those that were have won
    back what they ``lost``."""
    if not isinstance(judged, Verdicts) or any(own.status != "done" for own in runs):
        return False
    if {own.task for own in judged.tasks} != {*made.tasks} or judged.harmed:
        return False
    return all(_won_back(own, lost[own.task]) for own in judged.tasks if own.task in lost)


def _won_back(found: Verdict, lost: float) -> bool:
    """Whether a task that lost so much (below 0) is decided, or as good as back."""
    decided = found.answer in ("unharmed", "helped")
    value = found.gain.value
    return decided or (value is not None and value >= (1 - WON_BACK) * lost)


def _beside(value: float, joint: float) -> Beside:
    return Beside(value=value, times=value / joint if joint else 1.0)


def _seconds(runs: Sequence[Result], config: RunConfig) -> float:
    return median(alone(own.timing, config) for own in runs if own.timing is not None)
