"""The search of ``polyrank fuse``: from its words to a result on screen and on disk."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from polyrank.errors import ConfigError, InterruptedRun, suggest

if TYPE_CHECKING:
    from polyrank.bundle import Bundle
    from polyrank.fusion.tuning import Settings
    from polyrank.scoring import Scorer, Then, Tuning

PARTS = ("all", "train", "validation", "test")
PICKS = ("champion", "knee")
"""What --pick names beside the numbers of trials."""
SHARED = ("--value", "--part", "--table", "--max-quarantine-share")
"""Options that --init, --model or --rollback read as well."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was given of the search."""

    settings: Path | None = None
    overrides: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    primary: str | None = None
    search: str | None = None
    trials: int | None = None
    seed: int | None = None
    values: tuple[str, ...] = ()
    work: Path | None = None
    restart: bool = False
    pick: str = "champion"
    then: str | None = None
    part: str = "all"
    tables: tuple[str, ...] = ()
    max_quarantine_share: float | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given and that only a search reads."""
        applied = {"--restart": self.restart, "--pick": self.pick != "champion"}
        options = {**self._said(), **applied}
        return [name for name, given in options.items() if given and name not in SHARED]

    def words(self) -> list[str]:
        """The options that say which search it is."""
        said = self._said().items()
        return [word for name, found in said for each in found for word in (name, each)]

    def _said(self) -> dict[str, list[str]]:
        """By option, what was given."""
        options = {
            "--settings": self.settings,
            "--set": self.overrides,
            "--objective": self.objectives,
            "--guard": self.guards,
            "--primary": self.primary,
            "--search": self.search,
            "--trials": self.trials,
            "--seed": self.seed,
            "--value": self.values,
            "--work": self.work,
            "--then": self.then,
            "--part": None if self.part == "all" else self.part,
            "--table": self.tables,
            "--max-quarantine-share": self.max_quarantine_share,
        }
        return {name: _each(given) for name, given in options.items()}

    def read(self) -> Settings:
        """The file, what is put over it, and then the options.

        Raises:
            ConfigError: One of them says what there is not.
        """
        from polyrank.config import override, read_yaml
        from polyrank.fusion.tuning import Settings
        from polyrank.fusion.tuning.written import read_guardrail, read_objective
        from polyrank.schema import parse

        tree: dict[str, Any] = {} if self.settings is None else read_yaml(self.settings)
        for each in self.overrides:
            override(tree, each)
        if self.objectives:
            tree["objectives"] = [read_objective(text).model_dump() for text in self.objectives]
        if self.guards:
            guards = [text for text in self.guards if text != "none"]
            tree["guardrails"] = [read_guardrail(text).model_dump() for text in guards]
        if self.primary is not None:
            coded = ":" in self.primary
            tree["primary"] = read_objective(self.primary).name if coded else self.primary
        if self.seed is not None:
            tree["seed"] = self.seed
        if self.values:
            tree["values"] = worths(self.values)
        self._put_search(tree)
        return parse(Settings, tree, where="" if self.settings is None else self.settings.name)

    def _put_search(self, tree: dict[str, Any]) -> None:
        from polyrank.fusion.tuning import SEARCHES

        if self.search is not None:
            if self.search not in SEARCHES:
                raise ConfigError(
                    f"--search got {self.search!r}, which is none",
                    where="fuse",
                    hint=suggest(self.search, SEARCHES),
                )
            tree["search"] = {"kind": self.search}
        if self.trials is not None:
            tree["search"] = {"kind": "cem", **tree.get("search", {}), "trials": self.trials}


def _each(given: object) -> list[str]:
    """What an option was given, once or several times; none: it was not."""
    if given is None:
        return []
    return list(given) if isinstance(given, tuple) else [str(given)]


def worths(texts: Sequence[str]) -> dict[str, float]:
    """``TASK=NUMBER`` words.

    Raises:
        ConfigError: A word of another form.
    """
    from polyrank.cli.bundles import named

    numbers = {}
    for name, text in named("--value", "TASK=NUMBER", texts).items():
        try:
            numbers[name] = float(text)
        except ValueError as error:
            raise ConfigError(
                f"--value got {text!r} for {name!r}, which is no number",
                hint="Write --value TASK=NUMBER.",
            ) from error
    return numbers


def run_search(
    bundle: Path,
    scorer: Scorer,
    log: str | None,
    asked: Asked,
    apply: Path | None,
) -> Bundle | None:
    """Search, write and show; the bundle that ranks by what was picked, where it is to be written.

    Raises:
        ConfigError: No ranking holds every guardrail; what was found is written and shown.
        InterruptedRun: It was stopped; likewise, and the same command goes on.
    """
    from polyrank.cli.bundles import warn_of_training_rows
    from polyrank.cli.tables import console, show_value_model
    from polyrank.cli.tuning_screen import show_asked, show_tuned
    from polyrank.scoring import tune

    log, settings = _needed(log), asked.read()
    _check_pick(asked.pick, settings.search.trials)
    warn_of_training_rows({bundle: scorer}, log, asked.part)
    then = _then(log, asked.then)
    if then is not None:
        warn_of_training_rows({bundle: scorer}, then.log, then.part)
    folder = _folder(bundle, asked)
    out = console()
    with _progress(settings) as progress:
        tuning = tune(
            scorer,
            log,
            settings,
            folder=folder,
            part=asked.part,
            then=then,
            max_quarantine_share=asked.max_quarantine_share,
            progress=progress,
            ready=lambda task: show_asked(out, task),
            restart=asked.restart,
        )
    show_tuned(out, tuning.tuned)
    _written(tuning, folder, scorer, _again(bundle, log, asked))
    _refuse_unfinished(tuning)
    if apply is None:
        return None
    found = tuning.applied(asked.pick)
    _warn_of_missed(tuning, asked.pick)
    show_value_model(out, found.values)
    return found


def _needed(log: str | None) -> str:
    if log is None:
        raise ConfigError(
            "a search needs a log",
            where="fuse",
            hint="Write fuse BUNDLE LOG; or one of --init, --model FILE and --rollback.",
        )
    return log


def _check_pick(pick: str, trials: int) -> None:
    """Refuse before the search what cannot be picked after it."""
    if pick in PICKS or (pick.isdecimal() and int(pick) < trials):
        return
    raise ConfigError(
        f"{pick!r} names no trial, of 0 to {trials - 1}", where="--pick", hint=suggest(pick, PICKS)
    )


def _warn_of_missed(tuning: Tuning, pick: str) -> None:
    slacks = tuning.provenance(pick)["slacks"]
    if missed := [name for name, slack in slacks.items() if slack < 0]:
        typer.echo(f"warning: --pick {pick} misses {'; '.join(missed)}", err=True)


def _then(log: str, then: str | None) -> Then | None:
    """A later log, or a part of this one."""
    from polyrank.scoring import Then

    if then is None:
        return None
    return Then(log, then) if then in PARTS else Then(then)


def _folder(bundle: Path, asked: Asked) -> Path:
    from polyrank.storage import check_writable

    bundle = bundle.absolute()
    folder = asked.work or bundle.with_name(f"{bundle.name}-tuning")
    check_writable(folder)
    return folder


def _again(bundle: Path, log: str, asked: Asked) -> str:
    """The same search for a shell, applying a trial that is still to be named."""
    same = shlex.join(["polyrank", "fuse", str(bundle), log, *asked.words()])
    return f"{same} --pick {{pick}} --apply FOLDER"


def _written(tuning: Tuning, folder: Path, scorer: Scorer, command: str) -> None:
    """The result and, where the extra is installed, its page."""
    from polyrank.fusion.tuning.page import write_page

    path = tuning.tuned.write(folder)
    typer.echo(f"the result is {path}")
    try:
        page = write_page(
            tuning.tuned, folder, tasks=scorer.bundle.schema.task_names, command=command
        )
    except ConfigError as error:  # without the extra there is no page
        typer.echo(f"no page: {error}")
        return
    typer.echo(f"its page is {page}")


def _refuse_unfinished(tuning: Tuning) -> None:
    tuned, found = tuning.tuned, tuning.found
    if not tuned.complete:
        done = f"{len(tuned.trials):,} of {found.settings.search.trials:,} trials"
        raise InterruptedRun(
            f"the search was stopped after {done}",
            where="fuse",
            hint="The same command goes on from there.",
        )
    if tuned.champion is None:
        raise ConfigError(
            found.goals.told_missed(found.value_PK),
            where="guardrails",
            hint="Loosen a guardrail, widen `lower` and `upper`, or try more.",
        )


@contextmanager
def _progress(settings: Settings) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("trials", total=settings.search.trials)
        yield lambda done: bar.update(task, completed=done)
