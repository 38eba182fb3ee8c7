"""``polyrank card``: the model card of a bundle."""

from polyrank.cli.options import BundlePath


def card(bundle: BundlePath) -> None:
    """Print the model card of a bundle."""
    import typer

    from polyrank.bundle import FORMAT_VERSION
    from polyrank.bundle.bundle import KIND
    from polyrank.storage import open_committed

    with open_committed(bundle, kind=KIND, supported_versions={FORMAT_VERSION}) as committed:
        typer.echo(committed.read("card.md").decode(), nl=False)
