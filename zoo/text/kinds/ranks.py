"""Files of tiktoken: a token in base64 and its rank a line. LLaMA 3, Qwen, GLM-4."""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.text.files import read_json
from zoo.text.kinds.record import Folder, Found, read_bytes
from zoo.text.kinds.sections import BYTE_DECODER, bpe, byte_level
from zoo.text.tokens.merging import are_cut_in_bounds, merges_of
from zoo.text.tokens.parts import byte_letters
from zoo.text.tokens.splitting import SPLITTINGS

MAX_TOKENS = 1 << 20
QWEN_FILE, FILE = "qwen.tiktoken", "tokenizer.model"
QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)))
QWEN_PICTURES = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>", "<imgpad>")
GLM4_SPECIAL = (
    "<|endoftext|> [MASK] [gMASK] [sMASK] <sop> <eop> <|system|> <|user|> <|assistant|> <|observation|>"
    " <|begin_of_image|> <|end_of_image|> <|begin_of_video|> <|end_of_video|>"
).split()
_HEADERS = "<|start_header_id|>", "<|end_header_id|>"


def is_ranks(file: Path) -> bool:
    """Whether a file begins as tiktoken's do, and not with the control character that begins SentencePiece's."""
    head = b""
    with suppress(OSError), file.open("rb") as opened:  # what cannot be read is told by the one that reads it whole
        head = opened.read(4096)
    return re.match(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\s", head) is not None


def read_qwen(folder: Folder) -> Found:
    """qwen.tiktoken: Qwen-1, and Qwen-VL with tokens for pictures."""
    file = folder.path / QWEN_FILE
    sees = "visual" in folder.model
    special = QWEN_SPECIAL + (QWEN_PICTURES if sees else ())
    chats = read_json(folder.path / "generation_config.json").get("chat_format") == "chatml"
    chat = ("qwen_vl" if sees else "chatml") if chats else ""
    ranks = read_ranks(file)
    tree = _tree(ranks, "qwen2", file) | {"normalizer": {"type": "NFC"}}
    return Found(file, "tiktoken (Qwen)", tree, {"eos_token": special[0]}, added=_beyond(ranks, special), chat=chat)


def read(folder: Folder) -> Found:
    """tokenizer.model of tiktoken: Meta's folders of LLaMA 3, and GLM-4."""
    named, kind = folder.tokenizer_class, folder.model_type
    if named == "ChatGLM4Tokenizer" or (not named and kind in ("chatglm", "glm")):
        return _glm4(folder)
    if (named and named != "LlamaTokenizer") or (not named and (kind or "llama") not in ("llama", "mllama")):
        raise folder.refuse(FILE, "LLaMA 3, ChatGLM4Tokenizer")
    file = folder.path / FILE
    ranks = read_ranks(file)
    special = _llama3_special(folder)
    roles = {"bos_token": special[0], "eos_token": special[1]}
    tree = _tree(ranks, "llama3", file)
    found = Found(file, "tiktoken (LLaMA 3)", tree, roles, ("bos_token",), obeys=True, chat="llama3")
    return replace(found, added=_beyond(ranks, special))


def _glm4(folder: Folder) -> Found:
    file = folder.path / FILE
    ranks = read_ranks(file)
    listed = folder.config.get("added_tokens_decoder")
    added = {} if listed else _beyond(ranks, GLM4_SPECIAL)
    tree, ends = _tree(ranks, "llama3", file), ("[gMASK]", "<sop>")
    return Found(file, "tiktoken (GLM-4)", tree, {"eos_token": GLM4_SPECIAL[0]}, ends, added=added, chat="glm4")


def _llama3_special(folder: Folder) -> list[str]:
    """256 names. LLaMA 3.1 gave some that 3 had kept free a meaning; its params.json scales positions."""
    is_later = bool(read_json(folder.path / "params.json").get("use_scaled_rope"))
    for key in ("rope_scaling", "rope_parameters"):
        rope = folder.model.get(key)
        is_later |= isinstance(rope, dict) and "llama3" in (rope.get("rope_type"), rope.get("type"))
    named = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"]
    if is_later:
        named += ["<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", *_HEADERS]
        named += ["<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
        return named + [f"<|reserved_special_token_{i}|>" for i in range(3, 256 - 8)]
    named += ["<|reserved_special_token_2|>", "<|reserved_special_token_3|>", *_HEADERS]
    named += ["<|reserved_special_token_4|>", "<|eot_id|>"]
    return named + [f"<|reserved_special_token_{i}|>" for i in range(5, 256 - 5)]


def _beyond(ranks: dict[str, int], special: Any) -> dict[int, str]:
    return dict(enumerate(special, start=len(ranks)))


def _tree(ranks: dict[str, int], splitting: str, file: Path) -> dict[str, Any]:
    if not are_cut_in_bounds(ranks):
        raise CheckpointError(file, "", "has tokens that are too long: zoo cannot search for the pairs that make them")
    pattern = SPLITTINGS[splitting].pattern
    model = bpe(ranks, merges_of(ranks, ranks), ignore_merges=True)  # a word that is a token is taken whole
    return {"pre_tokenizer": byte_level(pattern), "decoder": BYTE_DECODER, "model": model}


def read_ranks(file: Path) -> dict[str, int]:
    """Tokens, spelt in letters that stand for bytes, and their ids. Raises CheckpointError, with the line."""
    letters = byte_letters()
    found: dict[str, int] = {}
    for number, line in enumerate(read_bytes(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            word, rank = line.split()
            token = "".join(letters[byte] for byte in base64.b64decode(word, validate=True))
            if not rank.isdigit() or int(rank) >= MAX_TOKENS or not token or token in found:
                raise ValueError
        except (ValueError, binascii.Error):
            what = f"{clean(repr(line[:60]))} is not a token in base64 and its rank, or stands there twice"
            raise CheckpointError(file, f"line {number}", what) from None
        found[token] = int(rank)
    if sorted(found.values()) != [*range(len(found))]:
        raise CheckpointError(file, "", "has ranks that do not count from 0 on")
    if missing := [byte for byte, letter in letters.items() if letter not in found]:
        raise CheckpointError(file, "", f"has no token for the byte {missing[0]:#04x}, so that not every text has ids")
    return found
