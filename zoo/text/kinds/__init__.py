"""Tokenizers in the files that models came with before tokenizer.json, each rebuilt with `tokenizers`.

A file is read within bounds, turned into the tree of a tokenizer.json that gives the same ids, and held to all that
such a file is held to. So no other library is needed; sentencepiece and tiktoken are the tests' witnesses.
"""

from __future__ import annotations

from zoo.text.kinds import byte_pairs, chatglm, llama, marian, ranks, t5, wordpiece, xlm_roberta
from zoo.text.kinds.record import Folder, Found

# The first file that a folder has decides: those that only one family has stand before those that several have.
READERS = (
    (marian.SOURCE, marian.read),
    (ranks.QWEN_FILE, ranks.read_qwen),
    (chatglm.ICE_FILE, chatglm.read_ice),
    (xlm_roberta.FILE, xlm_roberta.read),
    (t5.FILE, t5.read),
    (llama.FILE, None),
    (byte_pairs.VOCAB, byte_pairs.read),
    (wordpiece.FILE, wordpiece.read),
)
FILES = tuple(name for name, _ in READERS)


def find(folder: Folder) -> Found | None:
    """The vocabulary of a folder, or None where it has no file of these kinds. Raises CheckpointError."""
    for name, reader in READERS:
        if folder.has(name):
            return reader(folder) if reader else _model(folder)
    return None


def _model(folder: Folder) -> Found:
    """tokenizer.model, a name that three formats share."""
    file = folder.path / llama.FILE
    if file.is_file() and ranks.is_ranks(file):
        return ranks.read(folder)
    if folder.tokenizer_class == "ChatGLMTokenizer" or (not folder.tokenizer_class and folder.model_type == "chatglm"):
        return chatglm.read(folder)
    return llama.read(folder)
