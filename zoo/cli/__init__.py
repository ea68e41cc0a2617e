"""The `zoo` command. Imports click alone: each command's module is imported when it is asked for."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import click

from zoo import address_space
from zoo.cli import streams
from zoo.cli.added import added, by_plugin
from zoo.cli.failures import tell
from zoo.errors import ZooWarning
from zoo.progress import Advance, shown_by
from zoo.registry import interrupts
from zoo.version import __version__

COMPLETION = "_ZOO_COMPLETE"


class Entry(NamedTuple):
    """Where a command is, and its line in the help."""

    group: str
    target: str  # module:name
    about: str


COMMANDS = {
    "list": Entry("Look", "zoo.cli.list:command", "Families and presets, with traits and sizes."),
    "show": Entry("Look", "zoo.cli.show:command", "What a model is and what it costs; no weights, no torch."),
    "compare": Entry("Look", "zoo.cli.compare:command", "What differs between models, in words and pictures."),
    "diff": Entry("Look", "zoo.cli.diff:command", "Two checkpoints' weights: what differs, by how much, where."),
    "plan": Entry("Look", "zoo.cli.plan:command", "What a budget of training compute is best spent on."),
    "build": Entry("Make", "zoo.cli.build:command", "Compose, build, summarise; -m sweeps."),
    "inspect": Entry("Make", "zoo.cli.inspect:command", "Which family a checkpoint is; reads headers only."),
    "convert": Entry("Make", "zoo.cli.convert:command", "From any format to any other: strict ledger, atomic."),
    "train": Entry("Make", "zoo.cli.train:command", "Train or tune a model on texts; resumes bit for bit."),
    "quantize": Entry("Make", "zoo.cli.quantize:command", "Round matrices to 8 or 4 bits; every error told."),
    "pull": Entry("Make", "zoo.cli.pull:command", "Download a checkpoint from the hub, pinned and checked."),
    "push": Entry("Make", "zoo.cli.push:command", "Publish a folder that zoo wrote on the hub, checked first."),
    "verify": Entry("Prove", "zoo.cli.verify:command", "Is it the same as a reference? If not, where and why."),
    "check-plugin": Entry("Prove", "zoo.cli.check_plugin:command", "Check that a plugin's families keep the contract."),
    "doctor": Entry("Prove", "zoo.cli.doctor:command", "Environment, plugins, cache, network."),
    "chat": Entry("Run", "zoo.cli.chat:command", "Terminal chat."),
    "generate": Entry("Run", "zoo.cli.generate:command", "One-shot text, all decoding methods."),
    "serve": Entry("Run", "zoo.cli.serve:command", "Models behind OpenAI's interface; a page that compares two."),
    "tokenize": Entry("Run", "zoo.cli.tokenize:command", "A text as pieces and ids, of two models side by side."),
    "embed": Entry("Run", "zoo.cli.embed:command", "Texts and pictures as vectors; how alike they are."),
    "classify": Entry("Run", "zoo.cli.classify:command", "The classes of texts, tokens and pictures."),
    "eval": Entry("Run", "zoo.cli.eval:command", "Perplexity on texts; tasks of lm-evaluation-harness."),
    "bench": Entry("Run", "zoo.cli.bench:command", "Prefill and decode speed, memory; -m sweeps."),
    "plugins": Entry("Extend", "zoo.cli.plugins:command", "What is loaded, from where, which version, why not."),
    "new-plugin": Entry("Extend", "zoo.cli.new_plugin:command", "A working package in one command."),
    "completion": Entry("Shell", "zoo.cli.completion:command", "Print or install the script for bash, zsh or fish."),
}

EPILOG = """\b
Examples:
  zoo list 'llama3*'
  zoo build llama3 model.num_layers=4
  zoo -p no:gpt2 plugins
"""


def is_there(name: str) -> bool:
    """Whether a command's module is installed; looking costs less than importing it."""
    return find_spec(COMMANDS[name].target.partition(":")[0]) is not None


