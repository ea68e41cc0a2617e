"""A random config of a family: its tiny one with fields changed at random, as far as the family allows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any, TypeVar

from tools.fuzz_families.known import as_both_compute
from zoo.anatomy.config import MISSING, ModelConfig, RopeConfig
from zoo.anatomy.differing import BOOKKEEPING, TOKENS
from zoo.anatomy.fields import doc_of, types_of
from zoo.errors import ConfigError
from zoo.testing.variants import words_in

C = TypeVar("C", bound=ModelConfig)
LENGTH = 61  # tokens that are compared: beyond most windows and original contexts drawn here
# Modules for further predictions are beside the model, and transformers has none in it.
LEFT = {*BOOKKEEPING, *TOKENS, "max_seq_len", "id2label", "num_labels", "num_mtp_layers"}
LEFT.add("num_index_heads")  # see _together
SHARES = (0.25, 0.5, 0.75, 1.0)


def drawn(config: C, rng: Random) -> C:
    """Each field changed or left, one after the other, in an order that is drawn too."""
    names = [f.name for f in fields(config) if f.name not in LEFT]
    rng.shuffle(names)
    for name in names:
        for value in _others(config, name, rng) if rng.random() < 0.6 else ():
            if (made := _with(config, **{name: value})) is not config:
                config = made
                break
    return as_both_compute(_together(config, rng))


def _together(config: C, rng: Random) -> C:
    """Fields changed at once that many families or their formats allow together alone."""
    held = vars(config)
    if held.keys() >= {"hidden_size", "num_heads", "head_dim"} and rng.random() < 0.5:
        config = _with(config, hidden_size=held["num_heads"] * held["head_dim"])
    if held.keys() >= {"num_kv_heads", "num_heads"} and rng.random() < 0.5:
        config = _with(config, num_kv_heads=rng.choice((1, held["num_heads"])))
    if held.keys() >= {"rope_head_dim", "head_dim", "num_heads"} and rng.random() < 0.8:
        config = _with(config, head_dim=held["rope_head_dim"], num_kv_heads=vars(config)["num_heads"])
    if held.keys() >= {"sliding_window", "sliding_layers"} and rng.random() < 0.3:
        config = _with(config, sliding_window=None, sliding_layers=None)
    if held.keys() >= {"indexer_layers", "index_rope_interleaved"} and rng.random() < 0.5:
        config = _with(config, indexer_layers=None, index_rope_interleaved=not held["index_rope_interleaved"])
    if "num_index_heads" in held:  # a score of few heads is often 0, and which of equal ones a kernel takes is its own
        config = _with(config, num_index_heads=24)
    if held.keys() >= {"generation", "local_rope"}:  # Gemma 1 to 3: what the file of each can say
        config = _with(config, query_pre_attn_scalar=float(round(held["query_pre_attn_scalar"])))
        if held["generation"] < 3:
            config = _with(config, local_rope=vars(config)["rope"])
        if held["generation"] == 1:
            plain = {"attn_softcap": None, "final_softcap": None, "sliding_window": None, "local_per_global": 0}
            config = _with(config, query_pre_attn_scalar=float(held["head_dim"]), **plain)
    if held.keys() >= {"head", "num_labels", "tie_embeddings"}:
        config = _headed(config, rng)
    return config


def _headed(config: C, rng: Random) -> C:
    """Another head of an encoder, with the classes and the pooled state that it needs."""
    head = rng.choice(words_in(doc_of(type(config), "head")))
    pooled = {"has_pooler": rng.random() < 0.5} if hasattr(config, "has_pooler") else {}
    ways = [pooled, {name: not value for name, value in pooled.items()}]
    for labels in (None, rng.randint(1, 5)):
        for way in ways:
            if (made := _with(config, head=head, num_labels=labels, labels=[], **way)) is not config:
                return made
    return config


def _with(config: C, **values: Any) -> C:
    """The config with other values, or as it is where it does not allow them."""
    try:
        return config.from_dict(replace(config, **values).to_dict())
    except ConfigError:
        return config


def _others(config: Any, name: str, rng: Random) -> Iterator[Any]:
    """Values for a field, the first that fits is taken."""
    old = getattr(config, name)
    kind, doc = str(types_of(type(config))[name]), doc_of(type(config), name)
    is_optional = "None" in kind
    if is_optional and old is not None and rng.random() < 0.3:
        yield None
    if isinstance(old, RopeConfig):
        yield from (_rope(old, config, rng) for _ in range(3))
    elif isinstance(old, ModelConfig):
        yield drawn(old, rng)
    elif is_dataclass(old) and not isinstance(old, type):
        yield from (_record(old, rng) for _ in range(6))
    elif old == MISSING:
        return
    elif isinstance(old, bool):
        yield not old
    elif "list[int]" in kind and name.endswith("layers"):
        count = getattr(config, "num_layers", 1)
        yield from (sorted(rng.sample(range(count), rng.randint(0, count))) for _ in range(3))
    elif "list[" in kind:
        if isinstance(old, list) and old and all(isinstance(value, int) for value in old):
            yield from ([rng.choice([*_numbers(value, rng)]) for value in old] for _ in range(3))
    elif isinstance(old, int) or (old is None and "int" in kind):
        yield from _numbers(old, rng)
    elif isinstance(old, float) or (old is None and "float" in kind):
        yield (old or 1.0) * rng.uniform(0.5, 2.0)
    elif isinstance(old, str):
        words = words_in(doc)
        yield from rng.sample(words, len(words))


def _record(old: Any, rng: Random) -> Any:
    """A tower or another part with some of its fields changed."""
    for name in [f.name for f in fields(old) if rng.random() < 0.4]:
        for value in _others(old, name, rng):
            with suppress(ConfigError):  # a part of which two fields are set together
                old = replace(old, **{name: value})
            break
    return old


def _numbers(old: int | None, rng: Random) -> Iterator[int]:
    near = [3, 4, 6, 9] if not old else [old + 1, old + 2, old * 2, old * 3, max(old // 2, 1), max(old - 1, 1)]
    yield from rng.sample(near, len(near))


def _rope(old: RopeConfig, config: ModelConfig, rng: Random) -> RopeConfig:
    """Another base, share and scaling."""
    rope = RopeConfig(theta=round(10 ** rng.uniform(2, 6), 1), partial=rng.choice((old.partial, *SHARES)))
    width = next((n for name in ("rotary_dim", "rope_head_dim", "head_dim") if (n := getattr(config, name, None))), 8)
    pairs, original = int(width * rope.partial) // 2, rng.choice((16, 24, 32))
    scaling = rng.choice(("none", "linear", "dynamic", "yarn", "llama3", *(["longrope"] if pairs else [])))
    more: dict[str, dict[str, Any]] = {
        "linear": {"factor": rng.uniform(1.5, 8.0)},
        "dynamic": {"factor": rng.uniform(1.5, 8.0)},
        "yarn": {"factor": rng.uniform(1.5, 8.0), "beta_fast": rng.uniform(4.0, 40.0), "truncate": rng.random() < 0.5},
        "llama3": {"factor": 8.0, "low_freq_factor": rng.uniform(1.0, 2.0), "high_freq_factor": rng.uniform(3.0, 5.0)},
        "longrope": {
            "short_factor": [rng.uniform(1.0, 2.0) for _ in range(pairs)],
            "long_factor": [rng.uniform(1.0, 6.0) for _ in range(pairs)],
        },
    }
    settings = more.get(scaling, {})
    if scaling in ("yarn", "llama3", "longrope"):
        settings["original_max_seq_len"] = original
    return replace(rope, scaling=scaling, **settings)
