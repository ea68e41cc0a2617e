"""vocab.txt: BERT's WordPiece, a token a line."""

from __future__ import annotations

from zoo.errors import CheckpointError, clean
from zoo.text.files import TOKENIZER_BYTES, read_text
from zoo.text.kinds.record import Folder, Found

FILE = "vocab.txt"
CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "LayoutLMTokenizer")
TYPES = ("bert", "distilbert", "electra", "mobilebert", "layoutlm", "megatron-bert", "nomic_bert")
DEFAULTS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def read(folder: Folder) -> Found:
    """The tokenizer of vocab.txt. Raises CheckpointError where the folder names a class of other rules."""
    folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    if not folder.flag("do_basic_tokenize", True):
        raise CheckpointError(folder.path / "tokenizer_config.json", "do_basic_tokenize", "false is not rebuilt by zoo")
    lines = read_text(file, TOKENIZER_BYTES).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    vocab = {token: index for index, token in enumerate(lines)}  # a line that stands twice counts where it is last
    roles = {role: token for role, token in (DEFAULTS | folder.special).items() if token in vocab}
    unknown = folder.special.get("unk_token", DEFAULTS["unk_token"])
    for token in (unknown, folder.special.get("cls_token", "[CLS]"), folder.special.get("sep_token", "[SEP]")):
        if token not in vocab:
            raise CheckpointError(file, "", f"has no {clean(token)!r}, without which no text can be written")
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
    return Found(file, "WordPiece", tree, roles, ("cls_token",), ("sep_token",), notes=notes if twice else [])
