"""ChatGLM-6B's ice_text.model, and the tokenizer.model of ChatGLM2 and ChatGLM3."""

from __future__ import annotations

from dataclasses import replace as changed

from zoo.errors import CheckpointError, clean
from zoo.text.kinds.pieces import token_of, tree_of
from zoo.text.kinds.proto import BYTE, CONTROL, USER_DEFINED, Piece, SentencePieceModel, read_model
from zoo.text.kinds.record import Folder, Found, read_bytes
from zoo.text.tokens.spelling import Spelling

ICE_FILE, FILE = "ice_text.model", "tokenizer.model"
ICE_SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
MOST_BLANKS = 80  # spaces in a row that are one token
OLD_IMAGE_TOKENS = 20_000  # before the pieces of the first release
SPELLING = Spelling(
    r"\n|\t| {2,80}",
    {"\n": "<n>", "\t": "<|tab|>"} | {" " * i: f"<|blank_{i}|>" for i in range(2, MOST_BLANKS + 1)},
)
GLM2_SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
ENDS = ("[gMASK]", "sop")
GLM3_SPECIAL = (*GLM2_SPECIAL, "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


def read_ice(folder: Folder) -> Found:
    """ice_text.model: lines, tabs and runs of spaces become tokens before SentencePiece sees the text.

    The first release has a smaller file, to which its code appended tokens, and 20,000 ids of pictures before all.
    """
    file = folder.path / ICE_FILE
    model = read_model(read_bytes(file), file)
    is_whole = any(piece.text == "[gMASK]" for piece in model.pieces)
    count = folder.config.get("num_image_tokens", 0 if is_whole else OLD_IMAGE_TOKENS)
    if not isinstance(count, int) or not 0 <= count <= OLD_IMAGE_TOKENS:
        raise CheckpointError(
            folder.path / "tokenizer_config.json", "num_image_tokens", f"{clean(repr(count))} is not 0"
        )
    model = model if is_whole else _completed(model)
    pictures = [Piece(f"<image_{i}>", 0.0, CONTROL) for i in range(count)]
    ids = {role: i + count if i >= 0 else i for role, i in model.ids.items()}
    model = changed(model, pieces=[*pictures, *model.pieces], ids=ids)
    roles = {"bos_token": "<sop>", "eos_token": "<eop>", "mask_token": "[MASK]"}
    roles |= {f"{role}_token": token for role in ("unk", "pad") if (token := model.token(role))}
    named = (roles | folder.special).values()
    hidden = (*(piece.text for piece in pictures), *(token for token in ICE_SPECIAL if token not in named))
    tree = tree_of(model, file, hidden=hidden)
    ends = ("[gMASK]", "<sop>")
    return Found(
        file, "SentencePiece (ChatGLM-6B)", tree, roles, after=ends, hidden=hidden, spelling=SPELLING, chat="chatglm"
    )


def _completed(model: SentencePieceModel) -> SentencePieceModel:
    spaces = ["<|tab|>", *(f"<|blank_{i}|>" for i in range(2, MOST_BLANKS + 1))]
    more = [Piece(token, 0.0, CONTROL) for token in ICE_SPECIAL]
    more += [Piece(token, 0.0, USER_DEFINED) for token in spaces]
    more += [Piece(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    return changed(model, pieces=[*model.pieces, *more], byte_fallback=True)


def read(folder: Folder) -> Found:
    """tokenizer.model of ChatGLM2 and 3: special tokens stand behind its pieces, and are never read from a text."""
    file = folder.path / FILE
    model = read_model(read_bytes(file), file)
    begin = [token] if (token := model.token("bos")) else []  # not a special token of the released class
    hidden = (*GLM3_SPECIAL, *begin)
    pieces = [(piece.text, piece.score) for piece in model.pieces] + [(token, 0.0) for token in GLM3_SPECIAL]
    tree = tree_of(model, file, pieces=pieces, hidden=hidden)
    roles = {"eos_token": token_of(model, "eos", file), "unk_token": token_of(model, "unk", file)}
    roles["pad_token"] = roles["unk_token"]
    return Found(file, "SentencePiece (ChatGLM2)", tree, roles, ENDS, hidden=hidden, chat=_format(folder))


def _format(folder: Folder) -> str:
    """ChatGLM3's files are those of ChatGLM2, but that later ones name its roles among special tokens."""
    return "chatglm3" if "<|user|>" in str(folder.config.get("added_tokens_decoder", "")) else "chatglm2"
