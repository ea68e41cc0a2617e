"""tokenizer.model of SentencePiece: LLaMA 1 and 2, Mistral, Gemma."""

from __future__ import annotations

from zoo.text.kinds.pieces import tree_of
from zoo.text.kinds.proto import SentencePieceModel, read_model
from zoo.text.kinds.record import Folder, Found, read_bytes

FILE = "tokenizer.model"
CLASSES = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "MistralTokenizer", "MixtralTokenizer")
TYPES = ("llama", "mistral", "mixtral", "gemma", "gemma2", "gemma3", "gemma3_text")


def read(folder: Folder) -> Found:
    """The tokenizer of a SentencePiece file by the rules of LlamaTokenizer and its kin.

    The space that the model file asks for stands before every part of a text between special tokens where the folder
    says legacy=true, and before the first part only where it does not, as transformers 5 takes it.
    """
    folder.hold_to(FILE, CLASSES, TYPES)
    file = folder.path / FILE
    model = read_model(read_bytes(file), file)
    tree = tree_of(_asked(model, folder), file, first_only=not folder.flag("legacy", False))
    roles = {f"{role}_token": token for role in ("unk", "bos", "eos", "pad") if (token := model.token(role))}
    algorithm = tree["model"]["type"]
    return Found(file, f"SentencePiece {algorithm}", tree, roles, ("bos_token",), obeys=True)


def _asked(model: SentencePieceModel, folder: Folder) -> SentencePieceModel:
    """The model with the space before texts that tokenizer_config.json asks for."""
    from dataclasses import replace

    return replace(model, add_dummy_prefix=folder.flag("add_prefix_space", model.add_dummy_prefix))
