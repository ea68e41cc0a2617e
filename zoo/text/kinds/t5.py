"""spiece.model: T5 and mT5, whose sentinels <extra_id_0>, ... stand behind the pieces, the first one last."""

from __future__ import annotations

from zoo.errors import CheckpointError, clean
from zoo.text.kinds.pieces import token_of, tree_of
from zoo.text.kinds.proto import read_model
from zoo.text.kinds.record import Folder, Found, read_bytes

FILE = "spiece.model"
CLASSES = ("T5Tokenizer", "MT5Tokenizer")
TYPES = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
MAX_SENTINELS = 1000


def read(folder: Folder) -> Found:
    """The tokenizer of a spiece.model by T5's rules. Raises CheckpointError for a folder of other rules."""
    folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    model = read_model(read_bytes(file), file)
    count = folder.config.get("extra_ids", 100)
    if not isinstance(count, int) or not 0 <= count <= MAX_SENTINELS:
        what = f"{clean(repr(count))} is not from 0 to {MAX_SENTINELS:,}"
        raise CheckpointError(folder.path / "tokenizer_config.json", "extra_ids", what)
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    known = {piece.text for piece in model.pieces}
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    pieces += [(sentinel, 0.0) for sentinel in sentinels if sentinel not in known]
    roles = {f"{role}_token": token for role in ("unk", "eos", "pad") if (token := model.token(role))}
    roles["eos_token"] = token_of(model, "eos", file)
    tree = tree_of(model, file, pieces=pieces)
    added = {index: text for index, (text, _) in enumerate(pieces) if index >= len(model.pieces)}
    return Found(file, "SentencePiece Unigram (T5)", tree, roles, after=("eos_token",), added=added)
