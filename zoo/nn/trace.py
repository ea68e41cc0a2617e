"""What passes through a model, by the canonical names of its modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from zoo.errors import UnknownName


@contextmanager
def traced(model: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Inside, every forward pass leaves the outputs of the named modules in the yielded dict; all modules if none.

    The input of a module that is given as `name.input` is kept too. Outputs that are not tensors are left out.
    Raises UnknownName for a name that no module has.
    """
    kept: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    wanted = names or tuple(name for name in modules if name)
    for name in wanted:
        if name.removesuffix(".input") not in modules:
            raise UnknownName(f"the model has no module {name!r}", name, modules)

    def keep_output(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                kept[name] = output

        return hook

    def keep_input(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            kept[name] = args[0]

        return hook

    handles = [
        modules[n.removesuffix(".input")].register_forward_pre_hook(keep_input(n))
        if n.endswith(".input")
        else modules[n].register_forward_hook(keep_output(n))
        for n in wanted
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def hidden_states(
    model: nn.Module, *args: Any, stack: str = "layers", norm: str = "norm", **kwargs: Any
) -> list[Tensor]:
    """What enters a stack of layers and what leaves each of them; after the final norm last, if there is one.

    Of layers that are passed through several times, what leaves them each time. Raises UnknownName where the model has
    no layers under `stack`.
    """
    modules = dict(model.named_modules())
    layers = [n for n in modules if n.rpartition(".")[0] == stack and n.rpartition(".")[2].isdigit()]
    if not layers:
        raise UnknownName(f"the model has no layers under {stack!r}", stack, modules)
    found: list[Tensor] = []

    def enter(module: nn.Module, args: Any) -> None:
        found.extend(args[:1] if not found else ())

    def leave(module: nn.Module, args: Any, output: Tensor) -> None:
        found.append(output)

    handles = [modules[layers[0]].register_forward_pre_hook(enter)]
    handles += [modules[name].register_forward_hook(leave) for name in (*layers, norm) if name in modules]
    try:
        model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found
