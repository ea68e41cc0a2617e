"""Mamba-2 against transformers: logits, cache, chunks, padding, greedy text and the files themselves.

float64 logits are held to 1e-9: both sides compute in float64 and differ by the order of sums only (about 1e-14).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the reference is transformers")

import torch
from reference import CASES, in_float64, read, tokens, write
from safetensors.torch import load_file
from torch import Tensor

import zoo

LIMIT = 1e-9


@pytest.fixture(scope="module", params=CASES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp(request.param), **CASES[request.param])


def close(found: Tensor, expected: Tensor, limit: float = LIMIT) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() < limit


def test_the_fixture_lets_mistakes_show(folder: Path) -> None:
    """Logits of order 1 that hang on tokens far before, across the borders of chunks."""
    text = tokens(2, 30)
    other = text.clone()
    other[:, 5] = 3 + (text[:, 5] - 2) % 58
    with in_float64():
        before, after = (read(folder)(t).logits for t in (text, other))
    assert 0.5 < before.std() < 5
    assert (before - after)[:, 25:].abs().max() > 1e-3  # a million times the limit
    assert torch.equal(before[:, :5], after[:, :5])


@torch.inference_mode()
def test_logits_equal_the_reference(folder: Path) -> None:
    text = tokens(2, 30)
    with in_float64():
        expected = read(folder)(text).logits
    close(zoo.load(folder, dtype="float64")(text), expected)
    # float32: logits have a std of about 1, and three layers add up rounding errors of 1e-7.
    close(zoo.load(folder)(text).double(), expected, 1e-4)


@pytest.mark.parametrize("cut", [(12, 1, 1, 1), (3, 9, 1, 7, 2)], ids=["decoding", "chunks"])
@torch.inference_mode()
def test_a_cache_gives_what_the_references_cache_gives(folder: Path, cut: tuple[int, ...]) -> None:
    parts = tokens(2, sum(cut)).split(cut, 1)
    theirs, state = [], None
    with in_float64():
        model = read(folder)
        for part in parts:
            out = model(part, cache_params=state, use_cache=True)
            theirs, state = [*theirs, out.logits], out.cache_params
    ours = zoo.load(folder, dtype="float64")
    cache = ours.new_cache(2, sum(cut))
    close(torch.cat([ours(part, cache=cache) for part in parts], 1), torch.cat(theirs, 1))


@torch.inference_mode()
def test_left_padding_gives_what_the_reference_gives(folder: Path) -> None:
    text, mask = tokens(2, 20), torch.ones(2, 20, dtype=torch.bool)
    mask[1, :7] = False
    model = read(folder)
    with in_float64():
        expected = model(text, attention_mask=mask.long()).logits
        alone = model(text[1:, 7:]).logits
    found = zoo.load(folder, dtype="float64")(text, attention_mask=mask)
    if not model.config.use_bias:  # transformers lets the bias of the projection into the convolution at padding
        close(found[mask], expected[mask])
    close(found[1:, 7:], alone)


@torch.inference_mode()
def test_padding_anywhere_leaves_the_state_as_it_is(folder: Path) -> None:
    """What transformers leaves to its callers: padding right of a text and in it, with a cache that goes on."""
    text, more = tokens(2, 20), tokens(2, 3, seed=1)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[0, 15:] = False
    mask[1, 4:9] = False
    ours = zoo.load(folder, dtype="float64")
    cache = ours.new_cache(2, 23)
    ours(text, attention_mask=mask, cache=cache)
    found = ours(more, cache=cache)
    for row in range(2):
        with in_float64():
            whole = read(folder)(torch.cat((text[row][mask[row]], more[row]))[None]).logits
        close(found[row], whole[0, -3:])


def test_greedy_text_equals_the_reference(folder: Path) -> None:
    prompt = tokens(2, 9)
    with in_float64():
        expected = read(folder).generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    found = zoo.generate(zoo.load(folder, dtype="float64"), prompt, max_new_tokens=12, eos_token_id=[])
    assert [list(row) for row in found.new_tokens] == expected[:, 9:].tolist()


def test_export_gives_the_tensors_back_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "out")
    stored, back = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert stored.keys() == back.keys()
    for name, tensor in stored.items():
        assert tensor.dtype == back[name].dtype
        assert torch.equal(tensor.view(torch.uint8), back[name].view(torch.uint8)), name


def test_transformers_reads_what_is_exported(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "out")
    text = tokens(1, 11)
    with in_float64():
        close(read(tmp_path / "out")(text).logits, read(folder)(text).logits, LIMIT)
    assert zoo.inspect(tmp_path / "out").config == zoo.inspect(folder).config


@torch.inference_mode()
def test_limits_of_the_time_step_are_kept(tmp_path: Path) -> None:
    folder = write(tmp_path / "limited", time_step_limit=[0.05, 0.2])
    text = tokens(2, 30)
    with in_float64():
        expected = read(folder)(text).logits
    model = zoo.load(folder, dtype="float64")
    close(model(text), expected)
    assert (model.config.time_step_min, model.config.time_step_max) == (0.05, 0.2)


@pytest.mark.parametrize("limit", ["Infinity", '{"__float__": "Infinity"}'], ids=["transformers 4", "transformers 5"])
def test_an_infinite_limit_is_read_in_both_spellings(limit: str, tmp_path: Path) -> None:
    """The bare word is not JSON, and stands in the files of the hub."""
    folder = write(tmp_path / "unlimited")
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"time_step_limit": [0.0, "LIMIT"]}
    (folder / "config.json").write_text(json.dumps(raw).replace('"LIMIT"', limit), encoding="utf-8")
    assert zoo.inspect(folder).config.time_step_max is None
