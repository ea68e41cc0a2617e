"""A model is built from its config alone, on any device and in any dtype, and all of it can be trained."""

from __future__ import annotations

import torch
from torch import nn

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.differing import differences
from zoo.models.construction import count, materialise, on_meta, reset, shared_parameters
from zoo.testing.check import Skipped, require, shown
from zoo.testing.measure import runnable
from zoo.testing.subject import Subject
from zoo.testing.variants import flags


def it_builds_on_meta_without_allocating(s: Subject) -> str:
    model = on_meta(s.config)
    real = [name for name, t in [*model.named_parameters(), *model.named_buffers()] if not t.is_meta]
    require(not real, f"not on meta: {shown(real)}")
    lost = set(dict(model.named_buffers())) - set(model.state_dict())
    require(not lost, f"buffers that are not in the checkpoint are lost on meta: {shown(sorted(lost))}")
    kept = getattr(model, "config", None)
    changed = differences(kept, s.config) if isinstance(kept, ModelConfig) else []
    require(kept == s.config, f"model.config is not the config it was built from; {shown(changed)}".rstrip("; "))
    return f"{count(model)} parameters"


def its_anatomy_is_that_of_the_module(s: Subject) -> str:
    """Names and shapes, also with each switch of the config turned over."""
    if s.anatomy is None:
        raise Skipped("it describes no anatomy, so it is measured by building it")
    wrong = []
    for label, config in [("", s.config), *flags(s.config)]:
        described = config.anatomy().shapes()
        model = on_meta(config)
        built = {name: tuple(p.shape) for name, p in model.named_parameters()}
        where = f" with {label}" if label else ""
        wrong += [f"{name} is not in the module{where}" for name in described.keys() - built.keys()]
        wrong += [f"{name} is not in the anatomy{where}" for name in built.keys() - described.keys()]
        both = described.keys() & built.keys()
        wrong += [
            f"{n} is {list(described[n])} in the anatomy, {list(built[n])} in the module{where}"
            for n in both if described[n] != built[n]
        ]  # fmt: skip
        if not wrong and sum(weight.numel for weight in config.anatomy().weights) != count(model):
            wrong.append(f"the anatomy names a weight twice{where}")
    require(not wrong, shown(sorted(wrong)))
    return f"{len(s.anatomy.shapes())} weights"


def random_weights_reach_every_parameter(s: Subject) -> str:
    """From the seed alone: what no reset_parameters fills is whatever was in memory."""
    first, second = (materialise(on_meta(s.config), device="cpu", seed=7) for _ in range(2))
    third = materialise(on_meta(s.config), device="cpu", seed=8)
    for parameter in first.parameters():
        nn.init.constant_(parameter, torch.nan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        reset(first)
    unfilled = [name for name, p in first.named_parameters() if p.isnan().any()]
    require(not unfilled, f"not initialised: {shown(unfilled)}")
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    require(all(torch.equal(a, b) for a, b in pairs), "the same seed gives different weights the second time")
    pairs = zip(second.parameters(), third.parameters(), strict=True)
    require(any(not torch.equal(a, b) for a, b in pairs), "a different seed gives the same weights")
    return f"{len(list(first.parameters()))} parameters"


def a_tied_head_is_the_embedding(s: Subject) -> str:
    """One parameter under two names, where the anatomy says so."""
    if s.anatomy is None:
        raise Skipped("it describes no anatomy")
    found = []
    for label, config in [("", s.config), *flags(s.config)]:
        if (shape := config.anatomy().tied_head) is None:
            continue
        shared = [names for names, p in shared_parameters(on_meta(config)) if len(names) > 1 and p.shape == shape]
        where = f" with {label}" if label else ""
        require(bool(shared), f"the anatomy has a tied head of {list(shape)}{where}; no two names share such a weight")
        found += [f"{' is '.join(names)}{where}" for names in shared]
    if not found:
        raise Skipped("neither it nor a variant with one switch changed has a tied head")
    return found[0]


def gradients_reach_every_parameter(s: Subject) -> str:
    model = runnable(s).model
    model.zero_grad(set_to_none=True)
    found = s.run(s.tokens(2, s.longest))
    generator = torch.Generator().manual_seed(0)
    parts = [(x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in found.values()]
    torch.stack(parts).sum().backward()
    blind = {name for w in (s.anatomy.weights if s.anatomy else ()) if w.role == "vision" for name in w.names()}
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and n not in blind]
    dead = [name for name, p in trained if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    require(not dead, f"no gradient reaches {shown(dead)}")
    return f"{len(trained)} parameters" + (f"; {len(blind)} of images are not run" if blind else "")


@torch.no_grad()
def the_dtype_of_the_weights_is_that_of_the_output(s: Subject) -> str:
    tokens = runnable(s).tokens(2, s.longest)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        model = s.built(name)
        for part, x in s.run(tokens, model).items():
            require(x.dtype == dtype, f"{part} of a {name} model is {str(x.dtype).removeprefix('torch.')}")
            require(bool(x.isfinite().all()), f"{part} of a {name} model holds NaN or infinity")
    return "bfloat16, float32, float64"


PROPERTIES = (
    it_builds_on_meta_without_allocating,
    its_anatomy_is_that_of_the_module,
    random_weights_reach_every_parameter,
    a_tied_head_is_the_embedding,
    gradients_reach_every_parameter,
    the_dtype_of_the_weights_is_that_of_the_output,
)
