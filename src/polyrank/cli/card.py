"""``polyrank card``: the model card of a bundle."""

from polyrank.cli.options import BundlePath


def card(bundle: BundlePath) -> None:
    """Print the model card of a bundle."""
    import typer

    from polyrank.bundle import load_bundle, render

    typer.echo(render(load_bundle(bundle).card))
