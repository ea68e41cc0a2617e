"""A cache gives what the whole text gives, however the text is cut, and costs what its arithmetic says.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.anatomy.size import Size
from zoo.errors import ZooError
from zoo.testing.check import Broken, Skipped, require
from zoo.testing.measure import LIMIT, difference
from zoo.testing.subject import Subject


@torch.no_grad()
def decoding_one_by_one_equals_the_whole(s: Subject) -> str:
    length = caching(s).longest
    return _cut(s, (length // 2, *[1] * (length - length // 2)))


@torch.no_grad()
def any_chunks_equal_the_whole(s: Subject) -> str:
    """Chunks below, at and above every window, from an empty cache on and after it has filled."""
    length = caching(s).longest
    windows = {spec.window for spec in s.anatomy.attention if spec.window} if s.anatomy else set()
    sizes = sorted({1, 2, 3, length - 1, *windows, *(w + 1 for w in windows), *(w - 1 for w in windows if w > 1)})
    detail = ""
    for size in sizes:
        detail = _cut(s, tuple([size] * (length // size) + [length % size] * (length % size > 0)))
    return f"chunks of {', '.join(map(str, sizes))}: {detail}"


@torch.no_grad()
def ragged_rows_go_on_where_they_ended(s: Subject) -> str:
    """Three prompts of different lengths, padded left, right and not at all, then one token at a time."""
    length, steps = caching(s).longest - 4, 4
    prompts, more, model = s.tokens(3, length), s.tokens(3, steps, seed=1), s.decoder(range(3))
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[0, :3], mask[1, length - 2 :] = False, False
    cache = model.new_cache(3, length + steps)
    model(prompts, attention_mask=mask, cache=cache)
    found = torch.cat([model(more[:, t : t + 1], cache=cache) for t in range(steps)], 1)
    worst = 0.0
    for row, kind in enumerate(("left-padded", "right-padded", "unpadded")):
        whole = torch.cat((prompts[row][mask[row]], more[row]))[None]
        gap = difference(found[row], s.decoder([row])(whole)[0, -steps:])
        require(gap < LIMIT, f"decoding after a {kind} prompt differs by {gap:.2g} from the row alone")
        worst = max(worst, gap)
    return f"within {worst:.0e}"


@torch.no_grad()
def the_last_logits_are_the_last_of_all(s: Subject) -> str:
    """`last=True` gives each row's last real token, with padding on either side and with a cache."""
    length = caching(s).longest
    tokens, model = s.tokens(3, length), s.decoder(range(3))
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[0, :3], mask[1, length - 2 :] = False, False
    at = torch.tensor([length - 1, length - 3, length - 1])
    for padding, columns in ((None, torch.full((3,), length - 1)), (mask, at)):
        expected = model(tokens, attention_mask=padding)[torch.arange(3), columns][:, None]
        for cache in (None, model.new_cache(3, length)):
            found = model(tokens, attention_mask=padding, cache=cache, last=True)
            gap = difference(found, expected)
            require(gap < LIMIT, f"last=True differs by {gap:.2g} from the last column of all logits")
    return "[B, 1, V]"


@torch.no_grad()
def its_bytes_are_those_of_the_arithmetic(s: Subject) -> str:
    if (anatomy := caching(s).anatomy) is None:
        raise Skipped("it describes no anatomy")
    if s.is_encoder_decoder:
        raise Skipped("its cache also holds the encoded source, which the arithmetic does not count")
    found = {}
    for dtype in ("float64", "bfloat16"):
        for max_len in (s.longest, 2):
            cache = s.decoder(range(3), dtype).new_cache(3, max_len)
            expected = Size(anatomy, dtype).cache_bytes(max_len, batch=3)
            where = f"of 3 rows of {max_len} tokens in {dtype}"
            require(cache.nbytes == expected, f"the cache {where} has {cache.nbytes} bytes, its anatomy {expected}")
            require(cache.max_len == max_len, f"a cache {where} says max_len={cache.max_len}")
            found[where] = cache.nbytes
    return f"{next(iter(found.values()))} bytes {next(iter(found))}"


