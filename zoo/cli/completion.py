"""`zoo completion`: scripts for the shells, and what they ask: commands, flags, models, groups and keys. No Hydra."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from zoo.anatomy.fields import Field, fields_of
from zoo.presets.overrides import Grammar, config_class_of, expand, grammar, model_of
from zoo.registry import installed

EPILOG = """\b
Examples:
  zoo completion bash --install
  zoo completion zsh > ~/.zfunc/_zoo
  eval "$(zoo completion bash)"
"""

FILES = {  # shell -> where its script goes, below the home folder, and what must be so that it is read
    "bash": (".local/share/bash-completion/completions/zoo", "read by the package bash-completion in new shells"),
    "zsh": (".zfunc/_zoo", "read if ~/.zshrc has this line before compinit: fpath+=~/.zfunc"),
    "fish": (".config/fish/completions/zoo.fish", "read in new shells"),
}

CHOICES = {"device": ("meta", "cpu", "cuda"), "dtype": ("float32", "bfloat16", "float16"), "format": ("hf", "zoo")}

BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    for completion in $(env ZOO_LINE="${COMP_LINE:0:COMP_POINT}" ZOO_WORD="${COMP_WORDS[COMP_CWORD]}" \
%(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
        [[ $value == *[=.] ]] && compopt -o nospace
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Reads the line itself: bash cuts words at `=` and `:`, and completes what follows the last cut."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("ZOO_LINE", "")
        words = split_arg_string(line)[1:]
        self.incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words, self.incomplete

    def format_completion(self, item: CompletionItem) -> str:
        word = os.environ.get("ZOO_WORD", self.incomplete)
        word = "" if word in ("=", ":") else word
        kept = len(self.incomplete) - len(word) if self.incomplete.endswith(word) else 0
        return f"{item.type},{item.value[kept:]}"


class Zsh(ZshComplete):
    """Leaves no space behind a key that wants a value."""

    source_template = ZshComplete.source_template.replace(
        'if [[ "$descr" == "_" ]]; then',
        'if [[ "$key" == *[=.] ]]; then compadd -U -S "" -- "$key"; elif [[ "$descr" == "_" ]]; then',
    )


class Fish(FishComplete):
    """Keeps the commas in values and descriptions."""

    source_template = FishComplete.source_template.replace("string split ", "string split --max 1 ")


for shell in (Bash, Zsh, Fish):
    add_completion_class(shell)


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(list(FILES)))
@click.option("--install", is_flag=True, help="Write the script to the folder where the shell looks for it.")
def command(shell: str, install: bool) -> None:
    """Print the script that completes zoo's commands, flags, models, groups and keys in SHELL."""
    from zoo.cli import COMPLETION, main

    kind = get_completion_class(shell)
    assert kind is not None, "one of those registered above"
    script = kind(main, {}, "zoo", COMPLETION).source()
    if not install:
        click.echo(script)
        return
    place, condition = FILES[shell]
    file = Path.home() / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script, encoding="utf-8")
    click.echo(f"wrote {file}: {condition}")


def overrides(name: str, before: Sequence[str], incomplete: str, *, with_keys: bool = True) -> list[CompletionItem]:
    """What a word of `zoo <name>` may become, given the words before it: a model, `key=`, or `key=value`.

    Without `with_keys` the keys are left out that are not the model's: device=, save=, ...
    """
    known = grammar(name, with_keys=with_keys)
    sign = re.match(r"[+~]*", incomplete)
    prefix = sign[0] if sign else ""
    typed = incomplete.removeprefix(prefix)
    words = _expanded(before, known)
    found = _values(typed, words, known) if "=" in typed else _keys(typed, words, known)
    return [CompletionItem(prefix + value, help=about or None) for value, about in found if value.startswith(typed)]


def models(incomplete: str) -> list[CompletionItem]:
    """The models that can be built by name, for the commands that take one."""
    presets = installed().presets()
    found = [(n, p) for n, p in presets.items() if n.startswith(incomplete) and not p.problem]
    return [CompletionItem(name, help=preset.description or None) for name, preset in found]


def sources(incomplete: str) -> list[CompletionItem]:
    """The same and the files of this machine, for the commands that take a checkpoint."""
    return [*models(incomplete), CompletionItem(incomplete, type="file")]


def _expanded(words: Iterable[str], known: Grammar) -> list[str]:
    try:
        return expand(words, known)
    except Exception:  # half a line may be wrong in any way, and TAB must not print errors
        return []


def _keys(typed: str, words: Sequence[str], known: Grammar) -> Iterator[tuple[str, str]]:
    if typed.startswith("model."):
        depth = typed.count(".")  # a record's own fields once its dot is there
        yield from (_key(field) for field in _fields(words).values() if field.path.count(".") == depth)
        return
    has_model = any(word.startswith("model=") for word in words)
    if not has_model:
        yield from ((name, p.description) for name, p in installed().presets().items() if not p.problem)
        yield "model=", "a preset"
    yield "model.", "a field of the model"
    yield from ((f"{group}=", f"one of {', '.join(options)}") for group, options in known.groups.items())
    yield from ((f"{key}=", "") for key in known.keys if key != "hydra")
    if known.keys:
        yield "hydra.", "Hydra's own settings"
        yield "hydra/launcher=", "what runs the jobs of a sweep"


def _values(typed: str, words: Sequence[str], known: Grammar) -> Iterator[tuple[str, str]]:
    key, _, value = typed.partition("=")
    done = value[: value.rfind(",") + 1]  # of a sweep: model=llama3,gpt
    fields = _fields(words) if key.startswith("model.") else {}
    options: Iterable[str] = known.groups.get(key, CHOICES.get(key, ()))
    if key == "model":
        options = installed().presets()
    elif field := fields.get(key):
        options = ("true", "false") if field.kind is bool else re.findall(r"\w+(?= \||$)", field.doc.partition(":")[0])
        options = options if field.kind is bool or "|" in field.doc else ()
    yield from ((f"{key}={done}{option}", "") for option in options)


def _fields(words: Sequence[str]) -> dict[str, Field]:
    return fields_of(config_class_of(model_of(words)), "model.")


def _key(field: Field) -> tuple[str, str]:
    """A record is followed by a dot, a value by an equals sign."""
    return f"{field.path}{'.' if hasattr(field.kind, '__dataclass_fields__') else '='}", field.doc
