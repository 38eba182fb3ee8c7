"""``polyrank fuse``: search, set, replace or roll back what a bundle ranks by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrank.cli.options import BundlePath, MaxQuarantineShare, Part, Settings, Tables

if TYPE_CHECKING:
    from polyrank.bundle import Bundle
    from polyrank.cli.fuse_search import Asked
    from polyrank.scoring import Order, Replay, Scorer

SEARCH = "The search (without --init, --model, --rollback)"


def fuse(
    bundle: BundlePath,
    log: Annotated[
        str | None,
        typer.Argument(help="With labels: Parquet, CSV or Arrow. A search and --init need it."),
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Weigh tasks so that they contribute equally on the log.")
    ] = False,
    value: Annotated[
        list[str],
        typer.Option(
            "--value",
            metavar="TASK=NUMBER",
            help="With --init or an equal start: times this; 0 leaves it out.",
        ),
    ] = [],  # noqa: B006
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="A value model of any kind, as YAML."),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Restore the value model before.")
    ] = False,
    apply: Annotated[
        Path | None,
        typer.Option("--apply", metavar="FOLDER", help="Write the new bundle; else only shown."),
    ] = None,
    part: Part = "all",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", metavar="FILE", help="The search, as YAML.", rich_help_panel=SEARCH
        ),
    ] = None,
    set_: Settings = [],  # noqa: B006
    objective: Annotated[
        list[str],
        typer.Option(
            "--objective",
            metavar="TEXT",
            help="Raise this: ndcg@10:TASK, gauc:TASK, recall@10:TASK, value@10:TASK=WORTH,...",
            rich_help_panel=SEARCH,
        ),
    ] = [],  # noqa: B006
    guard: Annotated[
        list[str],
        typer.Option(
            "--guard",
            metavar="TEXT",
            help="Hold this: 'ndcg@10:TASK>=99%' of today's, or a plain number; 'none'.",
            rich_help_panel=SEARCH,
        ),
    ] = [],  # noqa: B006
    primary: Annotated[
        str | None,
        typer.Option(
            "--primary",
            metavar="TEXT",
            help="The objective by which the champion is chosen; else the front's knee is.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", help="cem, nsga2, tpe or random; cem by default.", rich_help_panel=SEARCH
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="Weight vectors to try.", rich_help_panel=SEARCH),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", rich_help_panel=SEARCH)] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            metavar="FOLDER",
            help="For trials, result and page; a stopped search goes on there. Else BUNDLE-tuning.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Forget the folder's trials.", rich_help_panel=SEARCH),
    ] = False,
    pick: Annotated[
        str,
        typer.Option("--pick", help="champion, knee or a trial's number.", rich_help_panel=SEARCH),
    ] = "champion",
    then: Annotated[
        str | None,
        typer.Option(
            "--then",
            metavar="LOG_OR_PART",
            help="Check the choice on a later log, or a part of this one.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
) -> None:
    """Search, or set, the weights that a bundle ranks by.

    Plain `polyrank fuse BUNDLE LOG` predicts the log once and tries thousands of weights on it.
    --init, --model FILE and --rollback set a value model without a search. Nothing else of the
    bundle changes, and its earlier value models stay in it.
    """
    from polyrank.cli.fuse_search import Asked, run_search

    asked = Asked(
        settings=settings,
        overrides=tuple(set_),
        objectives=tuple(objective),
        guards=tuple(guard),
        primary=primary,
        search=search,
        trials=trials,
        seed=seed,
        values=tuple(value),
        work=work,
        restart=restart,
        pick=pick,
        then=then,
        part=part,
        tables=tuple(tables),
        max_quarantine_share=max_quarantine_share,
    )
    _check_modes(asked, (init, model is not None, rollback))
    _check_target(bundle, apply, force)
    scorer = _scorer(bundle, tables)
    found: Bundle | None
    if init or model is not None or rollback:
        found = chosen = _set(scorer, log, init, model, value, part, max_quarantine_share)
        _told(bundle, scorer, log, part, chosen)
    else:
        found = run_search(bundle, scorer, log, asked, apply)
    _write(found, apply, force)


def _check_modes(asked: Asked, modes: tuple[bool, bool, bool]) -> None:
    from polyrank.errors import ConfigError

    if sum(modes) > 1:
        raise ConfigError(
            "takes at most one of --init, --model FILE and --rollback",
            where="fuse",
            hint="Each sets or restores a value model; without them weights are searched.",
        )
    given = asked.given
    if any(modes) and given:
        raise ConfigError(
            f"{given[0]} is for a search, and --init, --model and --rollback search nothing",
            where="fuse",
            hint="Leave one out.",
        )
    if asked.values and (modes[1] or modes[2]):
        raise ConfigError(
            "--value says nothing without --init or a search", where="fuse", hint="Leave it out."
        )


def _check_target(bundle: Path, apply: Path | None, force: bool) -> None:
    """Refuse before the work what could not be written after it."""
    from polyrank.bundle.bundle import KIND
    from polyrank.errors import ConfigError
    from polyrank.storage.targets import check_target

    if apply is None:
        return
    if apply.resolve() == bundle.resolve():
        raise ConfigError(
            "is the bundle that is read", where=str(apply), hint="Write the new one elsewhere."
        )
    check_target(apply, kind=KIND, replace=force)


def _scorer(bundle: Path, tables: list[str]) -> Scorer:
    from polyrank.cli.bundles import open_scorer

    return open_scorer(bundle, tables)


def _set(
    scorer: Scorer,
    log: str | None,
    init: bool,
    model: Path | None,
    value: list[str],
    part: str,
    share: float | None,
) -> Bundle:
    """By --init, --model or --rollback."""
    from polyrank.cli.fuse_search import worths

    if init:
        return _equal(scorer, log, worths(value), part, share)
    if model is not None:
        return _by_hand(scorer, log, model, part, share)
    return scorer.bundle.with_values_rolled_back()


def _told(bundle: Path, scorer: Scorer, log: str | None, part: str, found: Bundle) -> None:
    from polyrank.cli.bundles import warn_of_training_rows
    from polyrank.cli.tables import console, show_value_model

    if log is not None:
        warn_of_training_rows({bundle: scorer}, log, part)
    show_value_model(console(), found.values)


def _write(found: Bundle | None, apply: Path | None, force: bool) -> None:
    from polyrank.bundle import save_bundle

    if apply is None or found is None:
        typer.echo("nothing is written: --apply FOLDER writes the bundle")
        return
    version = save_bundle(found, apply, replace=force)
    typer.echo(f"written to {apply}, version {version[:12]}")


def _equal(
    scorer: Scorer, log: str | None, worth: dict[str, float], part: str, share: float | None
) -> Bundle:
    """Contributing equally on the log."""
    from polyrank.errors import ConfigError
    from polyrank.scoring import Order, equal_start

    if log is None:
        raise ConfigError("--init needs a log", where="fuse", hint="Write fuse BUNDLE LOG --init.")
    found = _replay(scorer, log, [Order.of(scorer.bundle)], part, share)
    model = equal_start(found, worth)
    order = Order(schema=scorer.bundle.schema, model=model)
    measured = _compare(scorer, found, order)
    return scorer.bundle.with_value_model(model, by="init", source=log, measured=measured)


def _by_hand(scorer: Scorer, log: str | None, file: Path, part: str, share: float | None) -> Bundle:
    """As the file says; measured where there is a log."""
    from polyrank.config import read_yaml
    from polyrank.fusion import parse_value_model
    from polyrank.scoring import Order

    schema = scorer.bundle.schema
    model, demotion = parse_value_model(read_yaml(file), where=file.name)
    model.check(schema.task_names, where=file.name)
    measured = {}
    if log is not None:
        order = Order(schema=schema, model=model, demotion=demotion)
        found = _replay(scorer, log, [Order.of(scorer.bundle), order], part, share)
        measured = _compare(scorer, found, order)
    return scorer.bundle.with_value_model(
        model, demotion, by="file", source=str(file), measured=measured
    )


def _replay(
    scorer: Scorer, log: str, orders: list[Order], part: str, share: float | None
) -> Replay:
    from polyrank.scoring import replay

    return replay(scorer, log, orders, part=part, max_quarantine_share=share)


def _compare(scorer: Scorer, found: Replay, order: Order) -> dict[str, object]:
    """Show what the order does to the log; what it measures there."""
    from polyrank.cli.tables import console, show_orders
    from polyrank.scoring import TOP, Order

    scored = found.score(order)
    if found.has_requests:
        before = found.means(found.score(Order.of(scorer.bundle)))
        columns = {
            "all rows": found.means(),
            "in force now": before,
            "by this": found.means(scored),
        }
        title = f"mean label in the first {TOP} places of a request, {found.on}"
        show_orders(console(), columns, title)
    return found.measured(scored)
