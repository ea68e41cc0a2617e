"""One word for one idea: what a name means does not depend on where it stands."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import click
import pytest

import zoo
from zoo.cli import main
from zoo.measurement.speed import benchmark

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for file in sorted([*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert len(places) > 150
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_json_is_printed_by_one_function() -> None:
    printing = [f for f in ROOT.glob("zoo/cli/*.py") if "echo(json.dumps" in f.read_text(encoding="utf-8")]
    assert [f.name for f in printing] == ["output.py"]


# What an argument is called, where it stands and of what types it is, in every public function that has it.
FORMS = {
    "overrides": ("*", "str"),
    "format": ("k", "str"),
    "dtype": ("k", "str | torch.dtype | None"),
    "bytes_dtype": ("k", "str | None"),
    "family": ("k", "str | None"),
    "allow": ("k", "Iterable[str]"),
    "allow_pickle": ("k", "bool"),
    "max_shard_size": ("k", "int | str"),
    "revision": ("k", "str | None"),
    "token": ("k", "str | bool | None"),
    "force": ("k", "bool"),
    "dry_run": ("k", "bool"),
    "seed": ("k", None),
}
OTHER_WORDS = {"to", "dialect", "fmt", "override", "compute_dtype", "torch_dtype", "shard_size", "rank"}


def public_functions() -> dict[str, inspect.Signature]:
    """All that `zoo` names, and the methods of its models."""
    methods = {f"Pretrained.{name}": getattr(zoo.Pretrained, name) for name in dir(zoo.Pretrained) if name[0] != "_"}
    named = {name: getattr(zoo, name) for name in zoo.__all__}
    found = {name: f for name, f in {**named, **methods}.items() if callable(f) and not inspect.isclass(f)}
    del found["model_class"]  # whose one argument is a family
    return {name: inspect.signature(f) for name, f in found.items()}


def test_an_argument_has_one_name_place_and_form_in_every_function() -> None:
    seen: dict[str, int] = defaultdict(int)
    for name, signature in public_functions().items():
        for argument, parameter in signature.parameters.items():
            assert argument not in OTHER_WORDS, f"{name}({argument}=)"
            place, form = FORMS.get(argument, (None, None))
            seen[argument] += 1
            if place:
                kind = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.KEYWORD_ONLY: "k"}.get(parameter.kind)
                assert kind == place, f"{name}({argument})"
            assert form is None or parameter.annotation == form, f"{name}({argument}: {parameter.annotation})"
    opening = (
        "build compose inspect load from_pretrained convert quantize verify bench evaluate push embed classify".split()
    )
    assert seen["overrides"] == len(opening) + 1  # and the method
    assert all("overrides" in public_functions()[name].parameters for name in opening)
    assert min(seen[name] for name in FORMS) > 0


def test_an_option_is_called_as_the_argument() -> None:
    named = {"compare": zoo.compare, "convert": zoo.convert, "verify": zoo.verify, "eval": zoo.evaluate}
    without = "multirun to json md html only prove golden speed batch tasks device stride window".split()
    for command, function in named.items():
        options = [p for p in main.get_command(click.Context(main), command).params if isinstance(p, click.Option)]
        names = {option.opts[0].removeprefix("--").replace("-", "_") for option in options} - {*without}
        measured = {"dtype"} if command == "compare" else set()  # goes on to what measures
        assert names - measured <= set(inspect.signature(function).parameters), command


def test_overrides_of_a_checkpoint_reach_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[benchmark.Job] = []
    monkeypatch.setattr(benchmark, "duel", lambda name, job, **_: jobs.append(job))
    zoo.bench("./folder", "model.rope.theta=1e6")
    zoo.bench("tiny", "model.num_layers=2")
    assert [(j.source, tuple(j.overrides), j.config is None) for j in jobs] == [
        ("./folder", ("model.rope.theta=1e6",), True),
        (None, (), False),
    ]


def test_what_only_measuring_needs_is_refused_where_nothing_is_measured() -> None:
    with pytest.raises(zoo.ZooError, match="dtype needs a text"):
        zoo.compare("tiny", "gpt2", dtype="bfloat16")


def test_public_names_are_there_and_cost_nothing_before_they_are_used() -> None:
    assert {"stream", "Tokenizer", "GenerationConfig"} <= set(zoo.__all__)
    assert all(getattr(zoo, name) is not None for name in zoo.__all__)
    code = "import sys, zoo; dir(zoo); print(sorted({'torch', 'hydra', 'omegaconf', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
