"""The trunk that most decoders share, described once: all that zoo.nn.Decoder and its layers hold beside the MLPs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.traits import heads_in_words

PRE_NORM = "norm → attention → + → norm → MLP → +"
SANDWICH = "norm → attention → norm → + → norm → MLP → norm → +"
PARALLEL = "norm → attention and MLP side by side → +"
LAYOUTS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # a layer's order, where its norms stand, their names
    "pre": (PRE_NORM, "pre", ("attn_norm", "mlp_norm")),
    "sandwich": (SANDWICH, "pre and post", ("attn_norm", "mlp_norm", "attn_post_norm", "mlp_post_norm")),
    "branch": ("attention → norm → + → MLP → norm → +", "post, before the addition", ("attn_norm", "mlp_norm")),
    "parallel": (PARALLEL, "pre", ("norm",)),
    "twin": (PARALLEL, "pre, one for each branch", ("attn_norm", "mlp_norm")),
}

WindowOf = Callable[[int], int | None]


class Stacked(Protocol):
    """What `describe_trunk` reads of a config."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    max_seq_len: int
    tie_embeddings: bool


@contextmanager
def describe_trunk(
    c: Stacked,
    heads: tuple[int, int, int],
    *,
    position: str,
    bias: bool = False,
    out_bias: bool | None = None,
    qk_norm: bool = False,
    is_whole: bool = False,
    window_of: WindowOf | None = None,
    is_chunked: bool = False,
    is_causal: bool = True,
    is_layer_norm: bool = False,
    is_sandwiched: bool = False,
    layout: str = "pre",
    norm_bias: bool | None = None,
    head_bias: bool = False,
) -> Iterator[Anatomy]:
    """Embedding, attention, norms and head of a decoder; what is described inside stands in every layer.

    `heads` are the query heads, the key/value heads and the channels of each; `position` says in words how tokens know
    where they stand; `window_of` gives the keys that a layer sees (None: all), which with `is_chunked` are a
    chunk. Norms are RMS norms, or with
    `is_layer_norm` layer norms, which have biases unless `norm_bias` says otherwise; where in a layer they stand is one
    of LAYOUTS; `is_whole` says that it is WholeAttention. The traits are those of the trunk: a family adds its MLP's,
    and what is particular to it.
    """
    order, places, norms = LAYOUTS["sandwich" if is_sandwiched else layout]
    norm_bias = is_layer_norm if norm_bias is None else norm_bias
    a, layers = Anatomy(max_seq_len=c.max_seq_len), range(c.num_layers)
    a.traits = {
        "attention": heads_in_words(*heads[:2]),
        "position": position,
        "norm": f"{'LayerNorm' if is_layer_norm else 'RMSNorm'}, {places}",
        "block": order,
    }
    a.embedding("embed", c.vocab_size, c.hidden_size)
    with a.under("layers.{i}", layers):
        for name in norms:
            a.norm(name, c.hidden_size, bias=norm_bias)
        a.attn(c.hidden_size, *heads, bias=bias, out_bias=out_bias, qk_norm=qk_norm, is_whole=is_whole)
        yield a
    windows = {i: None if window_of is None else window_of(i) for i in layers}
    for window in dict.fromkeys(windows.values()):
        alike = [i for i in layers if windows[i] == window]
        a.attends(alike, *heads, window=window, is_causal=is_causal, is_whole=is_whole, is_chunked=is_chunked)
    a.norm("norm", c.hidden_size, bias=norm_bias)
    a.head(c.vocab_size, c.hidden_size, tied=c.tie_embeddings, bias=head_bias)