@torch.no_grad()
def a_full_cache_refuses_more(s: Subject) -> str:
    tokens, model = caching(s).tokens(1, 6), s.decoder([0])
    cache = model.new_cache(1, 4)
    model(tokens[:, :3], cache=cache)
    require(cache.length == 3, f"after 3 tokens cache.length is {cache.length}")
    try:
        model(tokens[:, 3:5], cache=cache)
    except ZooError as error:
        require(cache.length == 3, f"refused tokens were counted: cache.length is {cache.length}")
        return str(error).splitlines()[0]
    except Exception as error:
        raise Broken(f"writing past max_len raises {type(error).__name__}, which is not a ZooError: {error}") from None
    raise Broken("writing past max_len raises nothing")


@torch.no_grad()
def reordered_rows_go_on_as_their_own(s: Subject) -> str:
    """As beam search needs: a row may be dropped and another taken twice."""
    length = caching(s).longest - 2
    index = torch.tensor([2, 0, 0])
    tokens, more, model = s.tokens(3, length), s.tokens(3, 2, seed=1), s.decoder(range(3))
    cache = model.new_cache(3, length + 2)
    model(tokens, cache=cache)
    cache.reorder(index)
    found = model(more, cache=cache)
    whole = s.decoder(index.tolist())(torch.cat((tokens[index], more), 1))
    gap = difference(found, whole[:, length:])
    require(gap < LIMIT, f"logits after reorder differ by {gap:.2g} from those of the rows")
    return f"within {gap:.0e}"


@torch.no_grad()
def a_rewound_cache_has_forgotten(s: Subject) -> str:
    """As drafts need: what was read and rejected leaves no trace, or rewinding is refused."""
    if not hasattr(caching(s).decoder([0]).new_cache(1, 2), "rewind"):
        raise Skipped("its cache cannot be rewound: it cannot be used with a draft model")
    kept, refused = [], []
    for length in (2, s.longest - 3):
        tokens, wrong, model = s.tokens(2, length + 3), s.tokens(2, 3, seed=1), s.decoder(range(2))
        cache = model.new_cache(2, length + 3)
        model(torch.cat((tokens[:, :length], wrong), 1), cache=cache)
        try:
            cache.rewind(length)
        except ZooError:
            refused.append(str(length))
            continue
        gap = difference(model(tokens[:, length:], cache=cache), model(tokens)[:, length:])
        require(gap < LIMIT, f"logits after rewinding to {length} tokens differ by {gap:.2g}")
        kept.append(str(length))
    return "; ".join(f"{word} to {', '.join(n)} tokens" for word, n in (("rewound", kept), ("refused", refused)) if n)


def caching(s: Subject) -> Subject:
    """The subject, if it decodes with a cache."""
    if not s.can_decode:
        raise Skipped("it does not decode: it has no new_cache, and no `conditioned` that gives a decoder")
    if not s.is_causal:
        raise Skipped("it is not causal: its output for a prefix depends on what follows")
    return s


def _cut(s: Subject, chunks: tuple[int, ...]) -> str:
    tokens, model = s.tokens(2, sum(chunks)), s.decoder(range(2))
    cache = model.new_cache(2, sum(chunks))
    found = torch.cat([model(part, cache=cache) for part in tokens.split(chunks, 1)], 1)
    whole = model(tokens)
    gap = difference(found, whole)
    if gap >= LIMIT:
        at = _first_difference(found, whole)
        raise Broken(f"cached logits differ by {gap:.2g} from those of the whole text, from position {at} on")
    return f"within {gap:.0e}"


def _first_difference(found: Tensor, whole: Tensor) -> int:
    return int(((found - whole).abs().amax((0, 2)) >= LIMIT).nonzero()[0])


PROPERTIES = (
    decoding_one_by_one_equals_the_whole,
    any_chunks_equal_the_whole,
    ragged_rows_go_on_where_they_ended,
    the_last_logits_are_the_last_of_all,
    its_bytes_are_those_of_the_arithmetic,
    a_full_cache_refuses_more,
    reordered_rows_go_on_as_their_own,
    a_rewound_cache_has_forgotten,
)
