"""Whatever is changed in the files of a tokenizer, it is read, or refused in a sentence that names the file."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.text import Tokenizer

from ..bounds.test_bounds import REAL_SECTIONS, plain_table
from ..tiny import byte_level, sentencepiece_like

VALUES: list[Any] = [
    None, True, False, 0, -1, 5, 10**30, 2**32, 1.5, -1e300, "", "a", "\0", "😀", "<s>", "x" * 300, [], {}, [[]], [{}],
    {"a": 1}, ["a", "b"], "NFC", "Sequence", "Split", "BPE", {"type": "Sequence"}, {"String": "a"}, {"Regex": ""},
    {"Regex": "$"}, {"Regex": r"\b"},
]  # fmt: skip
CONFIG: dict[str, Any] = {
    "bos_token": "<s>", "eos_token": {"content": "<|end|>", "lstrip": False}, "add_bos_token": True,
    "added_tokens_decoder": {"0": {"content": "<s>", "special": True}}, "additional_special_tokens": ["<s>"],
    "extra_special_tokens": {"x": "<s>"}, "tokenizer_class": "LlamaTokenizer", "split_special_tokens": False,
    "chat_template": [{"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"}],
}  # fmt: skip


def trees() -> list[dict[str, Any]]:
    small = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "▁a": 2}, "unk_token": "a"}
    token = {"id": 0, "content": "a", "single_word": False, "lstrip": True, "rstrip": False, "normalized": True}
    base = {"version": "1.0", "model": small, "added_tokens": [token | {"special": False}]}
    table = json.dumps(plain_table({"ﬁ": "fi"}))
    sections = [json.loads(json.dumps(one).replace('"TABLE"', table)) for one in REAL_SECTIONS]
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]], "byte_fallback": False}
    whole = [json.loads(one.to_str()) for one in (byte_level(), sentencepiece_like())]
    return [*whole, *(base | one for one in sections), {"version": "1.0", "model": unigram}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in it, but few of those that are many of a kind."""
    if path:
        yield path
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys[:6] if path[-1:] in (("vocab",), ("merges",)) else keys[:40]:
            yield from places(value[key], (*path, key))


def change(tree: dict[str, Any], chance: random.Random) -> None:
    *path, last = chance.choice(list(places(tree)))
    inner: Any = tree
    for key in path:
        inner = inner[key]
    if chance.random() < 0.2:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(chance.choice(VALUES))


def use(folder: Path) -> None:
    ours = Tokenizer.from_folder(folder)
    ids = ours.encode("a b  ▁é ﬁ<s> \n" * 20)
    for some in (ids, [], [0, 1, 2, 5000]):
        ours.decode(some)
    stream = ours.decode_stream()
    assert "".join(map(stream.push, ids)) + stream.finish() is not None
    if ours.chat_templates:
        ours.render_chat([{"role": "user", "content": "x"}], template=next(iter(ours.chat_templates)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_changed_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    chance, ways, said = random.Random(seed), trees(), []
    for _ in range(250):
        tree = copy.deepcopy(chance.choice(ways))
        config = copy.deepcopy(CONFIG) if tree["model"] == ways[0]["model"] else {}  # its tokens are those of this one
        change(config if config and chance.random() < 0.4 else tree, chance)
        (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        try:
            use(tmp_path)
        except ZooError as error:  # anything else is a traceback
            said.append(str(error))
    assert all(str(tmp_path) in line or "chat template" in line for line in said)
    assert len(said) < 225  # not all changes are fatal, so that what is read is used too
