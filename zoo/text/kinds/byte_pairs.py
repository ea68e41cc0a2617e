"""vocab.json and merges.txt: byte pairs as GPT-2, RoBERTa, CLIP and Qwen2 have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import parse_json
from zoo.text.files import TOKENIZER_BYTES, TOKENIZER_COST, read_text
from zoo.text.kinds.record import Folder, Found, read_bytes
from zoo.text.kinds.sections import BYTE_DECODER, bpe, byte_level, sequence, split
from zoo.text.tokens.splitting import SPLITTINGS

VOCAB, MERGES = "vocab.json", "merges.txt"
END = "<|endoftext|>"
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
Pairs = tuple[dict[str, Any], list[tuple[str, str]]]


def read(folder: Folder) -> Found:
    """The tokenizer of vocab.json and merges.txt, by the rules of the class that the folder names."""
    rule = CLASSES.get(folder.tokenizer_class) if folder.tokenizer_class else _by_type(folder.model_type)
    if rule is None:
        raise folder.refuse(VOCAB, ", ".join(CLASSES))
    return rule(folder, _pairs(folder))


def _pairs(folder: Folder) -> Pairs:
    vocab_file, merges_file = folder.path / VOCAB, folder.path / MERGES
    if not merges_file.exists():
        raise CheckpointError(merges_file, "", "is not there", why=f"{VOCAB} alone does not say how tokens are made")
    vocab = parse_json(read_bytes(vocab_file), vocab_file, max_cost=TOKENIZER_COST)
    merges = []
    for number, line in enumerate(read_text(merges_file, TOKENIZER_BYTES).split("\n"), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        left, space, right = line.rstrip("\r").partition(" ")
        if not (left and space and right) or " " in right:
            raise CheckpointError(merges_file, f"line {number}", f"{clean(repr(line))} is not two tokens")
        if not (left in vocab and right in vocab and left + right in vocab):
            raise CheckpointError(merges_file, f"line {number}", f"{clean(repr(line))} are not tokens of {VOCAB}")
        merges.append((left, right))
    return vocab, merges


def _gpt2(folder: Folder, pairs: Pairs) -> Found:
    tree = {
        "pre_tokenizer": byte_level(add_prefix_space=folder.flag("add_prefix_space", False)),
        "decoder": BYTE_DECODER,
        "model": bpe(*pairs, continuing_subword_prefix="", end_of_word_suffix=""),
    }
    roles = {"bos_token": END, "eos_token": END, "unk_token": END}
    return Found(folder.path / VOCAB, "byte-level BPE (GPT-2)", tree, _in(pairs, folder, roles), obeys=True)


def _roberta(folder: Folder, pairs: Pairs) -> Found:
    first, last = "<s>", "</s>"
    roles = {"bos_token": first, "eos_token": last, "cls_token": first, "sep_token": last}
    roles |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    found = _gpt2(folder, pairs)
    ends = ("cls_token",), ("sep_token",)
    return Found(found.file, "byte-level BPE (RoBERTa)", found.tree, _in(pairs, folder, roles), *ends, ends[1])


def _clip(folder: Folder, pairs: Pairs) -> Found:
    roles = {"bos_token": "<|startoftext|>", "eos_token": END, "unk_token": END, "pad_token": END}
    roles = _in(pairs, folder, roles)
    if missing := [role for role in ("bos_token", "eos_token", "unk_token") if role not in roles]:
        raise CheckpointError(folder.path / VOCAB, "", f"has no {missing[0]}, which CLIP puts around every text")
    spaces = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tree = {
        "normalizer": sequence("normalizers", {"type": "NFC"}, spaces, {"type": "Lowercase"}),
        "pre_tokenizer": sequence("pretokenizers", split(CLIP_WORDS, behavior="Removed", invert=True), letters),
        "decoder": sequence(
            "decoders",
            BYTE_DECODER,
            {"type": "Fuse"},
            {"type": "Replace", "pattern": {"String": "</w>"}, "content": " "},
        ),
        "model": bpe(*pairs, unk_token=roles["unk_token"], continuing_subword_prefix="", end_of_word_suffix="</w>"),
    }
    return Found(folder.path / VOCAB, "BPE (CLIP)", tree, roles, ("bos_token",), ("eos_token",))


def _qwen2(folder: Folder, pairs: Pairs) -> Found:
    pattern = SPLITTINGS["qwen2"].pattern
    tree = {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": byte_level(pattern, folder.flag("add_prefix_space", False)),
        "decoder": BYTE_DECODER,
        "model": bpe(*pairs, continuing_subword_prefix="", end_of_word_suffix=""),
    }
    roles = {"eos_token": END, "unk_token": END, "pad_token": END}
    return Found(folder.path / VOCAB, "byte-level BPE (Qwen2)", tree, _in(pairs, folder, roles), obeys=True)


def _in(pairs: Pairs, folder: Folder, roles: dict[str, str]) -> dict[str, str]:
    """What a class calls its tokens, where the vocabulary has them and the files name no others."""
    named = folder.special
    return {role: token for role, token in (roles | named).items() if token in pairs[0]}


def _by_type(model_type: str) -> Callable[[Folder, Pairs], Found] | None:
    if model_type.startswith(("qwen2", "qwen3")):
        return _qwen2
    if model_type.startswith("clip"):
        return _clip
    return {"gpt2": _gpt2, "starcoder2": _gpt2, "roberta": _roberta, "bart": _roberta}.get(model_type)


CLASSES: dict[str, Callable[[Folder, Pairs], Found]] = {
    "GPT2Tokenizer": _gpt2,
    "RobertaTokenizer": _roberta,
    "LongformerTokenizer": _roberta,
    "BartTokenizer": _roberta,
    "CLIPTokenizer": _clip,
    "Qwen2Tokenizer": _qwen2,
}
