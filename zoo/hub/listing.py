"""Which files of a repository make up a checkpoint: what is fetched, and what is left alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import CheckpointError, clean, some
from zoo.files.gguf.parts import PART
from zoo.files.shards import INDEX, PICKLE, PICKLE_INDEX, SINGLE, read_index

COMPANIONS = (  # what goes along with the weights from folder to folder
    "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt "
    "tokenizer.model spiece.model sentencepiece.bpe.model qwen.tiktoken ice_text.model source.spm target.spm "
    "target_vocab.json tekken.json chat_template.jinja "
    "chat_template.json generation_config.json preprocessor_config.json processor_config.json "
    "video_preprocessor_config.json"
).split()
MODULES = "modules.json"  # of sentence-transformers
OF_THE_TRANSFORMER = (  # of its limits; the first of these files that is there and not empty is the one that is read
    "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
    "sentence_camembert_config.json", "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)  # fmt: skip
SENTENCES = (MODULES, "config_sentence_transformers.json", *OF_THE_TRANSFORMER)
MODULE = re.compile(r"\d+_\w+/(?:config\.json|model\.safetensors)")  # a file of one of its modules
_COMPANION = re.compile(r"(.*\.(json|jinja|model|tiktoken|spm)|vocab\.txt|merges\.txt)")
_TEXT = re.compile(r"(README|LICEN[CS]E|COPYING|NOTICE|USE_POLICY)([.-].*)?", re.IGNORECASE)
_PARTS = re.compile(r"consolidated\.[0-9]{2}\.pth")
_WHOLES = ((INDEX, SINGLE), (PICKLE_INDEX, PICKLE))  # an index, and the one file where there is none


@dataclass(frozen=True)
class HubFile:
    """A file of a repository."""

    name: str  # with its folders
    nbytes: int
    is_cached: bool
    sha256: str = ""  # of large files, as the hub tells it
    oid: str = ""  # git's name of small ones


def choose(
    source: str, names: Sequence[str], path: str, *, allow_pickle: bool, read: Callable[[str], Path]
) -> set[str]:
    """The files below `path` (a folder of the repository, a file, or "") that zoo reads; `read` fetches an index.

    A folder's subfolders are other checkpoints, but for those of the modules of sentence-transformers.
    Raises CheckpointError where there are no weights.
    """
    if path in names:
        folder = path.rpartition("/")[0]
        return _gguf_parts(names, path) if path.endswith(".gguf") else {path} | companions(names, folder)
    here = {_base(name): name for name in names if name.rpartition("/")[0] == path}
    if not here:
        raise CheckpointError(source, clean(path), "is not in the repository")
    weights = _weights(here, allow_pickle, read)
    if not weights:
        raise _nothing(source, here)
    return companions(names, path) | weights | (_modules(names, path) if MODULES in here else set())


def _modules(names: Iterable[str], folder: str) -> set[str]:
    """What lies in the folders of the modules that sentence-transformers puts behind a model: 1_Pooling, 2_Dense."""
    start = f"{folder}/" if folder else ""
    return {name for name in names if name.startswith(start) and MODULE.fullmatch(name.removeprefix(start))}


def _gguf_parts(names: Iterable[str], path: str) -> set[str]:
    """A GGUF file, with the other parts of its model where its name says that it is one."""
    if (part := PART.fullmatch(path)) is None:
        return {path}
    others = ((name, PART.fullmatch(name)) for name in names)
    return {name for name, found in others if found and found.group("stem", "count") == part.group("stem", "count")}


def companions(names: Iterable[str], folder: str) -> set[str]:
    """Configs, tokenizer files and chat templates: all that is small and no weights."""
    return {name for name in names if name.rpartition("/")[0] == folder and _COMPANION.fullmatch(_base(name))}


def texts(names: Iterable[str], folder: str) -> set[str]:
    """The card and the licence that lie in `folder`, or else those of the whole repository."""
    found = {name for name in names if _TEXT.fullmatch(_base(name))}
    here = {name for name in found if name.rpartition("/")[0] == folder}
    return here or {name for name in found if "/" not in name}


def is_text(name: str) -> bool:
    """Whether a file is a card or a licence, which people may edit without another model coming of it."""
    return _TEXT.fullmatch(name) is not None


def _weights(here: dict[str, str], allow_pickle: bool, read: Callable[[str], Path]) -> set[str]:
    for index, single in _WHOLES[: 2 if allow_pickle else 1]:
        if index in here:
            shards = set(read_index(read(here[index])).values())
            return {here[shard] for shard in shards if shard in here}
        if single in here:
            return {here[single]}
    parts = {name for base, name in here.items() if _PARTS.fullmatch(base)}
    return parts if allow_pickle and "params.json" in here else set()


def _nothing(source: str, here: dict[str, str]) -> CheckpointError:
    weights = sorted(base for base in here if base.endswith((".gguf", ".bin", ".pth", ".pt", ".safetensors")))
    ggufs = [base for base in weights if base.endswith(".gguf")]
    if ggufs:
        hint = f"name the one that you want: {source}/{clean(ggufs[0])}"
    elif any(base.endswith((".bin", ".pth")) for base in weights):
        hint = "--allow-pickle fetches pickles too"
    else:
        hint = ""
    why = f"it has {clean(some(weights, most=6))}" if weights else "it has no weights at all"
    return CheckpointError(source, "", "has no weights in safetensors", why=why, hint=hint)


def _base(name: str) -> str:
    return name.rpartition("/")[2]
