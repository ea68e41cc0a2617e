"""sentencepiece.bpe.model: XLM-R, whose ids are one above the pieces', for fairseq has a token of its own at 1."""

from __future__ import annotations

from zoo.errors import CheckpointError
from zoo.text.kinds.pieces import tree_of
from zoo.text.kinds.proto import read_model
from zoo.text.kinds.record import Folder, Found, read_bytes

FILE = "sentencepiece.bpe.model"
CLASSES = ("XLMRobertaTokenizer",)
TYPES = ("xlm-roberta", "xlm-roberta-xl", "xmod")
FIRST = ("bos_token", "pad_token", "eos_token", "unk_token")
DEFAULTS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "cls_token": "<s>",
    "sep_token": "</s>",
}


def read(folder: Folder) -> Found:
    """The tokenizer of XLM-R. Raises CheckpointError for a folder of other rules, which shift ids otherwise."""
    folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    model = read_model(read_bytes(file), file)
    if [piece.text for piece in model.pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise CheckpointError(file, "", "does not begin with <unk>, <s>, </s>, in place of which XLM-R has four tokens")
    roles = DEFAULTS | folder.special
    pieces = [(roles[role], 0.0) for role in FIRST] + [(p.text, p.score) for p in model.pieces[3:]]
    pieces.append((roles["mask_token"], 0.0))
    tree = tree_of(model, file, pieces=pieces, unknown=3)
    added = {0: roles["bos_token"], 1: roles["pad_token"], 2: roles["eos_token"], 3: roles["unk_token"]}
    added[len(pieces) - 1] = roles["mask_token"]
    ends = ("bos_token",), ("eos_token",)
    return Found(file, "SentencePiece Unigram (XLM-R)", tree, roles, *ends, ends[1], added=added)
