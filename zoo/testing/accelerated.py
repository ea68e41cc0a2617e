"""A GPU computes what the CPU computes: texts at once, padded, one token at a time from a cache, and what is learned.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.construction import materialise, on_meta
from zoo.testing.check import Skipped, require, shown
from zoo.testing.learning import apart, gradients, learned, wrong_gradients
from zoo.testing.measure import LIMIT, difference, runnable
from zoo.testing.subject import Subject

CPU = torch.device("cpu")


def it_computes_on_a_gpu_what_the_cpu_computes(s: Subject) -> str:
    """In float64, of a model that was made there: what it forgets on the CPU raises, what it rounds differs."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is here")
    there = moved(runnable(s), "cuda")
    texts = s.tokens(2, s.longest)
    one = s.model.requires_grad_()
    wrong = [*apart(learned(s, one, texts), learned(s, there, texts), LIMIT)]
    wrong += wrong_gradients(one, {name: x.to(CPU) for name, x in gradients(there)})
    one.zero_grad()
    require(not wrong, shown(sorted(wrong)))
    if s.can_decode and s.is_causal:
        _decodes(s, there)
    return torch.cuda.get_device_name()


def moved(s: Subject, device: str) -> nn.Module:
    """A model with the subject's weights, built on the device itself."""
    model = materialise(on_meta(s.config, dtype="float64"), device=device).eval()
    model.load_state_dict(s.model.state_dict())
    return model


@torch.no_grad()
def _decodes(s: Subject, there: nn.Module) -> None:
    """A batch with padding on the left, then three tokens, one by one."""
    prompts, more = s.tokens(2, s.longest - 4), s.tokens(2, 3, seed=1)
    mask = torch.ones_like(prompts, dtype=torch.bool)
    mask[0, :3] = False
    found = {}
    for model in (s.model, there):
        device = next(model.parameters()).device
        decoder = s.conditioned(model, range(2))
        cache = decoder.new_cache(2, s.longest)
        rows = [decoder(prompts.to(device), attention_mask=mask.to(device), cache=cache, last=True)]
        rows += [decoder(token.to(device), cache=cache) for token in more.split(1, 1)]
        found[device.type] = torch.cat([row.to(CPU) for row in rows], 1)
    gap = difference(found["cuda"], found["cpu"])
    require(gap < LIMIT, f"logits from a cache differ by {gap:.2g} from those of the CPU")


PROPERTIES = (it_computes_on_a_gpu_what_the_cpu_computes,)
