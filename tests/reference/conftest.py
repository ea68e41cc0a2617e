"""Tiny checkpoints with float64 expectations, made by transformers in the spelling of the hub's own files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.reference.added import add_to
from tests.reference.encoded import add_encoders
from tests.reference.more import add_more


@dataclass(frozen=True)
class Variant:
    """How the checkpoint is stored."""

    dtype: str
    shards: int
    style: str
    hub_names: bool

    def __str__(self) -> str:
        return f"{self.dtype}-{self.style}" + ("-hubnames-sharded" if self.hub_names else "")


VARIANTS = (Variant("fp32", 1, "hub", False), Variant("fp32", 1, "v5", False), Variant("bf16", 3, "hub", True))


def over(*names: str, more: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """The mark of a test of `case`: every variant of these checkpoints, of `more` the hub's in shards of 16 bits."""
    pairs = [(name, variant) for name in names for variant in VARIANTS]
    pairs += [(name, variant) for name in more for variant in VARIANTS[2:]]
    return pytest.mark.parametrize("case", pairs, indirect=True, ids=lambda pair: f"{pair[0]}-{pair[1]}")


@dataclass
class Case:
    """One checkpoint folder and what the reference computes from it."""

    name: str
    folder: Path

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return load_file(self.folder / "inputs.safetensors")

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        return load_file(self.folder / "expected.safetensors")

    @cached_property
    def stored(self) -> dict[str, Tensor]:
        """The tensors of the weight files, by the names they have there."""
        files = [f for f in self.folder.glob("model*.safetensors")]
        return {name: tensor for f in files for name, tensor in load_file(f).items()}

    @cached_property
    def model(self) -> nn.Module:
        """zoo's, in float64."""
        import zoo

        return zoo.load(self.folder, dtype="float64")


@pytest.fixture(scope="session")
def maker(shared: Path) -> ModuleType:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    spec = importlib.util.spec_from_file_location("make_tiny_hf", shared / "tools" / "make_tiny_hf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    run_once(module)
    return add_encoders(add_more(add_to(module)))


def run_once(tool: ModuleType) -> None:
    """Let the tool compute what it expects once for the same numbers, and in float64 alone.

    It would run a float32 copy and what it reads back too, which is two thirds of its time, for figures that it prints
    and no test reads. Checkpoints that differ in the spelling of config.json have the same numbers.
    """
    run: Callable[..., dict[str, Tensor]] = tool.run
    last: dict[Any, dict[str, Tensor]] = {}

    def once(name: str, model: Any, inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        if dtype == torch.float64:
            key = name, *(parameter.sum().item() for parameter in model.parameters())
            if key not in last:
                last.clear()
                last[key] = run(name, model, inputs, dtype)
        (found,) = last.values()
        return dict(found)

    tool.run = once


@pytest.fixture(scope="session")
def make_case(maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Variant], Case]:
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root) / "tiny-hf"
    root.mkdir(exist_ok=True)
    cases: dict[tuple[str, Variant], Case] = {}

    def make(name: str, variant: Variant) -> Case:
        if (name, variant) not in cases:
            folder = root / f"{name}-{variant}"
            with FileLock(f"{folder}.lock"):
                if not (folder / "README.md").exists():
                    with redirect_stdout(StringIO()):
                        maker.make(
                            name, folder, variant.dtype, variant.shards, 0, variant.style, variant.hub_names, True
                        )
            cases[name, variant] = Case(name, folder)
        return cases[name, variant]

    return make


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, make_case: Callable[[str, Variant], Case]) -> Case:
    name, variant = request.param
    return make_case(name, variant)
