"""How states become one vector, as a folder of sentence-transformers says: modules.json and what it names. No torch.

Whatever it says that zoo does not do is refused, for the vectors would be others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.embedding.settings import limits_of, prompts_of
from zoo.errors import CheckpointError, UsageError, clean, did_you_mean
from zoo.files.json_file import parse_json, read_json
from zoo.files.regular import read_bounded

LIST_BYTES = 1 << 20
POOLINGS = {  # ours -> the key of older files, in the order in which several are joined
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt": "pooling_mode_mean_sqrt_len_tokens",
    "weighted_mean": "pooling_mode_weightedmean_tokens",
    "last": "pooling_mode_lasttoken",
}
SPELT = {"mean_sqrt_len_tokens": "mean_sqrt", "weightedmean": "weighted_mean", "lasttoken": "last"}
ACTIVATIONS = {
    "Tanh": "tanh",
    "Identity": "identity",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
VECTOR = ("sentence_embedding", None)
MEANT = f"choose how states become a vector: pooling={'|'.join(POOLINGS)} (--pooling)"


@dataclass(frozen=True)
class Projection:
    """A linear layer behind the pooling, in a folder of its own."""

    folder: Path
    n_in: int
    n_out: int
    has_bias: bool
    activation: str


@dataclass(frozen=True)
class VectorRecipe:
    """From the states of a text's tokens to its vector."""

    home: Path  # of the transformer
    poolings: tuple[str, ...]
    steps: tuple[Projection | None, ...] = ()  # behind the pooling; None: to length 1
    counts_prompt: bool = True  # the tokens of the prompt are pooled as well
    max_len: int | None = None  # tokens, those around a text among them; the rest is cut off
    is_lower: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None

    def __str__(self) -> str:
        parts = ["length 1" if step is None else f"Dense {step.n_in} → {step.n_out}" for step in self.steps]
        return ", ".join([f"pooling {' + '.join(self.poolings)}", *parts])

    def prompt(self, name: str | None) -> str:
        """What stands before each text. Raises UsageError for a name that is not among the prompts."""
        name = self.default_prompt if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            known = did_you_mean(name, self.prompts) if self.prompts else "the folder has none"
            raise UsageError(f"no prompt is called {clean(repr(name))}", why=known)
        return self.prompts[name]


def recipe_of(folder: Path, pooling: str | None) -> VectorRecipe:
    """What the folder says, or, where it says nothing, `pooling` to vectors of length 1. Raises CheckpointError."""
    file = folder / "modules.json"
    check_pooling(pooling)
    if not file.is_file():
        if pooling is None:
            raise UsageError(f"{clean(folder)} does not say how states become one vector", hint=MEANT)
        return VectorRecipe(folder, (pooling,), (None,))
    if pooling is not None:
        raise UsageError(f"pooling={pooling}: the folder says itself how, in modules.json", hint="leave it out")
    return _from_modules(folder, file)


def check_pooling(pooling: str | None) -> None:
    """Raise UsageError for a pooling that there is not."""
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(f"pooling={clean(repr(pooling))} is not known", why=did_you_mean(pooling, POOLINGS))


def _from_modules(folder: Path, file: Path) -> VectorRecipe:
    kinds = [(_kind(entry, file), _inside(folder, entry, file)) for entry in _entries(file)]
    names = [kind for kind, _ in kinds]
    if names[:2] != ["Transformer", "Pooling"]:
        raise CheckpointError(
            file, "", f"{' and '.join(map(clean, names[:2]))} come first; zoo knows Transformer, Pooling"
        )
    steps: list[Projection | None] = []
    for kind, home in kinds[2:]:
        if kind == "Normalize":
            steps.append(_check_place(home))
        elif kind == "Dense":
            steps.append(_projection(home))
        elif kind != "Dropout":  # which does nothing but in training
            raise CheckpointError(file, "type", f"{clean(kind)} is a module that zoo does not have")
    home = kinds[0][1]
    poolings, counts_prompt = _pooling(kinds[1][1] / "config.json")
    return VectorRecipe(home, poolings, tuple(steps), counts_prompt, *limits_of(home), *prompts_of(folder))