class Zoo(click.Group):
    """The commands, imported lazily, and what happens to their errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(name for name in COMMANDS if is_there(name)), *(name for p in by_plugin().values() for name, _ in p)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS or not is_there(cmd_name):
            return added(cmd_name)
        module, _, name = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), name)
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from zoo.presets.mistakes import suggest

            known = self.list_commands(ctx)
            raise click.UsageError(f"zoo has no command {name!r}\n{suggest(name, known)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = [name for name in COMMANDS if is_there(name)]
        for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
            if rows := [(name, COMMANDS[name].about) for name in names if COMMANDS[name].group == group]:
                with formatter.section(group):
                    formatter.write_dl(rows, col_max=14, col_spacing=14 - max(len(name) for name, _ in rows))
        for plugin, rows in by_plugin().items():
            with formatter.section(f"From {plugin}"):
                formatter.write_dl(rows, col_max=14, col_spacing=max(14 - max(len(name) for name, _ in rows), 2))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line and leave the process with its exit code; `--debug` lets errors through whole."""
        given = [*(sys.argv[1:] if args is None else args)]  # list() is not to be had here: see zoo.cli.list
        if COMPLETION in os.environ:
            import_module("zoo.cli.completion")  # registers the shells
        streams.mend()
        address_space.watch()
        gc.set_threshold(50_000)  # starting up makes much and frees little: a tenth of `zoo list`
        atexit.register(gc.freeze)  # nor is there a use in looking for what is free when all will be: as much again
        words, is_debugging, blocked = take_globals(given)
        if words[:1] == ["help"]:  # as git and others have it; `-h` and `--help` say the same
            words = [*words[1:2], "--help"]
        if blocked:
            block(blocked)
        options = {"prog_name": "zoo", **options, "complete_var": COMPLETION, "standalone_mode": False}
        try:
            with interrupts.noted(), notes(), shown_by(_bar):
                code = super().main(words, *rest, obj=given, **options)
            sys.stdout.flush()
        except Exception as error:
            if is_debugging:
                raise
            code = tell(error)
        sys.exit(code if isinstance(code, int) else 0)


def refuse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Refuse a `-p` that is not no:NAME; those that are have been taken out of the line by now."""
    if value is not None:
        raise click.BadParameter(f"{value!r} is not no:NAME", ctx, param)


@click.group(
    cls=Zoo, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}, options_metavar="[OPTIONS]"
)
@click.option(
    "-p",
    "plugin",
    metavar="no:NAME",
    expose_value=False,
    callback=refuse,
    help="Leave out a plugin. Also after the command.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show an error's traceback. Also after the command.")
@click.version_option(__version__, "--version", prog_name="zoo", message="%(prog)s %(version)s")
def main() -> None:
    """zoo: language and vision-language models from presets and checkpoints, never a wrong one quietly.

    Of a command: zoo help COMMAND.
    """


@contextmanager
def notes() -> Iterator[None]:
    """Print zoo's own warnings as a note each, once, where Python would name a line of our code."""
    with warnings.catch_warnings():
        show, told = warnings.showwarning, {""}  # Python's "once" is once per module, and anew after catch_warnings

        def tell_user(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if not issubclass(category, ZooWarning):
                show(message, category, *where, **options)
            elif str(message) not in told:
                told.add(str(message))
                click.echo(f"note: {message}", err=True)

        warnings.simplefilter("always", ZooWarning)
        warnings.showwarning = tell_user
        yield


def _bar(what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
    from zoo.cli.bars import bar

    return bar(what, total, unit)


def take_globals(args: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """Sort `--debug` and `-p no:NAME` out of a command line, wherever they stand before `--`."""
    end = args.index("--") if "--" in args else len(args)
    words: list[str] = []
    blocked: list[str] = []
    before = iter(args[:end])
    for word in before:
        value = next(before, None) if word == "-p" else None
        is_prompt = "generate" in words or "tokenize" in words  # whose -p is a text, whatever it says
        if value is not None and not is_prompt and (name := re.fullmatch(r"no:([\w.-]+)", value)):
            blocked.append(name[1])
        elif word != "--debug":
            words += [word] if value is None else [word, value]
    return [*words, *args[end:]], "--debug" in args[:end], blocked


def block(names: Sequence[str]) -> None:
    """Leave plugins out, here and in child processes."""
    from zoo.errors import did_you_mean
    from zoo.registry import installed

    before = os.environ.get("ZOO_BLOCK", "")
    os.environ["ZOO_BLOCK"] = ",".join(dict.fromkeys([*filter(None, before.split(",")), *names]))
    installed.cache_clear()
    known = [plugin.name for plugin in installed().plugins]
    for name in names:
        if name not in known:
            told = f"note: -p no:{name} has no effect: no plugin has this name; {did_you_mean(name, known)}"
            click.echo(told, err=True)
