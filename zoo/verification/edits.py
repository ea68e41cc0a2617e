"""Small changes of a built model that undo themselves: an attribute, a weight, what passes through a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Edit = Callable[[], AbstractContextManager[None]]


def setting(owner: Any, **values: Any) -> Edit:
    """Attributes of a module or record, or its parameters, replaced."""

    @contextmanager
    def edit() -> Iterator[None]:
        before = {name: getattr(owner, name) for name in values}
        try:
            for name, value in values.items():
                setattr(owner, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(owner, name, value)

    return edit


def reweighting(*changes: tuple[nn.Parameter, Callable[[Tensor], Tensor]]) -> Edit:
    """Parameters with other numbers in them. What shares a parameter changes with it."""

    @contextmanager
    def edit() -> Iterator[None]:
        before = [parameter.data for parameter, _ in changes]
        try:
            for parameter, change in changes:
                parameter.data = change(parameter.data)
            yield
        finally:
            for (parameter, _), data in zip(changes, before, strict=True):
                parameter.data = data

    return edit


def acting(module: nn.Module, forward: Callable[..., Any]) -> Edit:
    """A module that computes something else; its hooks stay."""

    @contextmanager
    def edit() -> Iterator[None]:
        before = vars(module).get("forward")
        setattr(module, "forward", forward)  # noqa: B010  # an assignment is a type error: forward is no field
        try:
            yield
        finally:
            if before is None:
                delattr(module, "forward")
            else:
                setattr(module, "forward", before)  # noqa: B010

    return edit


def scaling_output(module: nn.Module, factor: float) -> Edit:
    """What leaves a module, times `factor`, which is rounded to its dtype first; events show it as it was."""

    @contextmanager
    def edit() -> Iterator[None]:
        handle = module.register_forward_hook(lambda _, args, x: x * x.new_tensor(factor))
        try:
            yield
        finally:
            handle.remove()

    return edit


def together(edits: list[Edit]) -> Edit:
    """Several edits as one."""

    @contextmanager
    def edit() -> Iterator[None]:
        with ExitStack() as stack:
            for one in edits:
                stack.enter_context(one())
            yield

    return edit
