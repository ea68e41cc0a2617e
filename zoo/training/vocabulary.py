"""Tokenizers learnt from the text that is trained on, through the library `tokenizers`, in the files that it reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from zoo.errors import UsageError
from zoo.training.settings import one_of

KINDS = ("bpe", "wordpiece", "unigram")
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(100))  # T5's, the first of which has the highest id
NAMES = {  # how each kind spells the tokens that have a part to play
    "bpe": {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"},
    "wordpiece": {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    },
    "unigram": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}  # fmt: skip


def learn(kind: str, texts: Iterable[str], vocab_size: int, *, objective: str, max_len: int) -> dict[str, bytes]:
    """The files of a tokenizer of `vocab_size` tokens, or fewer where the text has not so many.

    bpe works on bytes, as GPT-2's, and begins a text with <s>; wordpiece on lower case, as BERT's, between [CLS] and
    [SEP]; unigram on pieces, as T5's, and ends a text with </s>. A mask and sentinels come with the objectives that
    need them. Raises UsageError for a vocabulary too small for its alphabet.
    """
    one_of("tokenizer.train", kind, KINDS)
    named = dict(NAMES[kind])
    if objective == "mlm":
        named.setdefault("mask_token", "<mask>")
    special = [*named.values()]
    sentinels = [*reversed(SENTINELS)] if objective == "span" else []
    least = len(special) + len(sentinels) + (256 if kind == "bpe" else 16)
    if vocab_size < least:
        raise UsageError(
            f"tokenizer.vocab_size={vocab_size} is below {least}, which special tokens and an alphabet take"
        )
    backend, trainer = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}[kind](
        vocab_size - len(sentinels), special
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens(sentinels)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        **({"extra_special_tokens": [*SENTINELS]} if sentinels else {}),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_len,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return {
        "tokenizer.json": backend.to_str(pretty=True).encode(),
        "tokenizer_config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }


def _bpe(size: int, special: list[str]) -> tuple[Backend, Any]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]),
    ])  # fmt: skip
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # any bytes at all can be written
    return backend, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )


def _wordpiece(size: int, special: list[str]) -> tuple[Backend, Any]:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    first, last = ("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[first, last]
    )
    return backend, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)


def _unigram(size: int, special: list[str]) -> tuple[Backend, Any]:
    backend = Backend(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", special.index("</s>"))]
    )
    return backend, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
