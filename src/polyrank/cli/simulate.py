"""``polyrank simulate``: rankings against each other on users whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyrank.cli.options import AsJson, Settings

if TYPE_CHECKING:
    from polyrank.simulation.experiment import Experiment, Policy, SimulationConfig

Days = Callable[[int, Mapping[str, int]], None]


def simulate(
    feed: Annotated[
        Path | None,
        typer.Option(
            "--feed", metavar="FILE", help="YAML of feed, experiment and rows; else as documented."
        ),
    ] = None,
    settings: Settings = [],  # noqa: B006
    days: Annotated[int | None, typer.Option(min=1, help="Days of the experiment.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Every random choice follows from it.")
    ] = None,
    split: Annotated[
        bool, typer.Option("--split", help="Each user in one arm; else every user in every arm.")
    ] = False,
    reference: Annotated[
        str, typer.Option(metavar="ARM", help="The arm that others are compared with.")
    ] = "logging",
    bundles: Annotated[
        list[str],
        typer.Option("--bundle", metavar="NAME=FOLDER", help="One more arm: ranks as it does."),
    ] = [],  # noqa: B006
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Let rankings meet simulated users: who is satisfied comes back.

    A log is simulated, one model trained on it, and its rankings by clicks, by watch time, by all
    tasks and by chosen weights meet the same users, beside oracles that know the truth. What is
    simulated, and why so: docs/simulation.md.
    """
    import json
    import time

    from polyrank.cli.simulate_tables import show_findings
    from polyrank.cli.tables import console
    from polyrank.simulation.experiment import find

    began = time.perf_counter()
    config = _config(feed, settings, days, seed, split=split)
    more = _more(bundles)
    _check_reference(reference, more)
    experiment, arms = _prepared(config, more, quiet=quiet)
    with _days(config.experiment.days, quiet=quiet) as report:
        course = experiment.run(arms, report)
    findings = find(course, reference)
    seconds = time.perf_counter() - began
    if as_json:
        head = {"config": config.model_dump(mode="json"), "seconds": round(seconds, 1)}
        weights = {"tuned_weights": _weights(arms["tuned"])}
        typer.echo(json.dumps({**head, **weights, **findings.to_json()}, indent=2))
        return
    out = console()
    show_findings(out, findings, config, {arm: len(of) for arm, of in course.assigned.items()})
    out.print(f"\n{seconds:.0f} s. What is simulated, and why so: docs/simulation.md")


def _config(
    feed: Path | None, settings: list[str], days: int | None, seed: int | None, *, split: bool
) -> SimulationConfig:
    """The file, and what the command line puts over it."""
    from polyrank.config import override, read_yaml
    from polyrank.schema import parse
    from polyrank.simulation.experiment import SimulationConfig

    tree = {} if feed is None else read_yaml(feed)
    for setting in settings:
        override(tree, setting)
    given = {"experiment.days": days, "feed.seed": seed, "experiment.design": split and "split"}
    for key, value in given.items():
        if value is not None and value is not False:
            override(tree, f"{key}={value}")
    return parse(SimulationConfig, tree, where="--set" if feed is None else feed.name)


def _more(bundles: list[str]) -> dict[str, Policy]:
    """An arm for each bundle that is named."""
    from polyrank.cli.bundles import named, open_scorer
    from polyrank.errors import ConfigError
    from polyrank.simulation.experiment import ARMS, BundlePolicy

    found: dict[str, Policy] = {}
    for name, folder in named("--bundle", "NAME=FOLDER", bundles).items():
        if name in ARMS:
            raise ConfigError(f"--bundle names {name!r}, which is an arm", hint="Name another.")
        found[name] = BundlePolicy(open_scorer(Path(folder)))
    return found


def _check_reference(reference: str, more: Mapping[str, Policy]) -> None:
    from polyrank.errors import ConfigError, suggest
    from polyrank.simulation.experiment import ARMS

    arms = (*ARMS, *more)
    if reference not in arms:
        raise ConfigError(f"--reference names no arm: {reference!r}", hint=suggest(reference, arms))


def _prepared(
    config: SimulationConfig, more: Mapping[str, Policy], *, quiet: bool
) -> tuple[Experiment, dict[str, Policy]]:
    """The experiment, with its log simulated and its model trained."""
    from polyrank.run import progress
    from polyrank.simulation import Feed
    from polyrank.simulation.experiment import Experiment, observed_log, ready_arms, train_ranker

    with progress(quiet=quiet, notices=False) as watcher:
        watcher.stage("simulate", config.rows)
        simulated = Feed(config.feed)
        experiment = Experiment(simulated.world, config.experiment)
        experiment.check(more)
        train, validation = observed_log(simulated, config.rows)
        bundle = train_ranker(config.feed, train, validation, watcher)
        watcher.stage("choose weights", validation.num_rows)
        arms = ready_arms(bundle, validation, config.experiment, config.feed.seed)
    return experiment, {**arms, **more}


@contextmanager
def _days(num_days: int, *, quiet: bool) -> Iterator[Days]:
    """Shows each day: a bar, or a line each where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    err = Console(stderr=True, highlight=False)
    with Progress(console=err, disable=quiet or not err.is_terminal) as bars:
        bar = bars.add_task("days", total=num_days)

        def report(day: int, there: Mapping[str, int]) -> None:
            bars.update(bar, completed=day)
            if not (quiet or err.is_terminal):
                told = f"{min(there.values()):,} to {max(there.values()):,}"
                err.print(f"day {day} of {num_days}: {told} users by arm", soft_wrap=True)

        yield report


def _weights(policy: Any) -> dict[str, float]:
    """Of what was chosen."""
    order = policy.order
    return dict(order.weights if order.model is None else order.model.tunable)
