"""What lies beside the weights goes along, and a tokenizer of another size is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.text.reading.test_gguf import metadata_of
from tests.text.tiny import byte_level, write
from zoo.checkpoint import saving
from zoo.checkpoint.companions import read_tokenizer
from zoo.errors import ZooWarning
from zoo.hub.listing import COMPANIONS


def checkpoint(folder: Path, **facts: Any) -> Any:
    given: dict[str, Any] = {"dialect": "hf", "folder": folder, "config": {}, "files": (folder / "x.gguf",)}
    return SimpleNamespace(**(given | facts))


def test_every_companion_is_carried(tmp_path: Path):
    for name in COMPANIONS:
        (tmp_path / name).write_bytes(b"x")
    assert {"source.spm", "target.spm", "tokenizer.model"} < set(COMPANIONS)
    assert saving.companions(checkpoint(tmp_path)) == {name: tmp_path / name for name in COMPANIONS}


def test_a_gguf_file_brings_its_own_and_not_those_that_lie_beside_it(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_bytes(b"of another model")
    metadata = metadata_of(byte_level())
    source = checkpoint(tmp_path, dialect="gguf", config=metadata, metadata=lambda: metadata)
    found = saving.companions(source)
    assert set(found) == {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert all(isinstance(data, bytes) for data in found.values())


def test_a_vocabulary_that_zoo_cannot_rebuild_is_told_and_left_out(tmp_path: Path):
    metadata = metadata_of(byte_level(), model="bert")
    source = checkpoint(tmp_path, dialect="gguf", config=metadata, metadata=lambda: metadata)
    with pytest.warns(ZooWarning, match="the tokenizer is not written: .*zoo rebuilds gpt2 and llama, not 'bert'"):
        assert saving.companions(source) == {}


@pytest.mark.parametrize(
    ("rows", "note"),
    [(347, "the last ids have no embedding"), (390, None), (348, None), (4000, "is it the one that the weights")],
)
def test_a_tokenizer_of_another_size_than_the_model_is_told(tmp_path: Path, rows: int, note: str | None):
    folder = write(tmp_path, byte_level())
    ledger: Any = SimpleNamespace(checkpoint=checkpoint(folder), config=SimpleNamespace(vocab_size=rows))
    notes = read_tokenizer(ledger).notes
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]
