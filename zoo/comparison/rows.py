"""What is told of each model, a row per fact: its traits in words, its costs by arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.anatomy import Anatomy
from zoo.anatomy.adapters import adapter_parameters, lora_bytes
from zoo.anatomy.records import ROLES
from zoo.anatomy.size import Size, Training
from zoo.comparison.subject import ComparedModel
from zoo.report.table import Row
from zoo.units import human_bytes, human_count, human_flops, human_length

TRAITS = ("attention", "position", "norm", "block", "mlp")


@dataclass(frozen=True)
class Terms:
    """What costs are counted for."""

    length: int  # tokens of the text
    rank: int  # of the adapters
    dtype: str | None = None  # that bytes are counted in; None: the one that each model was released in


def rows(subjects: Sequence[ComparedModel], terms: Terms) -> tuple[Row, ...]:
    """Every fact, in the order in which it is told; one that no model has is left out."""
    all_rows = [*_traits(subjects), *_parameters(subjects), *_costs(subjects, terms), *_training(subjects, terms)]
    return tuple(row for row in all_rows if any(value is not None for value in row.values))


def _traits(subjects: Sequence[ComparedModel]) -> list[Row]:
    sizes = [s.size for s in subjects]
    told = [size.anatomy.traits if size else {} for size in sizes]
    names = dict.fromkeys((*TRAITS, *(name for traits in told for name in traits)))
    configs = [s.config for s in subjects]
    return [
        _words("family", [c.family for c in configs]),
        _words("kind", [_of(size, lambda z: kind(z.anatomy)) for size in _whole(subjects)]),
        _words("layers × width", [shape(c) for c in configs]),
        *(_words(name, [traits.get(name) for traits in told]) for name in names),
        _row("model", "vocabulary", [getattr(c, "vocab_size", None) for c in configs], "{:,}".format),
        _row("model", "context", [_of(z, lambda z: z.anatomy.max_seq_len) for z in sizes], "{:,}".format),
        _words("tied embedding", [_tied(s) for s in subjects]),
        _words("released in", [c.dtype for c in configs]),
    ]


def kind(anatomy: Anatomy) -> str:
    """What sees what: causal, decoder-only; encoder-decoder; ..."""
    cached = [a.is_causal for a in anatomy.attention if a.cached and a.layers]
    read = [a.is_causal for a in anatomy.attention if not a.cached and a.layers]
    if cached and read:
        return "encoder-decoder"
    if anatomy.states and not read:
        return "causal, decoder-only"
    if cached:
        return "causal, decoder-only" if all(cached) else "prefix, decoder-only"
    return "encoder, causal" if read and all(read) else "encoder, bidirectional"


def shape(config: Any) -> str | None:
    """Layers and width, as 32 × 4,096."""
    layers, width = getattr(config, "num_layers", None), getattr(config, "hidden_size", None)
    return None if layers is None or width is None else f"{layers:,} × {width:,}"


def _tied(s: ComparedModel) -> str | None:
    if s.size is None or not hasattr(s.config, "vocab_size"):
        return None
    if s.size.anatomy.tied_head:
        return "yes"
    return "no" if "head" in s.size.by_role else None


def _parameters(subjects: Sequence[ComparedModel]) -> list[Row]:
    sizes = [s.size for s in subjects]
    active = [_of(z, lambda z: z.active_parameters) for z in _whole(subjects)]
    known = [role for role in ROLES if any(size and role in size.by_role for size in sizes)]
    return [
        _number("parameters", "parameters", [_of(z, lambda z: z.parameters) for z in sizes], human_count),
        *(
            _number("parameters", role, [z.by_role.get(role) if z else None for z in sizes], human_count, part=True)
            for role in known
        ),
        _number("parameters", "active per token", active, human_count),
    ]


def _whole(subjects: Sequence[ComparedModel]) -> list[Size | None]:
    """The sizes of models of which more is known than their weights."""
    return [s.size if s.size and s.size.anatomy.is_whole else None for s in subjects]


def _costs(subjects: Sequence[ComparedModel], terms: Terms) -> list[Row]:
    sizes, at = [s.size for s in subjects], human_length(terms.length)
    whole = _whole(subjects)
    decoders = [size if size and size.cache_bytes(1) else None for size in whole]

    def tell(section: str, label: str, cost: Callable[[Size], int], text: Any, of: Sequence[Size | None]) -> Row:
        return _number(section, label, [_of(size, cost) for size in of], text)

    n, dtype = terms.length, terms.dtype
    stored, rounded = [s.stored for s in subjects], [s.rounded for s in subjects]
    bits = [8 * b / s.size.parameters if (b := s.rounded or s.stored) and s.size else None for s in subjects]
    return [
        _number("memory", "weights on disk", stored, human_bytes),
        _number("memory", "weights, rounded", rounded, human_bytes),
        _number("memory", "bits per weight", bits, "{:.2f}".format),
        tell("memory", "weights", lambda z: z.weight_bytes(dtype), human_bytes, sizes),
        tell("memory", "cache / token", lambda z: z.cache_bytes_per_token(dtype), human_bytes, decoders),
        tell("memory", f"cache at {at}", lambda z: z.cache_bytes(n, dtype=dtype), human_bytes, decoders),
        tell("compute", f"prefill of {at}", lambda z: z.prefill_flops(n), human_flops, whole),
        tell("compute", f"decode at {at}", lambda z: z.flops_per_token(n - 1), human_flops, decoders),
    ]


def _training(subjects: Sequence[ComparedModel], terms: Terms) -> list[Row]:
    sizes, at = _whole(subjects), f"1 × {human_length(terms.length)}"
    n, rank, dtype = terms.length, terms.rank, terms.dtype
    full = [_of(z, lambda z: z.training_bytes(1, n, dtype)) for z in sizes]
    lora = [_of(z, lambda z: lora_bytes(z, 1, n, rank=rank, dtype=dtype)) for z in sizes]
    adapters = [_of(z, lambda z: adapter_parameters(z.anatomy, rank)) for z in sizes]
    return [
        *_needs(f"train, {at}", full),
        *_needs(f"LoRA {rank}, {at}", lora),
        _number("training", "LoRA parameters", adapters, human_count),
        _number("training", "optimal tokens", [_of(z, lambda z: z.optimal_tokens) for z in sizes], human_count),
    ]


def _needs(label: str, needs: Sequence[Training | None]) -> list[Row]:
    parts = ("weights", "gradients", "optimizer", "activations")
    totals = [None if need is None else need.total for need in needs]
    return [
        _number("training", label, totals, human_bytes),
        *(
            _number("training", p, [None if n is None else getattr(n, p) for n in needs], human_bytes, part=True)
            for p in parts
        ),
    ]


def _of(size: Size | None, fact: Callable[[Size], Any]) -> Any:
    return None if size is None else fact(size)


def _row(section: str, label: str, values: Sequence[Any], text: Callable[[Any], str], **about: bool) -> Row:
    return Row(section, label, tuple(values), tuple("–" if v is None else text(v) for v in values), **about)


def _words(label: str, values: Sequence[str | None]) -> Row:
    return _row("model", label, values, str)


def _number(
    section: str, label: str, values: Sequence[float | None], text: Callable[[float], str], *, part: bool = False
) -> Row:
    return _row(section, label, values, text, is_number=True, is_part=part)
