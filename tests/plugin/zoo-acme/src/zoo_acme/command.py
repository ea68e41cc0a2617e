"""`zoo acme-layers MODEL`."""

from __future__ import annotations

import click

import zoo


@click.command()
@click.argument("model")
def layers(model: str) -> None:
    """Count the layers of MODEL."""
    click.echo(f"{model}: {zoo.compose(model).num_layers} layers")
