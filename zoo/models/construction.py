"""From a config to a module on a device. Nothing is allocated that was not asked for: the default device is meta."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.address_space import memory_bytes
from zoo.anatomy.config import ModelConfig
from zoo.errors import ConfigError, UsageError, WrongType, clean
from zoo.models.pretrained import equip
from zoo.nn.arrangement import arrange
from zoo.registry import installed
from zoo.units import SHORT_NAMES, human_bytes

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from zoo.models.pretrained import Model


def build(
    model: str | ModelConfig,
    *overrides: str,
    device: str | torch.device = "meta",
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    quantize: str | None = None,
    mesh: DeviceMesh | None = None,
) -> Model:
    """The module of a preset (`build("llama3", "model.num_layers=4")`) or of a config, with random weights.

    The device is `meta` unless you say otherwise, for one builds mostly to look: there a model has shapes and no
    weights, and the largest takes no memory. Elsewhere the weights are drawn from `seed` in `dtype` (float32 if None),
    and those of the layers rounded where `quantize` says to what: int8, int4, int4-64 or int4-128.
    `load`, which reads weights, puts them on `cpu`. With a `mesh` each rank makes its own share of the same weights.
    Raises UnknownName, ConfigError or UsageError for what is not known.
    """
    if isinstance(model, str):
        from zoo.presets.composition import compose

        model = compose(model, *overrides)
    elif not isinstance(model, ModelConfig):
        raise WrongType("the model to build", model, "a preset's name or a config")
    elif overrides:
        raise UsageError("overrides are for a preset's name, not for a config")
    bare = on_meta(model, dtype=dtype)
    if mesh is not None:
        from zoo.parallel.building import materialised

        fill = partial(materialise, device=device, seed=seed)
        return materialised(bare, mesh, fill, None if quantize is None else _rounds(quantize))
    built: Any = materialise(bare, device=device, seed=seed)  # equipped: see zoo.models.pretrained
    if quantize is not None:
        _rounds(quantize)(built)
    return built


def _rounds(quantize: str) -> Callable[..., object]:
    from zoo.models.rounding import round_model

    return lambda model, plan=None: round_model(model, quantize, plan)


def on_meta(config: ModelConfig, *, dtype: str | torch.dtype | None = None) -> nn.Module:
    """The module with shapes only. Raises ConfigError for sizes whose product is not a number of bytes."""
    family = installed()[config.family]
    model_class(config.family)
    try:
        with torch.device("meta"), Uninitialised(), default_dtype(as_dtype(dtype) or torch.float32):
            return family.build(config)
    except (RuntimeError, TypeError) as error:
        if "overflow" not in str(error).lower():
            raise
        raise ConfigError("the product of the sizes is more bytes than can be counted", why=clean(error)) from error


def model_class(family: str) -> type[nn.Module]:
    """The class of a family's models, with `from_pretrained`, `save_pretrained` and `push_to_hub` (see pretrained.py).

    Raises UnknownName for a family that is not installed.
    """
    return equip(installed()[family].model_class)


class Uninitialised(TorchFunctionMode):
    """Leaves out what torch.nn.init does: nothing on meta, for which torch would import its compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def materialise(model: nn.Module, *, device: str | torch.device, seed: int = 0) -> nn.Module:
    """Give a module on meta random weights on `device`; the same seed gives the same weights.

    Raises UsageError for more of them than the machine has memory, before the system ends a process that fills it.
    """
    device = as_device(device)
    if device.type == "meta":
        return model
    if device.type == "cpu":
        _check_room(model)
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"seed={seed} is not a number of 64 bits")
    if any(True for _ in model.buffers()):
        return _rebuilt(model, device, seed)
    for names, parameter in shared_parameters(model):
        assign(model, names, torch.empty_like(parameter, device=device))
    arrange(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        reset(model)
    return model


def _check_room(model: nn.Module) -> None:
    needed, room = sum(p.nbytes for p in model.parameters()), memory_bytes()
    if room is not None and needed > room:
        what = (
            f"random weights of {human_bytes(needed)} do not fit into the {human_bytes(room)} of this machine's memory"
        )
        hint = "fewer layers (model.num_layers=2) or half the bytes (dtype=bfloat16); on device=meta it takes none"
        raise UsageError(what, hint=hint)


def reset(model: nn.Module) -> None:
    """Random weights from the current generator: the model's own `reset_parameters`, or that of all its parts."""
    if callable(own := getattr(model, "reset_parameters", None)):
        own()
        return
    from zoo.nn import initialise

    initialise(model)


def _rebuilt(model: nn.Module, device: torch.device, seed: int) -> nn.Module:
    """A module whose constructor computes buffers must be constructed where they are to be."""
    config = model.config
    assert isinstance(config, ModelConfig)
    dtype = next(model.parameters()).dtype
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device, default_dtype(dtype):
        torch.manual_seed(seed)
        built = installed()[config.family].build(config)
    arrange(built)
    return built


def shared_parameters(model: nn.Module) -> list[tuple[list[str], nn.Parameter]]:
    """Every parameter once, with all the names it goes by; a tied head comes with the embedding."""
    names: dict[int, tuple[list[str], nn.Parameter]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), ([], parameter))[0].append(name)
    return list(names.values())


def assign(model: nn.Module, names: list[str], value: Tensor) -> None:
    """Put one tensor in the place of a parameter, under each of its names, without a copy."""
    places = [(model.get_submodule(path), leaf) for path, _, leaf in (name.rpartition(".") for name in names)]
    parameter = nn.Parameter(value, requires_grad=getattr(*places[0]).requires_grad)
    for module, leaf in places:
        setattr(module, leaf, parameter)


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A dtype by its torch name or a common short one (fp32, bf16, ...). Raises UsageError for anything else.

    Types of eight bits and fewer store weights beside scales; nothing is computed in them.
    """
    if dtype is None:
        return None
    found = dtype if isinstance(dtype, torch.dtype) else getattr(torch, SHORT_NAMES.get(str(dtype), str(dtype)), None)
    told = repr(dtype) if isinstance(dtype, str) else clean(dtype)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UsageError(f"dtype={told} is not a floating-point type", hint="try float32, bfloat16 or float16")
    if found.itemsize < 2:
        raise UsageError(f"dtype={told}: no model computes in it", hint="try float32, bfloat16 or float16")
    return found


def as_device(device: str | torch.device) -> torch.device:
    """A device by name. Raises UsageError where there is none of the kind."""
    try:
        found = torch.device(device)
        if found.type != "meta":
            torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = clean(str(error).partition("\n")[0], 240) or "it is not there"
        others = [name for name in ("cpu", "cuda", "meta") if name != str(device).partition(":")[0]]
        hint = f"try {', '.join(others[:-1])} or {others[-1]}"
        raise UsageError(f"device={clean(repr(device))} cannot be used", why=reason, hint=hint) from None
    return found


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create parameters in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def count(model: nn.Module) -> int:
    """Parameters, tied ones once; of a packed matrix the numbers that it stands for."""
    from zoo.nn.packed import packed_layers

    packed = sum(layer.in_features * layer.out_features for layer in packed_layers(model).values())
    return packed + sum(parameter.numel() for parameter in model.parameters())
