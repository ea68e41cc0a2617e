"""The tokenizer of a run: the model's own, another one's, or one that is learnt from the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.errors import NetworkError, UsageError, ZooError
from zoo.hub.listing import COMPANIONS
from zoo.text import Tokenizer, open_tokenizer
from zoo.training.corpus.reading import TOKEN_FILES, read_records
from zoo.training.settings import Recipe
from zoo.training.vocabulary import learn

USUAL = {"mlm": "wordpiece", "span": "unigram"}  # the kind that is learnt for an objective; bpe for all others


@dataclass(frozen=True)
class Words:
    """A tokenizer, the files to put beside the weights, and what is told of it."""

    tokenizer: Tokenizer | None
    files: Mapping[str, bytes | Path]
    told: str
    is_chosen: bool  # for this run, so that a new model's vocabulary follows it


def words_for(recipe: Recipe, config: ModelConfig, once: Callable[..., Any] = lambda work: work()) -> Words:
    """The tokenizer for a new model: that of `tokenizer.source`, one learnt, or the preset's if it is on this machine.

    Where nothing is said and there is none, one is learnt: `once` for all ranks, which may each learn another.
    """
    t = recipe.tokenizer
    if t.source is not None and t.train is not None:
        raise UsageError(f"tokenizer.source={t.source} and tokenizer.train={t.train}", hint="choose one")
    if t.source is not None:
        return Words(open_tokenizer(t.source), _files(t.source), f"tokenizer: that of {t.source}", True)
    if t.train is None:
        if config.hub and (found := _cached(config.hub)):
            return found
        if any(name.endswith(TOKEN_FILES) for name in recipe.data.files or ()):
            return Words(None, {}, "no tokenizer: the data are tokens", False)
    return _learnt(recipe, t.train or USUAL.get(recipe.objective["name"], "bpe"), config, once)


def adapted(config: ModelConfig, tokenizer: Tokenizer, keep: frozenset[str]) -> ModelConfig:
    """The config of a new model with the tokenizer's vocabulary and special tokens, but for the fields to `keep`."""
    special = {
        name: tokenizer.token_to_id(tokenizer.special_tokens.get(name, ""))
        for name in ("bos_token", "eos_token", "sep_token", "cls_token", "pad_token")
    }
    end = special["eos_token"] if special["eos_token"] is not None else special["sep_token"]
    begin = special["bos_token"] if special["bos_token"] is not None else special["cls_token"]
    wanted: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "bos_token_id": begin,
        "eos_token_id": [] if end is None else [end],
        "pad_token_id": special["pad_token"],
        "decoder_start_token_id": special["pad_token"] or 0,
        "end_token_ids": [] if end is None else [end],
    }
    names = {f.name for f in fields(config)}
    changes = {name: value for name, value in wanted.items() if name in names and name not in keep}
    text = getattr(config, "text", None)
    if is_dataclass(text) and not isinstance(text, type) and hasattr(text, "vocab_size") and "vocab_size" not in keep:
        changes["text"] = replace(text, vocab_size=tokenizer.vocab_size)
    return replace(config, **changes)


def _learnt(recipe: Recipe, kind: str, config: ModelConfig, once: Callable[..., Any]) -> Words:
    longest = getattr(config, "max_seq_len", None) or 1 << 20

    def work() -> dict[str, bytes]:
        records = read_records(recipe.data.files or [], recipe.data)
        texts = (text for record in records for text in texts_in(record.values))
        return learn(kind, texts, recipe.tokenizer.vocab_size, objective=recipe.objective["name"], max_len=longest)

    files = once(work)
    tokenizer = tokenizer_of(files)
    told = f"tokenizer: {kind} of {tokenizer.vocab_size:,} tokens, learnt from the data"
    return Words(tokenizer, dict(files), told, True)


def texts_in(value: Any) -> list[str]:
    """All texts in a record, however deep."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for item in items for text in texts_in(item)]


def tokenizer_of(files: Mapping[str, bytes | Path]) -> Tokenizer:
    """The tokenizer of files that are not in a folder yet, read as any other is."""
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return Tokenizer.from_folder(folder)


def _cached(hub: str) -> Words | None:
    try:
        return Words(open_tokenizer(hub), _files(hub), f"tokenizer: that of {hub}", False)
    except (NetworkError, ZooError):
        return None


def _files(source: str) -> dict[str, bytes | Path]:
    from zoo.hub.place import locate
    from zoo.presets.homes import home_of

    path = locate(home_of(source)).path
    folder = path if path.is_dir() else path.parent
    return {name: folder / name for name in COMPANIONS if (folder / name).is_file() and _is_tokenizers(name)}


def _is_tokenizers(name: str) -> bool:
    return not name.startswith(("generation_", "preprocessor_", "processor_", "video_"))
