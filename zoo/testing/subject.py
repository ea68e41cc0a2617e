"""A family under test: its config, and models of it with random weights that let no mistake pass.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy import Anatomy
from zoo.anatomy.config import ModelConfig
from zoo.models.construction import materialise, on_meta, shared_parameters
from zoo.models.trial import drawn_pixels, drawn_tokens, outputs, wanted
from zoo.models.trial import field as field_of
from zoo.registry.family import Family

SOURCE_LEN = 7  # tokens that an encoder-decoder reads while its decoder is under test


@dataclass
class Subject:
    """A family and the config it is tested with; models are built when a property asks for them."""

    family: Family
    given: ModelConfig | None = None
    _built: dict[str, nn.Module] = field(default_factory=dict)

    @cached_property
    def config(self) -> ModelConfig:
        """The given config, or the family's tiny one."""
        return self.family.config_class.tiny() if self.given is None else self.given

    @cached_property
    def anatomy(self) -> Anatomy | None:
        """The family's own description; None where it gives none and is measured by building it."""
        if type(self.config).anatomy is ModelConfig.anatomy:
            return None
        return self.config.anatomy()

    @property
    def model(self) -> nn.Module:
        """The model in float64."""
        return self.built("float64")

    def built(self, dtype: str) -> nn.Module:
        """The model on the CPU in `dtype` with peaked weights, the same whatever the dtype."""
        if dtype not in self._built:
            exact = peaked(materialise(on_meta(self.config, dtype="float64"), device="cpu"))
            self._built[dtype] = exact.to(getattr(torch, dtype)).eval()
        return self._built[dtype]

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """What the model is given, by the names of `forward`'s parameters."""
        return wanted(self.model)

    @property
    def is_decoder(self) -> bool:
        """Whether it reads tokens and keeps a cache of them."""
        return self.inputs == ("tokens",) and hasattr(self.model, "new_cache")

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether it reads a source and writes after it; what is tested is then the writing."""
        return self.inputs == ("tokens", "decoder_tokens")

    @property
    def can_decode(self) -> bool:
        """Whether `decoder` has something to give."""
        return self.is_decoder or (self.is_encoder_decoder and hasattr(self.model, "conditioned"))

    @property
    def is_causal(self) -> bool:
        """Whether no token may see a later one."""
        if self.is_encoder_decoder or self.anatomy is None:
            return self.is_encoder_decoder or self.is_decoder
        return all(spec.is_causal for spec in self.anatomy.attention)

    @property
    def longest(self) -> int:
        """Tokens of the longest text worth testing: beyond every window, within the context."""
        windows = [spec.window for spec in self.anatomy.attention if spec.window] if self.anatomy else []
        return min(max(12, *(2 * w + 3 for w in (0, *windows))), field_of(self.config, "max_seq_len", 12))

    def decoder(self, rows: Iterable[int], dtype: str = "float64") -> Any:
        """What keeps the contract of decoders: the model, or an encoder-decoder given a source for each of the rows."""
        return self.conditioned(self.built(dtype), rows)

    def conditioned(self, model: Any, rows: Iterable[int]) -> Any:
        """The model itself, or an encoder-decoder given a source for each of the rows."""
        return model.conditioned(self.source(rows).to(_device(model))) if self.is_encoder_decoder else model

    def source(self, rows: Iterable[int]) -> Tensor:
        """The texts [B, S] that an encoder-decoder reads, by the numbers of the rows."""
        return self.tokens(8, SOURCE_LEN, seed=99)[list(rows)]

    def tokens(self, batch_size: int, length: int, seed: int = 0) -> Tensor:
        """Random texts [B, T] without the tokens that mean something to the config."""
        return drawn_tokens(self.config, batch_size, length, seed)

    def pixels(self, rows: Iterable[int], dtype: torch.dtype) -> Tensor:
        """Random images [B, C, H, W], by the numbers of the rows."""
        return drawn_pixels(self.config, 8, seed=98)[list(rows)].to(dtype)

    def run(
        self, tokens: Tensor, model: nn.Module | None = None, *, rows: Iterable[int] | None = None, **settings: Any
    ) -> dict[str, Tensor]:
        """Every floating-point tensor that the model gives for tokens [B, T], by its name in the output, on the CPU.

        `rows` are the numbers of the rows, to which images and an encoder-decoder's sources belong; 0, 1, ... if None.
        """
        model, rows = model or self.model, list(range(len(tokens)) if rows is None else rows)
        if self.is_encoder_decoder and "attention_mask" in settings:  # of these tokens, not of the source
            return outputs(self.decoder(rows)(tokens, **settings))
        given: dict[str, Any] = {"tokens": tokens}
        if self.is_encoder_decoder:
            given = {"tokens": self.source(rows), "decoder_tokens": tokens}
        if "pixels" in self.inputs:
            given["pixels"] = self.pixels(rows, next(model.parameters()).dtype)
        device = _device(model)
        found = outputs(model(**{name: given[name].to(device) for name in self.inputs}, **settings))
        return {name: x.to("cpu") for name, x in found.items()}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def peaked(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights under which a wrong layout shows: matrices N(0, 0.9 / sqrt(fan in)), norms and biases far from 1 and 0.

    Default initialisation leaves attention nearly flat, and wrongly permuted heads then go unnoticed.
    """
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in shared_parameters(model):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            if parameter.ndim < 2:
                parameter.add_(0.3 * noise)  # to what it starts from: 1, or 0 for a bias and for norms that add 1
            else:
                # A convolution sums over all but the first dimension, stacked experts over the last alone.
                fan_in = parameter[0].numel() if parameter.ndim > 3 else parameter.shape[-1]
                parameter.copy_(0.9 * noise / fan_in**0.5)
    return model
