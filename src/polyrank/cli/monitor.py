"""``polyrank monitor``: whether what is served is still like what was learned from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyrank.cli.options import LogPath, ObservedUntil, instant

if TYPE_CHECKING:
    from polyrank.bundle import Bundle
    from polyrank.monitoring import Thresholds


def monitor(
    log: LogPath,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FOLDER", help="The model: schema, ids, and reference."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="LOG", help="Compare with this log, not the bundle's profile."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="TABLE", help="Labels by request and item."),
    ] = None,
    observed_until: ObservedUntil = None,
    joined: Annotated[
        Path | None,
        typer.Option(
            "--joined", metavar="FILE", help="Write the log with its labels, for other verbs."
        ),
    ] = None,
    fail_on: Annotated[
        Literal["note", "alarm"] | None,
        typer.Option("--fail-on", help="Exit with 1 where there is one."),
    ] = None,
    psi_note: Annotated[
        float | None,
        typer.Option(
            "--psi-note",
            min=0,
            help="PSI beyond chance that is told; 0.1, or less where an alarm is.",
        ),
    ] = None,
    psi_alarm: Annotated[
        float | None,
        typer.Option(
            "--psi-alarm",
            min=0,
            help="PSI beyond chance that is an alarm; 0.25, or more where a note is.",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option("--margin", min=0, help="Predicted over observed may be so far from 1."),
    ] = 0.1,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws over users.")] = 200,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it as JSON.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it as an HTML page.")
    ] = None,
) -> None:
    """Compare a log of what was served with what was learned from.

    Drift of inputs and predictions beyond chance, missing and unseen values, volume and versions,
    and calibration once labels are there.
    """
    from polyrank.cli.monitor_screen import show_watched
    from polyrank.cli.tables import console
    from polyrank.monitoring import check_reference, watch

    limits, until = _limits(psi_note, psi_alarm, margin), instant(observed_until)
    _check_written(joined, json_file, out)
    model = _load(bundle)
    check_reference(model, reference)
    watched = partial(
        watch,
        bundle=model,
        reference=reference,
        observed_until=until,
        thresholds=limits,
        resamples=resamples,
    )
    if joined is None:
        found = watched(log, labels=labels)
    else:
        with _draft(joined) as draft:
            _join(log, labels, model, draft)
            found = replace(watched(str(draft)), log=str(joined))
            draft.replace(joined)
    show_watched(console(), found)
    if json_file is not None:
        _write(json_file, found.to_json())
    if out is not None:
        from polyrank.monitoring.page import write_page

        write_page(found, out)
        typer.echo(f"wrote {out}")
    if fail_on is not None and found.reaches(fail_on):
        raise typer.Exit(1)


def _limits(note: float | None, alarm: float | None, margin: float) -> Thresholds:
    """One threshold that is given alone takes the other along where it passes it."""
    from polyrank.errors import ConfigError
    from polyrank.monitoring import Thresholds

    usual = Thresholds()
    if note is None:
        note = usual.psi_note if alarm is None else min(usual.psi_note, alarm)
    if alarm is None:
        alarm = max(usual.psi_alarm, note)
    if note > alarm:
        raise ConfigError(
            f"{note:g} is more than --psi-alarm {alarm:g}, and every alarm is a note",
            where="--psi-note",
            hint=f"Give at most {alarm:g}, or raise --psi-alarm.",
        )
    return Thresholds(psi_note=note, psi_alarm=alarm, ratio_margin=margin)


def _load(path: Path | None) -> Bundle | None:
    from polyrank.bundle import load_bundle

    return None if path is None else load_bundle(path)


def _check_written(joined: Path | None, json_file: Path | None, out: Path | None) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        ConfigError: Something of another kind, or of the log, lies there, or a folder is missing.
    """
    from polyrank.errors import ConfigError
    from polyrank.storage.targets import FileKind, check_file

    asked: tuple[tuple[str, Path | None, FileKind], ...] = (
        ("--joined", joined, "Parquet"),
        ("--json", json_file, "JSON"),
        ("--out", out, "HTML"),
    )
    seen: dict[Path, str] = {}
    for option, path, kind in asked:
        if path is None:
            continue
        if (other := seen.setdefault(path.resolve(), option)) != option:
            raise ConfigError(
                f"names what {other} names", where=option, hint="Write each to a path of its own."
            )
        check_file(path, kind=kind, replace=option != "--joined")
        if option != "--out" and not path.absolute().parent.is_dir():
            raise ConfigError(
                f"its folder {path.parent} is not there", where=option, hint="Make it first."
            )
    if out is not None:
        from polyrank import pages

        pages.require_report()


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Where the file is written before it gets its name; gone afterwards."""
    from tempfile import TemporaryDirectory

    from polyrank.storage.failures import storage_errors

    with storage_errors("write the joined log", out.name):
        folder = TemporaryDirectory(prefix=f".tmp-{out.name}-", dir=out.absolute().parent)
    with folder as home:
        yield Path(home) / out.name


def _join(log: str, labels: str | None, bundle: Bundle | None, out: Path) -> None:
    """Write the log with its labels."""
    from polyrank.errors import ConfigError
    from polyrank.monitoring import join_labels
    from polyrank.scoring.output import write_parquet

    if labels is None or bundle is None:
        raise ConfigError(
            "labels are joined by a bundle's schema",
            where="--joined",
            hint="Give --labels TABLE and --bundle FOLDER.",
        )
    write_parquet(join_labels(log, labels, bundle.schema), out, replace=False)


def _write(path: Path, text: str) -> None:
    from polyrank.storage.disk import REAL_DISK
    from polyrank.storage.temporary import hidden_sibling

    temporary = hidden_sibling(path.absolute(), "tmp")
    try:
        REAL_DISK.write(temporary, text.encode() + b"\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
