"""``polyrank features load``: stores of features by id, filled from a bundle."""

from typing import Annotated

import typer

from polyrank.cli.options import BundlePath, Tables

features = typer.Typer(help="Stores of features by id, for serving.", rich_markup_mode=None)


@features.callback()
def _verbs() -> None:
    """Stores of features by id, for serving."""


@features.command()
def load(
    bundle: BundlePath,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="STORE",
            help="A .sqlite or .lmdb file, redis://host, or env:NAME with such an address.",
        ),
    ],
    only: Annotated[
        list[str], typer.Option("--only", metavar="NAME", help="Only this side table.")
    ] = [],  # noqa: B006
    tables: Tables = [],  # noqa: B006
    prefix: Annotated[str, typer.Option("--prefix", help="Of the keys in Redis.")] = "polyrank",
) -> None:
    """Fill a store with the bundle's side tables; servers that use it take them over at once."""
    from polyrank.bundle import load_bundle
    from polyrank.cli.bundles import named_paths
    from polyrank.errors import ConfigError, counted, suggest
    from polyrank.serving.features import codec_of, fill, held, read_side_table, store_settings

    settings = store_settings(to, where="--to")
    if settings.kind == "redis":
        settings = store_settings({"kind": "redis", "url": to, "prefix": prefix}, where="--to")
    found = load_bundle(bundle)
    sides = {side.name: side for side in found.schema.tables}
    files = named_paths(tables)
    for name in (*only, *files):
        if name not in sides:
            raise ConfigError(
                f"the schema declares no side table {name!r}", hint=suggest(name, sides)
            )
    if not sides:
        raise ConfigError("has no side table", where=str(bundle), hint="There is nothing to load.")
    wanted = {}
    for name in only or sides:
        codec, table = codec_of(sides[name], found.tables[name]), found.tables[name]
        if name in files:
            table = read_side_table(files[name], sides[name], found.schema, codec)
        wanted[name] = codec, table
    if dropped := held(settings, sides.keys() - wanted.keys()):
        raise ConfigError(
            f"holds {' and '.join(sorted(dropped))} too, and a file is written anew",
            where=to,
            hint="Leave --only out, or give each side table a file of its own.",
        )
    for name, rows in fill(settings, wanted).items():
        typer.echo(f"{counted(rows, 'row')} of side table {name!r} loaded into {settings.kind}")
