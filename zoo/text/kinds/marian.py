"""source.spm, target.spm and vocab.json: Marian, where SentencePiece cuts a text and vocab.json numbers the pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import parse_json
from zoo.text.bounds.limits import Encoded
from zoo.text.files import TOKENIZER_COST
from zoo.text.kinds.pieces import SPACE, tree_of
from zoo.text.kinds.proto import CONTROL, read_model
from zoo.text.kinds.record import Folder, Found, read_bytes

SOURCE, VOCAB, TARGET_VOCAB = "source.spm", "vocab.json", "target_vocab.json"
ROLES = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
MAX_ID = 1 << 20


def read(folder: Folder) -> Found:
    """The tokenizer of a folder of Marian's. Texts are read in the source language and ids told in the target's."""
    file, vocab_file = folder.path / SOURCE, folder.path / VOCAB
    if (folder.tokenizer_class or "MarianTokenizer") != "MarianTokenizer":
        raise folder.refuse(SOURCE, "MarianTokenizer")
    model = read_model(read_bytes(file), file)
    vocab = _numbers(folder, VOCAB)
    told = _numbers(folder, TARGET_VOCAB) if folder.flag("separate_vocabs", False) else vocab
    roles = ROLES | folder.special
    for role in ("unk_token", "eos_token"):
        if roles[role] not in vocab:
            raise CheckpointError(vocab_file, role, f"{clean(roles[role])!r} is not there")
    roles = {role: token for role, token in roles.items() if token in vocab}

    def wrap(inner: Backend) -> MarianBackend:
        return MarianBackend(inner, vocab, told, roles)

    known = roles.values()
    hidden = [piece.text for piece in model.pieces if piece.type == CONTROL and piece.text not in known]
    tree = tree_of(model, file, hidden=hidden)
    return Found(file, "SentencePiece (Marian)", tree, roles, after=("eos_token",), wrap=wrap)


def _numbers(folder: Folder, name: str) -> dict[str, int]:
    file = folder.path / name
    if not file.exists():
        raise CheckpointError(file, "", "is not there", why=f"{SOURCE} cuts a text into pieces, and this numbers them")
    vocab = parse_json(read_bytes(file), file, max_cost=TOKENIZER_COST)
    for token, index in vocab.items():
        if type(index) is not int or not 0 <= index < MAX_ID:
            raise CheckpointError(file, clean(token), f"{clean(repr(index))} is not the id of a token")
    if len(set(vocab.values())) < len(vocab):
        raise CheckpointError(file, "", "gives an id to two tokens")
    return vocab


class MarianBackend:
    """What zoo asks of a tokenizer, answered by SentencePiece's pieces and the numbers of vocab.json."""

    decoder = None
    post_processor = None

    def __init__(self, inner: Backend, vocab: dict[str, int], told: dict[str, int], roles: dict[str, str]) -> None:
        self.inner, self.vocab, self.told = inner, vocab, told
        self.names = {index: token for token, index in told.items()}
        self.special = set(roles.values())
        self.unknown, self.end = vocab[roles["unk_token"]], vocab[roles["eos_token"]]
        self.normalizer, self.pre_tokenizer, self.model = inner.normalizer, inner.pre_tokenizer, inner.model

    def encode(self, text: str, add_special_tokens: bool = True) -> Encoded:
        """Ids of pieces; a piece that vocab.json lacks is unknown. >>fr<< before a text names a language."""
        code = text[: text.find("<<") + 2] if text.startswith(">>") and "<<" in text else ""
        found = self.inner.encode(text[len(code) :], add_special_tokens=False)
        tokens = [code] * bool(code) + list(found.tokens)
        offsets = [(0, len(code))] * bool(code) + [(a + len(code), b + len(code)) for a, b in found.offsets]
        ids = [self.vocab.get(token, self.unknown) for token in tokens]
        mask = [0] * len(ids)
        if add_special_tokens:
            ids, offsets, mask = [*ids, self.end], [*offsets, (0, 0)], [*mask, 1]
        return Encoded(ids, offsets, mask)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids of the target; special tokens have a space after them."""
        text, pieces = "", ""
        for token in (self.names[index] for index in ids if index in self.names):
            if token not in self.special:
                pieces += token
            elif not skip_special_tokens:
                text, pieces = text + _spaced(pieces) + token + " ", ""
        return (text + _spaced(pieces)).strip()

    def token_to_id(self, token: str) -> int | None:
        """The id of a piece."""
        return self.vocab.get(token)

    def id_to_token(self, index: int) -> str | None:
        """The piece of an id."""
        return self.names.get(index)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Tokens."""
        return len(self.vocab)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Special tokens by id."""
        return {self.vocab[token]: AddedToken(token, special=True) for token in self.special if token in self.vocab}

    def to_str(self) -> str:
        """All that it does, as JSON, to tell whether two are the same."""
        tables = {"vocab": self.vocab, "target_vocab": self.told, "special": sorted(self.special)}
        return json.dumps({"source": json.loads(self.inner.to_str()), **tables})


def _spaced(pieces: str) -> str:
    return pieces.replace(SPACE, " ").removeprefix(" ")
