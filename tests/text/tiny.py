"""Tokenizers of a few hundred tokens in the files that released models have, and the texts to try them on."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

CORPUS = [
    "Once upon a time, in 1887, a naïve engineer said: don't build it! We'll see.",
    "    def f(x):\n        return x ** 2  # 漢字 and 😀\n\n\n",
    "the tower of the town, the time of the engineer, 12345 67 it's",
] * 3
ALPHABET = "abde tnT  \n\t.,!'1297éï漢字😀🙈ｆ ﬁ e\u0301 <s></s> <|end|> [INST]"


def texts(count: int = 100, seed: int = 0) -> list[str]:
    """Words, digits, spaces at both ends, accents, Chinese, emoji and things that look like special tokens."""
    chance = random.Random(seed)
    words = [*" ".join(CORPUS).split(" "), "<s>", "</s>", "<|end|>", " ", "", "\n"]
    made = ["".join(chance.choice(ALPHABET) for _ in range(chance.randrange(40))) for _ in range(count)]
    return ["", " ", "  hi", "hi  ", *CORPUS, *made, *(" ".join(chance.choices(words, k=9)) for _ in range(count))]


def byte_level() -> Tokenizer:
    """As GPT-2, Qwen2 and SmolLM2 have it."""
    return Tokenizer.from_str(_byte_level())


def sentencepiece_like() -> Tokenizer:
    """As Llama 2 has it: spaces are ▁, unknown characters fall back to bytes."""
    return Tokenizer.from_str(_sentencepiece_like())


@cache
def _byte_level() -> str:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=360, special_tokens=["<s>", "<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


@cache
def _sentencepiece_like() -> str:
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, limit_alphabet=40, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    fresh = Tokenizer(BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    fresh.normalizer = tokenizer.normalizer  # afresh, for the trainer marked the byte tokens as special
    fresh.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special[:3]])
    fresh.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fresh.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", fresh.token_to_id("<s>"))]
    )
    return fresh.to_str()


def write(folder: Path, tokenizer: Tokenizer, config: dict[str, Any] | None = None, **others: Any) -> Path:
    """A folder with tokenizer.json, tokenizer_config.json and `others`, by the name of the file without its ending."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(config or {}))
    for name, value in others.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder
