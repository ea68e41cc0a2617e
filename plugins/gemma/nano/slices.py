"""The models inside a Gemma 3n E4B (MatFormer, arXiv:2310.07707), by the sizes that Google's MatFormer Lab gives them.

A smaller model is the larger one without some layers, in which the MLPs have their first channels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.anatomy import Nested
from zoo.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from .config import Gemma3nConfig

LAYERS, OWN_KEYS, RATIO = 35, 20, 8  # of an E4B: layers, those with keys of their own, width of an MLP / hidden size
BY_LAYER = frozenset({"layer_embed.weight", "layer_proj.weight"})


class SliceSize(NamedTuple):
    """One size: layers of the E4B that are left out, and those whose MLP is not halved."""

    left_out: tuple[int, ...] = ()
    wide: tuple[int, ...] = ()


TWENTIES = (20, 21, 22, 23, 24)
SLICES = {  # google/gemma3n-slicing-configs on the hub
    "e2b": SliceSize(left_out=TWENTIES),
    "e1.96b": SliceSize(left_out=TWENTIES, wide=(4,)),
    "e2.54b": SliceSize(wide=(4, *TWENTIES)),
}


def take(c: Gemma3nConfig, whole: Gemma3nConfig, name: str) -> Nested:
    """Give the config `c`, which is the E4B `whole`, the sizes of a slice; what it is of the whole's weights.

    Raises ConfigError for a name that is not known, and for a whole that has not the shape of an E4B.
    """
    if name not in SLICES:
        raise ConfigError(f"model.slice={name!r} is not a slice of Gemma 3n", why=did_you_mean(name, SLICES))
    _check_shape(whole, name)
    size = SLICES[name]
    layers = [i for i in range(LAYERS) if i not in size.left_out]
    full, half = whole.intermediate_size, whole.intermediate_size // 2
    c.num_layers, c.intermediate_size = len(layers), half
    c.mlp_widths = [full if i in size.wide else half for i in layers]
    c.global_layers = [at for at, i in enumerate(layers) if whole.is_global(i)]
    c.sparsity = [whole.sparsity_of(i) for i in layers]
    c.sharing_from = sum(i < whole.first_sharing for i in layers)
    return Nested(name, whole, tuple(layers), BY_LAYER, _words(size, layers, (half, full)))


def _check_shape(c: Gemma3nConfig, name: str) -> None:
    """Refuse what is not an E4B, in any width: channels that were not trained to be left out carry the model."""
    width, wanted = c.intermediate_size, RATIO * c.hidden_size
    is_plain = c.mlp_widths is None and c.global_layers is None and c.sparsity is None
    if (c.num_layers, c.first_sharing, width) == (LAYERS, OWN_KEYS, wanted) and is_plain:
        return
    what = f"model.slice={name} is cut out of a Gemma 3n E4B: num_layers={LAYERS}, sharing_from={OWN_KEYS}, "
    what += f"intermediate_size={wanted} ({RATIO} x hidden_size), every fifth layer global, 0.95 sparse in the first 10"
    found = [f"num_layers={c.num_layers}", f"sharing_from={c.sharing_from}", f"intermediate_size={width}"]
    found += [
        f"{field}={value}"
        for field in ("mlp_widths", "global_layers", "sparsity")
        if (value := getattr(c, field)) is not None
    ]
    hint = "if it is a slice already, as E2B's own files are, leave model.slice out"
    raise ConfigError(what, why=f"this model has {', '.join(found)}", hint=hint)


def _words(size: SliceSize, layers: Sequence[int], widths: tuple[int, int]) -> str:
    gone = f" (without {size.left_out[0]} to {size.left_out[-1]})" if size.left_out else ""
    half, full = widths
    wide = f" (all of layers {', '.join(map(str, size.wide))})" if size.wide else ""
    return f"{len(layers)} of {LAYERS} layers{gone} and {half} of {full} channels of their MLPs{wide}"
