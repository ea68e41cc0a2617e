"""The reference of the command line, made from the click commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from zoo.cli import COMMANDS, main

from .json_fields import told
from .words import table

LEAD = """# Commands

`zoo VERB [MODEL] [key=value...] [--flags]`. What each command prints with `-h` is below; this page is made from the
commands themselves.

**Output.** The answer goes to stdout, progress and notes to stderr. `--json` gives the same fields every
time; those at the top are listed with each command.

**Exit codes.** 0: done. 1: the answer is no, or the data are bad. 2: wrongly worded. 3: an extra, the network or the
hub is missing. 130: interrupted.

**Errors** say what was found, what was expected and what to type. `--debug` shows the traceback.

"""


def page() -> str:
    """Every command with its arguments, options and examples."""
    context = click.Context(main, info_name="zoo", **main.context_settings)
    parts = [LEAD, "## zoo\n", _parameters(main, context)]
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        parts += [f"## zoo {name}\n", f"*{COMMANDS[name].group}.*\n", *_command(command, context, name)]
    return "\n".join(parts)


def commands() -> dict[str, click.Command]:
    """Every command by its words: `list`, `bench`, ..., and those within groups as `group name`."""
    context = click.Context(main, info_name="zoo", **main.context_settings)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        found |= {name: command} | {f"{name} {inner}": c for inner, c in _within(command)}
    return found


def _within(command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        yield from command.commands.items()


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield _prose(command.help or "")
    yield _parameters(command, context)
    yield told(name)
    if command.epilog:
        examples = [line.strip() for line in command.epilog.splitlines() if line.startswith("  ")]
        yield "```bash\n" + "\n".join(examples) + "\n```\n"
    for inner, child in _within(command):
        yield f"### {context.command_path} {inner}\n"
        yield from _command(child, context, inner)


def _parameters(command: click.Command, context: click.Context) -> str:
    rows = [_row(p, context) for p in command.get_params(context) if not getattr(p, "hidden", False)]
    return table(["argument or option", "default", "meaning"], [row for row in rows if row])


def _row(parameter: click.Parameter, context: click.Context) -> list[str]:
    default = parameter.get_default(context)
    is_plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    shown = f"`{default}`" if is_plain else ""
    if isinstance(parameter, click.Argument):
        return [f"`{parameter.make_metavar(context)}`", shown, ""]
    assert isinstance(parameter, click.Option)
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    takes = "" if parameter.is_flag else f" `{parameter.make_metavar(context)}`"
    again = " May be given again." if parameter.multiple else ""
    return [names + takes, shown, (parameter.help or "").strip() + again]


def _prose(text: str) -> str:
    """Click's help as Markdown: \\b begins lines that are kept as they are."""
    out = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        out.append("```text\n" + "\n".join(lines[1:]) + "\n```" if lines[0] == "\b" else " ".join(lines))
    return "\n\n".join(out) + "\n"
