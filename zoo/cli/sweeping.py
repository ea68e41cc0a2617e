"""`-m` for commands that no config composes: each combination of words is a job of Hydra's, by any of its launchers.

Hydra is given the words and nothing else; a job reads them back and calls the function that the command calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

from omegaconf import DictConfig

from zoo.cli import output
from zoo.cli.building import check_jobs, swept, values_of
from zoo.cli.hydra_front import run_sweep
from zoo.cli.sources import quoted
from zoo.errors import UsageError
from zoo.parallel.layout import is_of_group

Run = Callable[[list[str]], dict[str, Any]]  # a job's words -> its numbers and all else, as JSON values
NAMED = "subject_"  # what the words without a key are called, and their places


def sweep(subjects: Sequence[str], choices: Sequence[str], run: Run, *, is_json: bool) -> None:
    """Run every combination of subjects and choices, whose values stand between commas, and print a line for each."""
    if words := [word for word in choices if is_of_group(word)]:
        raise UsageError(f"{words[0]} and -m do not go together here", hint="zoo bench -m MODEL parallel.tp=1,2")
    hydra = [word for word in choices if word.partition("=")[0].startswith(("hydra.", "hydra/"))]
    named = [f"+{NAMED}{i}={','.join(map(_text, _alternatives(s)))}" for i, s in enumerate(subjects)]
    others = [f"+{word.lstrip('+')}" for word in choices if word not in hydra]
    count = len(subjects)

    def job(composed: DictConfig) -> dict[str, Any]:
        from hydra.core.hydra_config import HydraConfig

        told = [word.lstrip("+") for word in HydraConfig.get().overrides.task]
        return run([*(str(composed[f"{NAMED}{i}"]) for i in range(count)), *(w for w in told if NAMED not in w)])

    folder, results = run_sweep("sweep", [*named, *others, *hydra], [], job)
    if is_json:
        output.as_json({"folder": str(folder), "jobs": results})
    else:
        keys = swept(results)
        numbers = list(dict.fromkeys(name for result in results for name in result.get("numbers", {})))
        columns = [output.Column("#", is_number=True), *(output.Column(_title(key)) for key in keys)]
        columns += [output.Column(name, _number, is_number=True) for name in numbers]
        output.table(columns, (_line(result, keys, numbers) for result in results))
        output.note(f"{len(results)} jobs, each with its config and result.json in {folder}")
    check_jobs(results)


def _line(result: dict[str, Any], keys: Sequence[str], numbers: Sequence[str]) -> list[Any]:
    """What a job was of, and its numbers."""
    told = [value.strip("'") for value in values_of(result, keys)]
    return [result["job"], *told, *(result.get("numbers", {}).get(name) for name in numbers)]


def _alternatives(subject: str) -> Iterable[str]:
    """The subjects that one with values between commas stands for: 'llama3 model.num_layers=1,2' for two."""
    parts: list[list[str]] = []
    for word in subject.split(" "):
        key, equals, values = word.partition("=")
        parts.append([f"{key}{equals}{value}" for value in values.split(",")] if equals else key.split(","))
    return (" ".join(words) for words in product(*parts))


def _title(key: str) -> str:
    return f"model {int(key.removeprefix(NAMED)) + 1}" if key.startswith(NAMED) else key


def _text(subject: str) -> str:
    found = quoted(subject)
    return found if " " not in subject else "'" + subject.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
