"""New adapters beside a model's weights: LoRA and its relatives, by peft, on the layers that zoo names by role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.adapters import peft_library
from zoo.adapters.attaching import Attached, exactly
from zoo.adapters.places import Targets, targets_of
from zoo.adapters.roles import weights_by_role
from zoo.errors import UnknownName, UsageError
from zoo.nn.packed import packed_layers

KINDS = ("lora", "dora", "ia3", "miss")
NOT_THERE = {
    "bottleneck": "peft has no bottleneck adapters (arXiv:1902.00751); ia3 and miss change what layers give as well",
    "adapter": "peft has no bottleneck adapters (arXiv:1902.00751); ia3 and miss change what layers give as well",
    "prefix": "peft writes the keys and values of a prefix into caches of transformers, and zoo's are its own",
    "bone": "peft calls it miss now (arXiv:2409.15371)",
}
IA3_PLACES = ("k_proj", "v_proj", "down_proj")  # of the paper: keys, values, and what enters the second matrix
ALPHA = 2  # alpha / rank, where nobody says alpha


@dataclass(frozen=True)
class Adaptation:
    """What is to be trained beside a model: `lora=16` of `zoo train` is Adaptation(lora=16).

    LoRA (arXiv:2106.09685), DoRA (arXiv:2402.09353), IA3 (arXiv:2205.05638), MiSS (arXiv:2409.15371).
    """

    lora: int = 16  # rank; of miss too
    kind: str = "lora"  # lora, dora, ia3 or miss
    alpha: float | None = None  # None: twice the rank
    targets: tuple[str, ...] | None = None  # roles: attention, mixer, mlp, experts; None: all that the model has
    dropout: float = 0.0  # of what enters A
    is_stabilised: bool = False  # alpha / sqrt(rank) (arXiv:2312.03732)
    seed: int = 0  # of A; B is 0, so that training begins at the base


def adapt(model: nn.Module, adaptation: Adaptation | int | None = None, **settings: Any) -> nn.Module:
    """Put new adapters beside `model`'s weights and freeze all else; the model, which is changed, is returned.

    `adapt(model, 16)` is `adapt(model, Adaptation(lora=16))`; fields may be given by name. Weights may be packed: only
    what stands beside them learns. Raises UsageError for what peft or the model cannot do, MissingExtra without peft.
    """
    wanted = adaptation if isinstance(adaptation, Adaptation) else Adaptation(**_given(adaptation), **settings)
    check(wanted)
    peft_library.library(f"training {wanted.kind} adapters")
    if peft_library.is_adapted(model):
        raise UsageError("the model has an adapter already", hint="zoo.adapters.merge(model) takes it in first")
    config: Any = model.config
    targets = _targets(model, weights_by_role(config, wanted.targets), wanted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wanted.seed)
        peft_library.inject(model, _config(wanted, targets))
    _check_reached(model, targets)
    for _, layer in peft_library.adapted(model):
        for parameter in layer.parameters():
            if parameter.requires_grad and parameter.itemsize < 4:
                parameter.data = parameter.data.float()  # steps of half a percent are lost in bfloat16
    object.__setattr__(model, "adapter", Attached(_name_of(model)))
    return model


def check(wanted: Adaptation) -> None:
    """Raise UsageError for what cannot be meant, before anything is loaded."""
    if wanted.kind not in KINDS:
        if why := NOT_THERE.get(wanted.kind):
            raise UsageError(f"adapters of the kind {wanted.kind!r} cannot be made", why=why)
        raise UnknownName(f"there is no kind of adapter {wanted.kind!r}", wanted.kind, KINDS)
    if type(wanted.lora) is not int or wanted.lora < 1:
        raise UsageError(f"an adapter's rank is a whole number above 0, not {wanted.lora!r}")
    if not 0 <= wanted.dropout < 1:
        raise UsageError(f"dropout={wanted.dropout!r} is not a share from 0 to below 1")
    if wanted.kind == "ia3" and (wanted.alpha is not None or wanted.is_stabilised or wanted.dropout):
        raise UsageError("ia3 has neither alpha nor dropout: it multiplies what layers give by trained numbers")


def _given(rank: int | None) -> dict[str, Any]:
    return {} if rank is None else {"lora": rank}


def _targets(model: nn.Module, weights: list[str], wanted: Adaptation) -> Targets:
    if wanted.kind == "ia3":
        weights = [name for name in weights if name.split(".")[-2] in IA3_PLACES]
    found = targets_of(model, weights)
    if wanted.kind != "lora" or wanted.dropout:
        if found.parameters:
            what = f"{wanted.kind} with dropout" if wanted.kind == "lora" else wanted.kind
            hint = "targets=('attention',) leaves the experts as they are"
            raise UsageError(f"{what} does not reach experts, whose matrices lie in one tensor", hint=hint)
        if wanted.kind != "lora" and packed_layers(model):
            raise UsageError(f"{wanted.kind} needs the numbers of the matrices, and they are packed", hint="use lora")
    if not found.modules and not found.parameters:
        raise UsageError(f"{wanted.kind} has no place in a {getattr(model.config, 'family', 'model')}")
    return found


def _config(wanted: Adaptation, targets: Targets) -> Any:
    peft = peft_library.library()
    alpha = ALPHA * wanted.lora if wanted.alpha is None else wanted.alpha
    if wanted.kind == "ia3":
        down = [name for name in targets.modules if name.endswith("down_proj")]
        return peft.IA3Config(target_modules=exactly(targets.modules), feedforward_modules=exactly(down))
    if wanted.kind == "miss":
        return peft.MissConfig(r=wanted.lora, target_modules=exactly(targets.modules), miss_dropout=wanted.dropout)
    return peft.LoraConfig(
        r=wanted.lora, lora_alpha=alpha, lora_dropout=wanted.dropout, use_rslora=wanted.is_stabilised,
        use_dora=wanted.kind == "dora", target_modules=exactly(targets.modules),
        target_parameters=targets.parameters or None,
    )  # fmt: skip


def _check_reached(model: nn.Module, targets: Targets) -> None:
    reached = {f"{name}.{getattr(layer, 'parameter_name', 'weight')}" for name, layer in peft_library.adapted(model)}
    wanted = {*(f"{name}.weight" for name in targets.modules), *targets.parameters}
    assert reached == wanted, sorted(reached ^ wanted)[:3]


def _name_of(model: nn.Module) -> str:
    ledger = model.__dict__.get("ledger")
    return "" if ledger is None else ledger.repo or str(ledger.checkpoint.folder)


def adapter_parameters(model: nn.Module) -> Iterable[nn.Parameter]:
    """What learns in an adapted model."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
