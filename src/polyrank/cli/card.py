"""``polyrank card``: the model card of a bundle."""

from polyrank.cli.options import BundlePath


def card(bundle: BundlePath) -> None:
    """Print the model card of a bundle."""
    import typer

    from polyrank.bundle import open_bundle

    with open_bundle(bundle) as committed:
        typer.echo(committed.read("card.md").decode(), nl=False)
