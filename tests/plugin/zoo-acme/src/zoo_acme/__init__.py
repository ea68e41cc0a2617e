"""What the laboratory Acme adds to zoo: its own layout of LLaMA's checkpoints, and a command."""

from zoo import Command, Format, hookimpl


@hookimpl
def zoo_formats():
    return [Format(family="llama", name="acme", dialect=f"{__name__}.layout:LLAMA")]


@hookimpl
def zoo_commands():
    return [Command("acme-layers", f"{__name__}.command:layers", "How many layers a model has.")]
