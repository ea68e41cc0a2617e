"""A checkpoint as transformers reads it: its own class, in float64 where that is asked for, strictly."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.errors import MissingExtra, ZooError, some
from zoo.models.transformers_library import first_line, library, read_config, read_model
from zoo.verification.exact import Float64


def load_in_transformers(
    folder: Path, dtype: torch.dtype, *, gguf_file: str | None = None
) -> tuple[nn.Module, list[str]]:
    """The model of a folder in its own class, and the names of weights that transformers drew at random.

    Raises ZooError for what transformers does not know, and MissingExtra where it is not installed.
    """
    transformers = library("verifying against transformers")
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager", "output_loading_info": True}
    config = None
    with _quiet(), redirect_stderr(StringIO()), Float64() if dtype == torch.float64 else nullcontext():
        try:
            if gguf_file is not None:
                kind: Any = transformers.AutoModelForCausalLM
                options |= {"gguf_file": gguf_file, "quantization_config": transformers.GgufConfig(dequantize=True)}
            else:
                config = read_config(folder)
                kind = _class_of(config, folder)
                _configure(config)
            model, info = read_model(kind, folder, config, **options)
        except ImportError as error:
            raise _refusal(error) from None
        except Exception as error:  # a third party's, which may raise anything at a config it does not like
            hint = "" if gguf_file is None else "--against FOLDER compares it with a folder, in zoo"
            raise ZooError(f"transformers cannot read it: {first_line(error)}", hint=hint) from None
    _undo_known_faults(model, folder)
    missing, wrong = sorted(info["missing_keys"]), sorted(map(str, info["mismatched_keys"]))
    if wrong or info["unexpected_keys"]:
        raise ZooError(
            f"transformers reads a different model: {some([*wrong, *sorted(info['unexpected_keys'])])} do not match it"
        )
    return model.eval(), missing


def _class_of(config: Any, folder: Path) -> Any:
    """The class that config.json names, else the one that transformers has for the kind of model."""
    import transformers

    for name in config.architectures or []:
        if (found := getattr(transformers, name, None)) is not None:
            return found
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM, transformers.AutoModel):
        if type(config) in auto._model_mapping:
            return auto
    raise ZooError(f"transformers has no class for {folder.name} ({config.model_type})")


def _configure(config: Any) -> None:
    for part in (config, *(getattr(config, name, None) for name in ("text_config", "vision_config"))):
        if part is not None:
            part._experts_implementation = "eager"  # the other kernels refuse float64


def _undo_known_faults(model: nn.Module, folder: Path) -> None:
    """transformers 5 calls every UMT5 tied, whatever its config says, and then scales what enters the head.

    Its eager attention adds a Falcon's ALiBi twice, to the scores and to the mask; sdpa adds it once.
    """
    config: Any = model.config
    if config.model_type == "umt5" and (folder / "config.json").is_file():
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.tie_word_embeddings = raw.get("tie_word_embeddings", True)
    if config.model_type == "falcon" and config.alibi:
        config._attn_implementation = "sdpa"


@contextmanager
def attending_by(model: nn.Module, way: str) -> Iterator[None]:
    """Attention computed in another way, as sdpa. Raises ZooError for a model that has one way only."""
    built: Any = model
    before = built.config._attn_implementation
    with _quiet():
        try:
            built.set_attn_implementation(way)
        except Exception as error:  # a third party's, each of whose classes may refuse in its own words
            raise ZooError(f"transformers cannot compute attention by {way}: {first_line(error)}") from None
    try:
        if built.config._attn_implementation != way:
            raise ZooError(f"{type(model).__name__} has only one way to compute attention")
        yield
    finally:
        with _quiet():
            built.set_attn_implementation(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers talks while it loads; what matters of it is in the loading info."""
    import transformers

    logger, level = logging.getLogger("transformers"), logging.getLogger("transformers").level
    has_bars = transformers.utils.logging.is_progress_bar_enabled()
    logger.setLevel(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if has_bars:
            transformers.utils.logging.enable_progress_bar()


def _refusal(error: ImportError) -> ZooError:
    """transformers reads GGUF files only beside accelerate, and says so with an ImportError."""
    for package in ("accelerate", "gguf"):
        if package in str(error):
            return MissingExtra(package, "reference" if package == "accelerate" else "gguf", "GGUF in transformers")
    return ZooError(f"transformers cannot read it: {first_line(error)}")
