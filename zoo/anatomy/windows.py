"""Decoders some of whose layers see a window of the last tokens only. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.anatomy.config import MAX_LAYERS, DecoderConfig
from zoo.anatomy.limits import at_least
from zoo.errors import ConfigError


@dataclass
class WindowedConfig(DecoderConfig):
    """A decoder with a window in some of its layers, or in all."""

    sliding_window: int | None = None  # tokens a layer with a window sees, its own among them; None: all
    sliding_layers: list[int] | None = None  # numbers of the layers with the window; None: all of them

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window)
        layers_in_order("sliding_layers", self.sliding_layers, self.num_layers)

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None: all."""
        return self.sliding_window if self.sliding_layers is None or layer in self.sliding_layers else None

    def window_in_words(self) -> str:
        """What the window adds to the trait of attention."""
        if self.sliding_window is None or self.sliding_layers == []:
            return ""
        some = "" if self.sliding_layers is None else f" in {len(self.sliding_layers)} of {self.num_layers} layers"
        return f", window {self.sliding_window}{some}"


@dataclass
class PartlyWindowedConfig(WindowedConfig):
    """A decoder whose layers with a window are named wherever there is a window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.sliding_window is None) != (self.sliding_layers is None):
            raise ConfigError("model.sliding_window and model.sliding_layers need each other: one of them is not set")


def layers_in_order(name: str, layers: Sequence[int] | None, num_layers: int) -> None:
    """Raise ConfigError unless a field's numbers are those of layers, each once, the lowest first."""
    if num_layers > MAX_LAYERS:  # of which no list can be made
        raise ConfigError(f"model.num_layers={num_layers}: more than {MAX_LAYERS:,} are refused")
    if layers is not None and (not {*layers} <= {*range(num_layers)} or list(layers) != sorted({*layers})):
        what = f"model.{name}={list(layers)} must be numbers of layers, from 0 to {num_layers - 1}, each once, in order"
        named = {*layers}  # numbers, and whatever else a file lists
        kept = [i for i in range(num_layers) if i in named]
        listed = ",".join(map(str, kept))
        raise ConfigError(what, hint=f"those of the {num_layers} layers: 'model.{name}=[{listed}]'")


def all_but_every(period: int, num_layers: int) -> list[int]:
    """The numbers of all layers but every `period`-th."""
    return [i for i in range(num_layers) if (i + 1) % period]
