"""What enters and leaves the modules of a model while it runs, under our canonical names.

An event is a module's name and a direction: ("layers.0.attn.q_proj", "out") is what leaves that projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.verification.edits import Edit

Event = tuple[str, str]  # a module and "in" or "out", or the name of an output and "output"


@dataclass(frozen=True)
class View:
    """One of our modules as it stands in some model; `columns` are its outputs there in our order (None: as is)."""

    module: nn.Module
    columns: Tensor | None = None


@dataclass
class Side:
    """A model that can be run again and looked into."""

    said: str  # what it is, in words
    run: Callable[[], dict[str, Tensor]]  # its outputs by our names
    views: Mapping[str, View]
    weight: Callable[[str], Tensor | None]  # one of our weights as this side has it; None: not to be had
    exact: Edit | None = None  # under it the same model holds its constants in float64; None: it knows no way
    ways: Mapping[str, Callable[[], dict[str, Tensor]]] = field(default_factory=dict)  # to the same outputs, in words

    def exactly(self) -> Side:
        """This side with its constants in float64, or as it is if it knows no way."""
        exact, run = self.exact, self.run
        if exact is None:
            return self

        def under() -> dict[str, Tensor]:
            with exact():
                return run()

        return replace(self, run=under)

    @torch.no_grad()
    def record(self, names: Iterable[str], *, until: str | None = None) -> dict[Event, Tensor]:
        """The events of the named modules in order, first calls only, and the model's outputs last.

        With `until` the run is broken off once that module has given its output.
        """
        events: dict[Event, Tensor] = {}
        handles = []
        for name in names:
            if (view := self.views.get(name)) is not None:
                handles += [
                    view.module.register_forward_pre_hook(_take_input(events, name), with_kwargs=True),
                    # first of all hooks: what an edit does to an output it does behind the module
                    view.module.register_forward_hook(
                        _take_output(events, name, view.columns, name == until), prepend=True
                    ),
                ]
        try:
            return events | {(name, "output"): x for name, x in self.run().items()}
        except _Enough:
            return events
        finally:
            for handle in handles:
                handle.remove()


class _Enough(BaseException):
    """What was asked for has been seen. No Exception, so that nobody on the way takes it for a failure."""


def _take_input(events: dict[Event, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        if (x := _first([*args, *kwargs.values()])) is not None:
            events.setdefault((name, "in"), x.clone())  # the other library adds to some tensors in place

    return hook


def _take_output(events: dict[Event, Tensor], name: str, columns: Tensor | None, is_last: bool) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        x = _last(output) if isinstance(output, tuple) and _is_route(output) else _first([output])
        if x is not None and (columns is None or x.shape[-1] > int(columns.max())):
            events.setdefault((name, "out"), x.clone() if columns is None else x[..., columns])
        if is_last:
            raise _Enough

    return hook


def _first(values: Iterable[Any]) -> Tensor | None:
    """The first floating-point tensor, in a tuple or by itself."""
    for value in values:
        if isinstance(value, tuple | list) and (x := _first(value)) is not None:
            return x
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None


def _is_route(output: tuple[Any, ...]) -> bool:
    """Whether this is a router's answer, (chosen experts, their weights)."""
    return len(output) == 2 and isinstance(output[0], Tensor) and not output[0].is_floating_point()


def _last(output: tuple[Any, ...]) -> Tensor | None:
    """A route as one tensor in which the order of the chosen does not matter: the weights, by expert, sorted."""
    chosen, weights = output
    return weights.gather(-1, chosen.argsort(-1))


def stacks(model: nn.Module) -> list[str]:
    """The names of all layers, in the order of the model: members of a list of modules."""
    return [
        f"{name}.{i}" if name else str(i)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        for i in range(len(module))
    ]


def leaves(model: nn.Module) -> list[str]:
    """The names of the modules that have weights of their own, the root left out."""
    return [name for name, m in model.named_modules() if name and next(m.parameters(recurse=False), None) is not None]


def layer_of(name: str, layers: Iterable[str]) -> str | None:
    """The outermost of `layers` that a module is in."""
    return next((layer for layer in layers if name == layer or name.startswith(f"{layer}.")), None)


def shared_prefix(names: Iterable[str]) -> str:
    """The longest dotted prefix of all names."""
    kept: list[str] = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        kept.append(parts[0])
    return ".".join(kept)
