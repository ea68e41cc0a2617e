"""vocab.txt: BERT's WordPiece, a token a line; MPNet's with RoBERTa's special tokens."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.text.files import TOKENIZER_BYTES, read_text
from zoo.text.kinds.record import Folder, Found

FILE = "vocab.txt"
MPNET_CLASS, MPNET_TYPE = "MPNetTokenizer", "mpnet"
CLASSES = (
    MPNET_CLASS,
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "LayoutLMTokenizer",
)
TYPES = (MPNET_TYPE, "bert", "distilbert", "electra", "mobilebert", "layoutlm", "megatron-bert", "nomic_bert")
DEFAULTS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
MPNET_DEFAULTS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "[UNK]",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


def read(folder: Folder) -> Found:
    """The tokenizer of vocab.txt. Raises CheckpointError where the folder names a class of other rules."""
    folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    if not folder.flag("do_basic_tokenize", True):
        raise CheckpointError(folder.path / "tokenizer_config.json", "do_basic_tokenize", "false is not rebuilt by zoo")
    lines = read_text(file, TOKENIZER_BYTES).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    vocab = {token: index for index, token in enumerate(lines)}  # a line that stands twice counts where it is last
    is_mpnet = folder.tokenizer_class == MPNET_CLASS or (not folder.tokenizer_class and folder.model_type == MPNET_TYPE)
    named = (MPNET_DEFAULTS if is_mpnet else DEFAULTS) | folder.special
    roles = {role: token for role, token in named.items() if token in vocab}
    unknown = named["unk_token"]
    for token in (unknown, named["cls_token"], named["sep_token"]):
        if token not in vocab:
            raise CheckpointError(file, "", f"has no {clean(token)!r}, which is needed to write text")
    strip = folder.config.get("strip_accents")
    tree = {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": folder.flag("tokenize_chinese_chars", True),
            "strip_accents": None if strip is None else folder.flag("strip_accents", False),
            "lowercase": folder.flag("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
    twice = len(lines) - len(vocab)
    notes = [f"{FILE} has {twice} lines that stand there twice; each token has the id of its last line"]
    pair: dict[str, Any] = {"between": ("sep_token",)} if is_mpnet else {"between": (), "second_type": 1}
    return Found(file, "WordPiece", tree, roles, ("cls_token",), ("sep_token",), notes=notes if twice else [], **pair)
