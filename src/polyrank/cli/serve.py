"""``polyrank serve``: answer requests over HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from polyrank.serving.settings import ServeSettings

AT_WORK = frozenset({"shadow", "prediction-log"})
"""Threads of the server that may compute or write when it has ended."""


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]PATH",
            help="A bundle, a link to one, or a folder of bundles by version.",
        ),
    ] = [],  # noqa: B006
    file: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", help="The server's YAML; flags go over it."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free one.")] = None,
    engine: Annotated[
        Literal["auto", "eager", "onnx", "compiled"] | None,
        typer.Option(help="What computes; auto: ONNX Runtime where the network is ready for it."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8", "int8_tables"] | None,
        typer.Option(help="Less than fp32 is faster, and ranks a little otherwise."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of one pass of the model.")] = None,
    features: Annotated[
        list[str],
        typer.Option(
            "--features",
            metavar="[MODEL:]TABLE=STORE",
            help="Where a side table is by id: memory, FILE.sqlite, FILE.lmdb, FILE.parquet, "
            "redis://HOST or env:NAME.",
        ),
    ] = [],  # noqa: B006
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FOLDER", help="Log what is answered, as Parquet."),
    ] = None,
    sample: Annotated[
        float | None, typer.Option("--sample", min=0, max=1, help="Share of requests logged.")
    ] = None,
    token: Annotated[
        Path | None,
        typer.Option(
            "--admin-token",
            metavar="FILE",
            help="Holds the token that changes value models and versions; else the environment's "
            "POLYRANK_ADMIN_TOKEN, else nothing can be changed.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No line a request on standard error.")
    ] = False,
) -> None:
    """Rank and predict over HTTP.

    Speaks the Open Inference Protocol v2 at /v2, and ranks at POST /v1/rank. SIGTERM drains.
    """
    from polyrank.installed import require

    require("serve", "starlette", "uvicorn", "orjson", "prometheus_client", where="serve")
    given = {
        "host": host,
        "port": port,
        "engine": engine,
        "precision": precision,
        "threads": threads,
    }
    settings = _settings(file, given, models, features, log, sample)
    raise typer.Exit(_run(settings, token, quiet=quiet))


def _run(settings: ServeSettings, token: Path | None, *, quiet: bool) -> int:
    import torch

    from polyrank.serving.host import hosted, read_token
    from polyrank.serving.http import AccessLog, bind, run, url_of

    secret = read_token(token)
    torch.set_num_threads(settings.threads)
    with _told(), bind(settings.host, settings.port) as listener:
        access = None if quiet else AccessLog()
        with hosted(settings, token=secret, access_log=access) as guard:
            names = ", ".join(settings.models)
            typer.echo(f"serving {names} at {url_of(listener)}")
            code = run(guard, listener)
        if access is not None:
            access.close()
    if code or still_at_work():
        os._exit(code)  # requests were cut: Python would wait for threads that may never end
    return code


def still_at_work() -> bool:
    """Whether a thread that nobody waits for is left, such as one that compares versions.

    Python would end it in the middle of a library, which then aborts the process.
    """
    import threading

    return any(each.daemon and each.name in AT_WORK for each in threading.enumerate())


@contextmanager
def _told() -> Iterator[None]:
    """What the server has to say stands on standard error."""
    import logging

    logger, handler = logging.getLogger("polyrank"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _settings(
    file: Path | None,
    given: Mapping[str, Any],
    models: Sequence[str],
    features: Sequence[str],
    log: Path | None,
    sample: float | None,
) -> ServeSettings:
    """The settings of a file under those of the command line."""
    from polyrank.config import read_yaml
    from polyrank.schema import parse
    from polyrank.serving.settings import ServeSettings

    tree: dict[str, Any] = {} if file is None else read_yaml(file)
    tree |= {key: value for key, value in given.items() if value is not None}
    if models:
        tree["models"] = _named(models)
    if features:
        stores = dict(tree.get("features") or {})
        for model, table, store in _stores(features, list(tree.get("models") or {})):
            stores[model] = {**stores.get(model, {}), table: store}
        tree["features"] = stores
    if log is not None:
        tree["predictions"] = {**(tree.get("predictions") or {}), "folder": str(log)}
    if sample is not None:
        tree["predictions"] = {**(tree.get("predictions") or {}), "sample": sample}
    return parse(ServeSettings, tree, where="" if file is None else file.name)


def _named(models: Sequence[str]) -> dict[str, str]:
    """Each model's name and path; without a name it is the folder's, or that of the run's.

    What stands before an equals sign is a name unless it holds a slash: paths may have such signs.
    """
    from polyrank.errors import ConfigError
    from polyrank.schema.refusal import NAME_PATTERN

    found: dict[str, str] = {}
    for text in models:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            folder = Path(text).absolute()
            name = folder.parent.name if folder.name == "bundle" else folder.name
            path = text
            if not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(
                    f"{name!r} cannot be a model's name", where=text, hint="Write NAME=PATH."
                )
        if name in found:
            raise ConfigError(
                f"two models are called {name!r}", where=text, hint="Write NAME=PATH for one."
            )
        found[name] = path
    return found


def _stores(features: Sequence[str], models: Sequence[str]) -> list[tuple[str, str, str]]:
    """Model, side table and store of each."""
    from polyrank.cli.bundles import named
    from polyrank.errors import ConfigError

    found = []
    for place, store in named("--features", "[MODEL:]TABLE=STORE", features).items():
        model, colon, table = place.rpartition(":")
        if not colon and len(models) != 1:
            raise ConfigError(
                f"says not which model's table {table!r} is",
                where="--features",
                hint="Write MODEL:TABLE=STORE.",
            )
        found.append((model if colon else models[0], table, store))
    return found
