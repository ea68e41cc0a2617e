"""`zoo serve`: models behind the interface that other programs' clients speak."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from zoo.anatomy.size import human_bytes
from zoo.cli import output
from zoo.cli.inspect import chosen, complete
from zoo.cli.speaker import GROUP, packing_options
from zoo.errors import MissingExtra, UsageError
from zoo.units import parse_bytes

if TYPE_CHECKING:
    from zoo.serving.roster import Roster, Volume

EPILOG = """\b
Examples:
  zoo serve ./SmolLM2-135M-Instruct --dtype float32
  zoo serve tiny ./my-finetune --port 8080 --api-key "$KEY"
  zoo serve ./Qwen2.5-VL-3B-Instruct --rows 4 --context 4096 --queue 16
"""
PACKAGES = ("starlette", "uvicorn", "sse_starlette")


@click.command(epilog=EPILOG)
@click.argument("sources", nargs=-1, required=True, shell_complete=complete, metavar="SOURCE... [model.FIELD=VALUE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: any that is free.")
@click.option("--api-key", metavar="KEY", envvar="ZOO_API_KEY", help="Answer only those who send this key.")
@click.option("--rows", type=int, default=8, show_default=True, help="Texts in the making at once, of each model.")
@click.option("--queue", type=int, default=64, show_default=True, help="Requests that may wait.")
@click.option("--context", type=int, metavar="TOKENS", help="Prompt and answer at most.  [default: the model's]")
@click.option("--memory", metavar="SIZE", help="Bytes for weights; models that do not fit take turns.")
@click.option(
    "--shared", default="256MB", show_default=True, metavar="SIZE", help="Bytes kept of prompts that may begin others."
)
@click.option("--grace", type=float, default=10.0, show_default=True, help="Seconds to finish in when told to end.")
@click.option("--ignore-settings", is_flag=True, help="Ignore settings of the checkpoint that zoo does not know.")
@click.option("--allow", multiple=True, metavar="PATTERN,...", help="Allow tensors or config keys that match.")
@click.option("--allow-pickle", is_flag=True, help="Open .bin and .pth files as data only; code in them is refused.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option("--dtype", help="Cast the weights, to float32 for example.")
@click.option("--pooling", metavar="KIND", help="How states become a vector: mean, cls, last, ...")
@packing_options
def command(
    sources: tuple[str, ...],
    host: str,
    port: int,
    api_key: str | None,
    rows: int,
    queue: int,
    context: int | None,
    memory: str | None,
    shared: str,
    grace: float,
    ignore_settings: bool,
    **how: Any,
) -> None:
    """Answer OpenAI's interface with one model or several: completions, chats, embeddings; a page at /.

    Requests join and leave a running batch. In float32 a text is the one that zoo generate gives for its prompt,
    whatever else is asked meanwhile; in other types rounding may turn a close choice. For many users or large models
    take a server made for that (vLLM, llama.cpp) with the folder or GGUF that zoo convert writes.
    """
    _check_packages()
    if api_key == "" or (host not in ("127.0.0.1", "localhost", "::1") and api_key is None):
        raise UsageError(f"--host {host} can be reached from outside, and there is no --api-key", hint="--api-key KEY")
    for name, value in (("rows", rows), ("queue", queue), ("context", context)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} is not at least 1")
    from zoo.serving.bounds import Bounds
    from zoo.serving.opening import machine_bytes
    from zoo.serving.roster import Roster
    from zoo.serving.server import Server, listening

    kept = parse_bytes(shared)
    bounds = Bounds(rows=rows, queue=queue, context=context, grace_seconds=grace, shared_bytes=kept)
    volumes = _volumes(sources, context=context, **how)
    limit = machine_bytes(how["device"]) if memory is None else parse_bytes(memory)
    shelf = Roster(volumes, bounds, memory_bytes=limit)
    for volume in volumes if shelf.holds_all else volumes[:1]:
        shelf.open(volume)
    socket = listening(host, port)
    _tell(shelf, host, socket.getsockname()[1])
    Server(shelf, host=host, port=port, key=api_key).run(sockets=[socket])


def _check_packages() -> None:
    if missing := next((name for name in PACKAGES if find_spec(name) is None), None):
        raise MissingExtra(missing.replace("_", "-"), "serve", "zoo serve")


def _volumes(sources: tuple[str, ...], **how: Any) -> list[Volume]:
    """The models as far as they are known without their weights; words with = are for all of them."""
    from zoo.presets.settings import parted, settings_of
    from zoo.serving.opening import open_volume

    words, others = parted([word for word in sources if "=" in word], GROUP)
    named = [word for word in sources if "=" not in word]
    if not named:
        raise UsageError("there is no model to serve", hint="zoo serve tiny")
    overrides, family = chosen(tuple(others))
    settings = settings_of(words, GROUP)
    return [open_volume(s, *overrides, family=family, settings=settings, tell=output.note, **how) for s in named]


def _tell(shelf: Roster, host: str, port: int) -> None:
    """What is served, what it is held to, and where."""
    for volume in shelf.volumes.values():
        told = f"{volume.name} · {human_bytes(volume.nbytes)} · {volume.context:,} tokens"
        output.note(f"{told} · computed in {volume.dtype}" if volume.dtype else told)
    if not shelf.holds_all:
        output.note("the models do not fit into memory together: they take turns")
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"http://{shown}:{port}")