def _entries(file: Path) -> list[dict[str, Any]]:
    """The modules, in order."""
    data = read_bounded(file, LIST_BYTES)
    found = parse_json(b'{"modules": ' + data + b"}", file)["modules"]
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(entry, dict) for entry in found):
        raise CheckpointError(file, "", "is not a list of modules")
    return found


def _kind(entry: Mapping[str, Any], file: Path) -> str:
    kind = entry.get("type")
    if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
        what = f"{clean(repr(kind))} is code from the checkpoint or of another library, which zoo does not run"
        raise CheckpointError(file, "type", what)
    return kind.rpartition(".")[2]


def _inside(folder: Path, entry: Mapping[str, Any], file: Path) -> Path:
    path = entry.get("path")
    if not isinstance(path, str) or path.startswith("/") or ".." in Path(path).parts:
        raise CheckpointError(file, "path", f"{clean(repr(path))} is not a folder beside it")
    return folder / path


def _pooling(file: Path) -> tuple[tuple[str, ...], bool]:
    raw = dict(read_json(file))
    raw.pop("word_embedding_dimension", None)
    raw.pop("embedding_dimension", None)
    counts_prompt = raw.pop("include_prompt", True)
    old = {ours: raw.pop(theirs, False) for ours, theirs in POOLINGS.items()}
    named = raw.pop("pooling_mode", None)
    if raw or not isinstance(counts_prompt, bool) or any(not isinstance(value, bool) for value in old.values()):
        raise CheckpointError(file, next(iter(raw), ""), "the key or a value is not known to zoo's pooling")
    modes = [ours for ours, is_used in old.items() if is_used] or ["mean"]
    if named is not None:
        modes = [SPELT.get(str(mode), str(mode)) for mode in (named if isinstance(named, list) else [named])]
    if not modes:
        raise CheckpointError(file, "pooling_mode", "it names no pooling")
    if wrong := [mode for mode in modes if mode not in POOLINGS]:
        raise CheckpointError(
            file, "pooling_mode", f"{clean(wrong[0])} is not known", why=did_you_mean(wrong[0], POOLINGS)
        )
    return tuple(modes), counts_prompt


def _check_place(home: Path) -> None:
    """A step to length 1 may have a config, which must say of the vector that it is the vector."""
    if (file := home / "config.json").is_file():
        raw = read_json(file)
        if any(raw.get(name) not in VECTOR for name in ("module_input_name", "module_output_name")):
            raise CheckpointError(file, "module_input_name", "zoo normalises the vector of a text only")


def _projection(home: Path) -> Projection:
    file = home / "config.json"
    raw = dict(read_json(file))
    places = [raw.pop(name, None) for name in ("module_input_name", "module_output_name")]
    is_plain = all(place in VECTOR for place in places) and not raw.pop("use_residual", False)
    n_in, n_out, bias = raw.pop("in_features", None), raw.pop("out_features", None), raw.pop("bias", True)
    act = str(raw.pop("activation_function", "torch.nn.modules.activation.Tanh"))
    act = act.rpartition(".")[2] if act.startswith("torch.nn.") else act  # code of anybody else's may share the name
    is_sized = all(isinstance(n, int) and n > 0 for n in (n_in, n_out)) and isinstance(bias, bool)
    if raw or not is_plain or not is_sized or act not in ACTIVATIONS:
        what = "it is not a linear layer on the vector of a text with an activation that zoo knows"
        raise CheckpointError(file, next(iter(raw), ""), what, why=f"activations: {', '.join(ACTIVATIONS)}")
    return Projection(home, int(n_in or 0), int(n_out or 0), bias, ACTIVATIONS[act])
