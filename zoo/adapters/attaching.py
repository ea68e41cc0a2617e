"""An adapter that was read, put beside a model's weights, which stay as they are: the products are added as it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.adapters import peft_library
from zoo.adapters.factors import Factors, in_dtype, translated
from zoo.adapters.fit.settled import AdapterFit
from zoo.adapters.places import Targets, targets_of
from zoo.adapters.whole import put_whole
from zoo.nn.compute import computed_by


@dataclass(frozen=True)
class Attached:
    """What stands beside a model's weights: see `model.adapter`."""

    base: str  # what the base is called
    whole: tuple[str, ...] = ()  # our weights in whose place the adapter's own stand
    source: str = ""


def attach(model: nn.Module, fit: AdapterFit) -> None:
    """Put an adapter into `model`, frozen. Raises CheckpointError for what does not fit or cannot be translated."""
    peft_library.library("an adapter beside a model")
    fit.check()
    with fit.adapter.open() as tensors:
        found = translated(fit, tensors)
        whole = put_whole(model, fit, tensors)
    put(model, found)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    base = fit.adapter.settings.base or fit.base.source
    object.__setattr__(model, "adapter", Attached(base, tuple(whole), str(fit.adapter.path)))


def put(model: nn.Module, factors: Mapping[str, Factors]) -> None:
    """Wrap the modules of these weights, and give the wrappers their factors."""
    targets = targets_of(model, factors)
    is_dora = any(one.magnitude is not None for one in factors.values())
    peft_library.inject(model, lora_config(targets, factors, is_dora=is_dora))
    layers = wrappers(model)
    assert set(layers) == set(factors), sorted(set(layers) ^ set(factors))[:3]
    for name, one in factors.items():
        _fill(layers[name], one)


def lora_config(targets: Targets, factors: Mapping[str, Factors], *, is_dora: bool) -> Any:
    """peft's settings under which each of these weights has its own rank and scaling."""
    ranks, alphas = {}, {}
    for name, one in factors.items():
        pattern = "^" + re.escape(name.removesuffix(".weight") if name not in targets.parameters else name)
        ranks[pattern], alphas[pattern] = one.rank, one.scaling * one.rank
    return peft_library.library().LoraConfig(
        r=max(ranks.values()), lora_alpha=1, rank_pattern=ranks, alpha_pattern=alphas, use_dora=is_dora,
        target_modules=exactly(targets.modules), target_parameters=targets.parameters or None,
    )  # fmt: skip


def exactly(modules: list[str]) -> str | list[str]:
    """The pattern that matches these modules alone: peft takes a name in a list for the end of others, too."""
    return "|".join(map(re.escape, modules)) if modules else []


def wrappers(model: nn.Module) -> dict[str, Any]:
    """peft's layers by the weight of ours that each adapts."""
    found = {}
    for name, layer in peft_library.adapted(model):
        parameter = getattr(layer, "parameter_name", None)
        found[f"{name}.{parameter or 'weight'}"] = layer
    return found


def _fill(layer: Any, factors: Factors) -> None:
    """Give a wrapper its numbers, in the dtype of the layer but in 32 bits at least."""
    name = peft_library.NAME
    if hasattr(layer, "parameter_name"):
        like = layer.get_param()
        dtype, device = like.dtype, like.device
    else:
        computed = computed_by(layer.get_base_layer())
        dtype, device = computed["dtype"], computed["device"] or torch.device("cpu")
    wide = torch.promote_types(dtype, torch.float32)
    one = in_dtype(factors, wide, device)
    assert layer.r[name] == one.rank, (layer.r[name], one.rank)
    layer.scaling[name] = one.scaling
    if one.is_embedding:
        _set(layer.lora_embedding_A, one.a[0])
        _set(layer.lora_embedding_B, one.b[0])
        return
    _set(layer.lora_A[name], one.a.flatten(0, 1))
    _set(layer.lora_B[name], one.b.permute(1, 2, 0).flatten(1))
    if one.magnitude is not None:
        _set(layer.lora_magnitude_vector[name], one.magnitude)


def _set(place: Any, value: Tensor) -> None:
    name = peft_library.NAME if isinstance(place, nn.ParameterDict) else "weight"
    parameter = nn.Parameter(value.contiguous())
    if isinstance(place, nn.ParameterDict):
        assert place[name].shape == value.shape, (place[name].shape, value.shape)
        place[name] = parameter
        return
    assert getattr(place, name).shape == value.shape, (getattr(place, name).shape, value.shape)
    setattr(place, name, parameter)
