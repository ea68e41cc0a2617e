"""Who sees whom: no token the future, no row another, nobody the padding, and each layer as far as it says.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.models.trial import outputs
from zoo.testing.check import Broken, Skipped, require
from zoo.testing.measure import LIMIT, difference, per_position, reading, runnable
from zoo.testing.subject import Subject


@torch.no_grad()
def no_token_sees_the_future(s: Subject) -> str:
    if not reading(s).is_causal:
        raise Skipped("it is not causal: its anatomy says that tokens see later tokens")
    tokens = s.tokens(2, s.longest)
    before = per_position(s, tokens)
    moved = 0.0
    for t in range(1, tokens.shape[1]):
        changed = tokens.clone()
        changed[:, t] = s.tokens(2, 1, seed=t + 100)[:, 0]
        after = per_position(s, changed)
        for name in before:
            gap = difference(after[name][:, :t], before[name][:, :t])
            require(gap < LIMIT, f"changing token {t} changes {name} before it by {gap:.2g}")
            moved = max(moved, difference(after[name][:, t], before[name][:, t]))
    require(moved > LIMIT, "changing a token changes nothing at its own position")
    return f"{tokens.shape[1]} tokens"


@torch.no_grad()
def a_row_does_not_depend_on_its_batch(s: Subject) -> str:
    tokens = runnable(s).tokens(3, s.longest)
    together, alone = s.run(tokens), s.run(tokens[1:2], rows=[1])
    # What a model makes of pairs of rows has a column for each, and is not of one row alone.
    own = [name for name, x in alone.items() if x.shape[1:] == together[name].shape[1:]]
    worst = {name: difference(together[name][1:2], alone[name]) for name in own}
    for name, gap in worst.items():
        require(gap < LIMIT, f"{name} of a row differs by {gap:.2g} from that of the row alone")
    return f"within {max(worst.values()):.0e}"


@torch.no_grad()
def padding_on_the_right_changes_nothing(s: Subject) -> str:
    return _padded(s, before=0, after=4)


@torch.no_grad()
def padding_on_the_left_changes_nothing(s: Subject) -> str:
    if not reading(s).can_decode:
        raise Skipped("it does not decode, so its positions may count columns")
    return _padded(s, before=4, after=0)


@torch.no_grad()
def padding_of_the_source_changes_nothing(s: Subject) -> str:
    if not reading(s).is_encoder_decoder:
        raise Skipped("it is not an encoder-decoder")
    source, target = s.source([0, 1]), s.tokens(2, s.longest)
    filler = torch.full((2, 3), s.config.pad_token_id or 0)
    mask = torch.ones(2, source.shape[1] + 3, dtype=torch.bool)
    mask[:, source.shape[1] :] = False
    alone = outputs(s.model(source, target))
    found = outputs(s.model(torch.cat((source, filler), 1), target, attention_mask=mask))
    worst = {name: difference(found[name], x) for name, x in alone.items() if x.shape[:2] == target.shape}
    for name, gap in worst.items():
        require(gap < LIMIT, f"{name} after a padded source differs by {gap:.2g} from that after the source alone")
    return f"within {max(worst.values()):.0e}"


@torch.no_grad()
def each_layer_sees_as_far_as_its_anatomy_says(s: Subject) -> str:
    """Each layer run alone: a state changes what leaves at the positions that may attend to it, and nowhere else."""
    seen = 0
    for name, reach, allowed in _layers_and_reach(runnable(s)):
        for q, p in (reach != allowed).nonzero().tolist():
            verb = "sees" if reach[q, p] else "does not see"
            raise Broken(f"{name}: position {q} {verb} position {p}, {abs(q - p)} away")
        seen += 1
    if not seen:
        raise Skipped("its anatomy has no layer with one kind of attention, or a state, that text passes through")
    return f"{seen} layers"


def _padded(s: Subject, *, before: int, after: int) -> str:
    """A batch of one text with padding and another, longer one without, against the first text alone."""
    if reading(s).is_encoder_decoder and not s.can_decode:
        raise Skipped("its decoder cannot be used alone: it has no `conditioned`")
    length = s.longest - before - after
    text, other = s.tokens(1, length), s.tokens(1, s.longest, seed=1)
    mask = torch.ones(2, s.longest, dtype=torch.bool)
    mask[0, :before], mask[0, before + length :] = False, False
    filler = s.tokens(1, before + after, seed=2)
    if s.config.pad_token_id is not None:
        filler = torch.full_like(filler, s.config.pad_token_id)
    row = torch.cat((filler[:, :before], text, filler[:, before:]), 1)
    found, alone = s.run(torch.cat((row, other)), attention_mask=mask), s.run(text)
    worst, reads_padding = 0.0, getattr(s.model, "row_len", None) is not None
    for name, x in alone.items():
        if x.shape[:2] != text.shape and (reads_padding or x.shape[1:] != found[name].shape[1:]):
            continue  # of pairs of rows, or of a row with its padding, as SigLIP was trained
        kept = found[name][:1, before : before + length] if x.shape[:2] == text.shape else found[name][:1]
        gap = difference(kept, x)
        require(gap < LIMIT, f"{name} of a padded row differs by {gap:.2g} from that of the row alone")
        require(bool(found[name].isfinite().all()), f"{name} holds NaN or infinity at padding")
        worst = max(worst, gap)
    return f"within {worst:.0e}"


def _layers_and_reach(s: Subject) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(layer, which positions its outputs depend on [T, T], which they should), for layers that attend in one way.

    A layer that carries a state sees what came before, as much as has not faded from it, and nothing later.
    """
    if s.anatomy is None:
        raise Skipped("it describes no anatomy")
    specs = [((spec.stack, i), spec) for spec in s.anatomy.attention for i in spec.layers]
    layers = [layer for layer, _ in specs]
    for layer, spec in specs:
        # Of several ways to attend the farthest counts, and what a state remembers beside them is not told apart. Keys
        # of an earlier layer do not come from what enters this one.
        if layers.count(layer) > 1 or layer in _carrying(s) or spec.is_borrowing:
            continue
        if (found := _named_reach(s, *layer)) is not None:
            name, reach = found
            q, p = torch.arange(len(reach))[:, None], torch.arange(len(reach))[None]
            window = spec.window or len(reach)
            if spec.is_chunked:
                yield name, reach, (p <= q) & (p // window == q // window)
                continue
            seen = (p <= q) & (p > q - window) if spec.is_causal else (q - p).abs() < window
            yield name, reach, seen if spec.chosen is None else seen & reach  # which of them it reads, it decides
    for layer in _carrying(s):
        if (found := _named_reach(s, *layer)) is not None:
            name, reach = found
            yield name, reach, reach.tril()


def _carrying(s: Subject) -> list[tuple[str, int]]:
    """(stack, number) of the layers that carry a state."""
    assert s.anatomy is not None
    return list(dict.fromkeys((spec.stack, i) for spec in s.anatomy.states for i in spec.layers))


def _named_reach(s: Subject, stack: str, i: int) -> tuple[str, Tensor] | None:
    """A layer's name and reach; None where text does not pass through it."""
    modules = dict(s.model.named_modules())
    name = next((n for n in (f"{stack}.{i}", f"{stack}.layers.{i}") if n in modules), None)
    if name is None:
        raise Broken(f"the anatomy names {stack}.{i}, but the model has no such module")
    return None if (reach := _reach(s, modules[name])) is None else (name, reach)


def _reach(s: Subject, layer: nn.Module) -> Tensor | None:
    """True [T, T] where the layer's output at position q depends on its input at position p."""
    calls = []
    handle = layer.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    try:
        s.run(s.tokens(1, s.longest))
    finally:
        handle.remove()
    if not calls:
        return None
    (x, *rest), kwargs = calls[0]
    before = layer(x, *rest, **kwargs)
    columns = []
    for p in range(x.shape[1]):
        changed = x.clone()
        changed[:, p] += torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(p), dtype=x.dtype)
        columns.append((layer(changed, *rest, **kwargs) - before).abs().flatten(2).amax((0, 2)) > LIMIT)
    return torch.stack(columns, 1)


PROPERTIES = (
    no_token_sees_the_future,
    a_row_does_not_depend_on_its_batch,
    padding_on_the_right_changes_nothing,
    padding_on_the_left_changes_nothing,
    padding_of_the_source_changes_nothing,
    each_layer_sees_as_far_as_its_anatomy_says,
)
