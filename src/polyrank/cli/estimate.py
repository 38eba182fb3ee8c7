"""``polyrank estimate``: what rankings would have earned on a log of known chances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polyrank.cli.options import AsJson, BundlePath, LogPath, MaxQuarantineShare, Part, Tables

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.bundle import Bundle
    from polyrank.fusion.off_policy import Difference, Estimator, WeightJitter
    from polyrank.schema import Schema
    from polyrank.scoring import Judged, Judgement, Order

IN_FORCE = "in force"


def estimate(
    bundle: BundlePath,
    log: LogPath,
    model: Annotated[
        list[Path],
        typer.Option("--model", metavar="FILE", help="A value model to judge, as YAML."),
    ] = [],  # noqa: B006
    reward: Annotated[
        list[str],
        typer.Option(
            "--reward", metavar="TASK[=WORTH]", help="What a place earns: worth times label, added."
        ),
    ] = [],  # noqa: B006
    places: Annotated[
        int, typer.Option("--places", min=1, help="The first places of a request that earn.")
    ] = 1,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0,
            help="Gumbel noise of each ranking, in standard deviations of its score in a request.",
        ),
    ] = 0.0,
    over: Annotated[
        Literal["prefix", "place"],
        typer.Option(
            "--over", help="Importance of all places down to one, or of the one alone: see docs."
        ),
    ] = "prefix",
    estimator: Annotated[
        Literal["snips", "ips", "clipped_ips", "dr"],
        typer.Option("--estimator", help="dr: with the bundle's predictions as reward model."),
    ] = "snips",
    cap: Annotated[
        float | None, typer.Option("--cap", min=1, help="Of clipped_ips: the largest importance.")
    ] = None,
    propensity: Annotated[
        str | None,
        typer.Option("--propensity", metavar="COLUMN", help="Else the schema's keys.propensity."),
    ] = None,
    randomised: Annotated[
        str | None,
        typer.Option(
            "--randomised", metavar="COLUMN", help="1 where a request's order was uniformly random."
        ),
    ] = None,
    jitter: Annotated[
        float | None,
        typer.Option(
            "--jitter",
            metavar="SCALE",
            help="Requests were ranked by weights drawn so far around --centre: weight_NAME.",
        ),
    ] = None,
    narrow: Annotated[
        float | None,
        typer.Option("--narrow", help="Of the jitter around each ranking judged; else a third."),
    ] = None,
    centre: Annotated[
        Path | None,
        typer.Option("--centre", metavar="FILE", help="With --jitter; else the weights in force."),
    ] = None,
    part: Part = "all",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    as_json: AsJson = False,
) -> None:
    """Tell what rankings would have earned on a log of known chances.

    The ranking in force and each --model FILE beside what was logged, and the differences, with
    95 % intervals over users. The log needs every candidate that was ranked, with its request, its
    place and the chance of it there given those above.
    """
    from polyrank.cli.bundles import open_scorer, warn_of_training_rows
    from polyrank.cli.tables import console
    from polyrank.scoring import Question, estimate_jittered, estimate_log

    _check(locals())
    scorer = open_scorer(bundle, tables)
    orders = _orders(scorer.bundle, model)
    asked = Question(
        worth=_worth(reward), places=places, propensity=propensity, randomised=randomised
    )
    how: dict[str, Any] = {
        "estimator": _estimator(estimator, cap),
        "part": part,
        "max_quarantine_share": max_quarantine_share,
    }
    warn_of_training_rows({bundle: scorer}, log, part, whole=True)
    if jitter is None:
        found = estimate_log(scorer, log, orders, asked, temperature=temperature, over=over, **how)
    else:
        around = orders[IN_FORCE] if centre is None else _order(scorer.bundle.schema, centre)
        scales = _jitters(jitter, narrow)
        found = estimate_jittered(scorer, log, orders, asked, centre=around, jitter=scales, **how)
    if as_json:
        typer.echo(found.to_json())
    else:
        show_judgement(console(), found, f"{bundle} on {log}")


def show_judgement(out: Console, found: Judgement, title: str) -> None:
    """What each ranking would have earned, what it differs by, and what that rests on."""
    from polyrank.cli.tables import show_cells, show_title

    share = f"{found.confidence:.0%} interval"
    earns = " + ".join(
        task if worth == 1 else f"{worth:g} x {task}" for task, worth in found.rewards.items()
    )
    where = "the first place" if found.places == 1 else f"each of the first {found.places} places"
    show_title(out, f"{earns} at {where} of a request: {title}")
    rows = list(_value_rows(found))
    columns = (
        "ranking",
        "value",
        share,
        "effective rows",
        "cut" if any(row[-1] for row in rows) else "",
    )
    show_cells(out, columns, rows, num_left=1)
    show_title(out, "\nbeyond what was logged, and beyond the ranking in force")
    columns = ("ranking", "- logged", share, f"- {IN_FORCE}", share)
    cells = map(_difference_cells, found.policies)
    show_cells(out, columns, cells, num_left=1, together=2)
    for note in _notes(found):
        out.print(note, style="dim", markup=False, soft_wrap=True)


def _value_rows(found: Judgement) -> Iterator[list[str]]:
    from polyrank.cli.numbers import number, percent

    known = [("logged", found.logged), *((one.name, one.estimate) for one in found.policies)]
    for name, estimate in known:
        if estimate is None:
            yield [name, "-", "", "", ""]
            continue
        ends = (number(end, like=estimate.value) for end in (estimate.lower, estimate.upper))
        yield [
            name,
            number(estimate.value),
            " to ".join(ends),
            f"{estimate.effective_rows:,.0f} of {estimate.rows:,}",
            percent(estimate.clipped_share) if estimate.clipped_share else "",
        ]


def _difference_cells(policy: Judged) -> list[str]:
    cells = [policy.name]
    for difference in (policy.to_logged, policy.to_in_force):
        cells += _signed(difference)
    return cells


def _signed(difference: Difference | None) -> list[str]:
    from polyrank.cli.numbers import signed

    if difference is None:
        return ["", ""]
    if difference.reason is not None:
        return [signed(difference.value), "-"]
    return [
        signed(difference.value),
        f"{signed(difference.lower)} to {signed(difference.upper)}",
    ]


def _notes(found: Judgement) -> Iterator[str]:
    """What the numbers rest on, what is left out, and why something is not told."""
    from polyrank.errors import counted

    yield f"{found.estimator} over {found.requests:,} requests of {found.on}"
    yield f"each ranking orders a request by {found.ranking}"
    yield f"intervals are over {found.clusters}, and those of differences over the same ones"
    for reason, number in found.left_out.items():
        yield f"left out: {counted(number, 'request')} {reason}"
    for policy in found.policies:
        if policy.refused is not None:
            yield f"{policy.name}: {policy.refused}"
        for told, difference in (
            ("logged", policy.to_logged),
            (IN_FORCE, policy.to_in_force),
        ):
            if difference is not None and difference.reason is not None:
                yield f"{policy.name} - {told}: {difference.reason}"


def _check(given: Mapping[str, Any]) -> None:
    """Refuse options that say nothing beside the others."""
    from polyrank.errors import ConfigError

    needs = "--jitter" if given["jitter"] is None else None
    idle = ("narrow", "centre") if needs else ("propensity", "randomised", "temperature", "over")
    for name in idle:
        if given[name] and given[name] != "prefix":
            told = f"without {needs}" if needs else "beside --jitter"
            raise ConfigError(
                f"--{name} says nothing {told}", where="estimate", hint="Leave one out."
            )
    if given["randomised"] is not None and given["propensity"] is not None:
        raise ConfigError(
            "takes one of --propensity and --randomised",
            where="estimate",
            hint="In a uniformly random order chances are known without a column of them.",
        )
    if given["cap"] is not None and given["estimator"] != "clipped_ips":
        raise ConfigError(
            f"--cap says nothing with {given['estimator']}",
            where="estimate",
            hint="Add --estimator clipped_ips.",
        )


def _orders(bundle: Bundle, files: Sequence[Path]) -> dict[str, Order]:
    """The ranking in force and those of the files, by name or, where two share it, by path."""
    from polyrank.errors import ConfigError
    from polyrank.scoring import Order

    orders = {IN_FORCE: Order.of(bundle)}
    stems = [file.stem for file in files]
    for file in files:
        name = str(file) if stems.count(file.stem) > 1 else file.stem
        if name in orders:
            raise ConfigError(
                f"--model names {name!r} twice", where="estimate", hint="Leave one out."
            )
        orders[name] = _order(bundle.schema, file)
    return orders


def _order(schema: Schema, file: Path) -> Order:
    from polyrank.config import read_yaml
    from polyrank.fusion import parse_value_model
    from polyrank.scoring import Order

    model, demotion = parse_value_model(read_yaml(file), where=file.name)
    model.check(schema.task_names, where=file.name)
    return Order(schema=schema, model=model, demotion=demotion)


def _worth(texts: Sequence[str]) -> dict[str, float]:
    """By task, 1 where nothing is said."""
    from polyrank.cli.bundles import named
    from polyrank.errors import ConfigError

    whole = [text if "=" in text else f"{text}=1" for text in texts]
    worth = {}
    for name, text in named("--reward", "TASK or TASK=WORTH", whole).items():
        try:
            worth[name] = float(text)
        except ValueError as error:
            raise ConfigError(
                f"--reward got {text!r} for {name!r}, which is no number",
                hint="Write --reward TASK=WORTH.",
            ) from error
    return worth


def _estimator(kind: str, cap: float | None) -> Estimator:
    from polyrank.fusion.off_policy import ESTIMATORS
    from polyrank.schema import parse

    tree = {} if cap is None else {"cap": cap}
    return parse(ESTIMATORS[kind], tree, where=kind)


def _jitters(scale: float, narrow: float | None) -> tuple[WeightJitter, WeightJitter]:
    """What was logged with, and what each ranking is judged with."""
    from polyrank.fusion.off_policy import WeightJitter
    from polyrank.schema import parse

    judged = scale / 3 if narrow is None else narrow
    return (
        parse(WeightJitter, {"scale": scale}, where="--jitter"),
        parse(WeightJitter, {"scale": judged}, where="--narrow"),
    )
