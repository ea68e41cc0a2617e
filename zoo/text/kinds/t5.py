"""spiece.model: T5 and mT5, whose sentinels <extra_id_0>, ... stand behind the pieces, the first one last; and SigLIP.

SigLIP reads T5's pieces without sentinels, of texts in small letters without punctuation.
"""

from __future__ import annotations

from zoo.errors import CheckpointError, clean
from zoo.text.kinds.pieces import token_of, tree_of
from zoo.text.kinds.proto import read_model
from zoo.text.kinds.record import Folder, Found, read_bytes
from zoo.text.tokens.small_letters import plain_words

FILE = "spiece.model"
CLASSES = ("T5Tokenizer", "MT5Tokenizer", "SiglipTokenizer")
TYPES = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
MAX_SENTINELS = 1000


def read(folder: Folder) -> Found:
    """The tokenizer of a spiece.model by T5's rules. Raises CheckpointError for a folder of other rules."""
    spelling = plain_words(folder.config, folder.tokenizer_class, folder.model_type)
    if spelling is None:
        folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    model = read_model(read_bytes(file), file)
    count = folder.config.get("extra_ids", 100) if spelling is None else 0
    if not isinstance(count, int) or not 0 <= count <= MAX_SENTINELS:
        what = f"{clean(repr(count))} is not from 0 to {MAX_SENTINELS:,}"
        raise CheckpointError(folder.path / "tokenizer_config.json", "extra_ids", what)
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    known = {piece.text for piece in model.pieces}
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    pieces += [(sentinel, 0.0) for sentinel in sentinels if sentinel not in known]
    roles = {f"{role}_token": token for role in ("unk", "eos", "pad") if (token := model.token(role))}
    roles["eos_token"] = token_of(model, "eos", file)
    if spelling is not None:
        roles["pad_token"] = roles["eos_token"]
    tree = tree_of(model, file, pieces=pieces)
    added = {index: text for index, (text, _) in enumerate(pieces) if index >= len(model.pieces)}
    kind = f"SentencePiece Unigram ({'T5' if spelling is None else 'SigLIP'})"
    return Found(file, kind, tree, roles, after=("eos_token",), added=added, spelling=spelling)
