"""Marian's translation models against transformers, in float64 within 1e-9 as in test_causal.py and for its reasons."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import zoo
from tests.reference.test_causal import close
from zoo import presets
from zoo.errors import ZooError
from zoo.registry import installed

pytestmark = pytest.mark.slow

PAD, VOCAB = 60, 61
SIZES = {
    "vocab_size": VOCAB, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "max_position_embeddings": 40,
    "activation_function": "swish", "scale_embedding": True, "pad_token_id": PAD, "eos_token_id": 0,
    "decoder_start_token_id": PAD, "bos_token_id": 0,
}  # fmt: skip


def transformers() -> ModuleType:
    """The reference, imported by the tests that run and not by those that look for tests."""
    return pytest.importorskip("transformers", reason="transformers, the reference, is not installed")


KINDS: dict[str, dict[str, Any]] = {
    "opus-mt": {},
    "relu-unscaled": {"activation_function": "relu", "scale_embedding": False},
    "two-vocabularies": {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 67},
}
OLD_KEYS = {  # which files of 2020 have besides
    "normalize_before": False, "normalize_embedding": False, "static_position_embeddings": True,
    "extra_pos_embeddings": 61, "add_bias_logits": False, "add_final_layer_norm": False, "num_hidden_layers": 2,
    "classif_dropout": 0.0, "bad_words_ids": [[60]], "num_beams": 6, "max_length": 512,
}  # fmt: skip


@dataclass
class Pair:
    """The same weights in transformers and in zoo, both in float64, and the folder that zoo read."""

    kind: str
    folder: Path
    theirs: Any
    ours: Any

    @property
    def source(self) -> tuple[Tensor, Tensor]:
        """Two texts, the second with three tokens of padding on the right, and their mask."""
        tokens = torch.randint(1, PAD, (2, 9), generator=torch.Generator().manual_seed(1))
        mask = torch.ones(2, 9, dtype=torch.bool)
        tokens[1, 6:], mask[1, 6:] = PAD, False
        return tokens, mask

    @property
    def target(self) -> Tensor:
        tokens = torch.randint(1, PAD, (2, 7), generator=torch.Generator().manual_seed(2))
        tokens[:, 0] = PAD
        return tokens

    @torch.inference_mode()
    def expected(self) -> Any:
        tokens, mask = self.source
        return self.theirs(input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=self.target)


def reference(**changes: Any) -> Any:
    """A random model with peaked attention, norms far from 1 and biases from 0, its weights exact in float32."""
    model = transformers().MarianMTModel(transformers().MarianConfig(**(SIZES | changes))).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), ("final_logits_bias", model.final_logits_bias)]:
            if "embed_positions" in name:
                continue
            noise = torch.randn(p.shape, generator=generator)
            is_norm = name.endswith("norm.weight")
            scale = 0.3 if p.ndim < 2 or p.shape[0] == 1 else 0.9 / p.shape[-1] ** 0.5
            p.copy_(1 + 0.2 * noise if is_norm else scale * noise)
    return model


def age(folder: Path, model: nn.Module) -> None:
    """Add what files of 2020 have: tables of sinusoids, copies of the embedding, and keys of BART's config."""
    tensors, embedding = load_file(folder / "model.safetensors"), model.model.shared.weight.detach()
    for part in ("encoder", "decoder"):
        table = getattr(model.model, part).embed_positions.weight
        tensors[f"model.{part}.embed_positions.weight"] = table.detach().clone()
        tensors[f"model.{part}.embed_tokens.weight"] = embedding.clone()
    tensors["lm_head.weight"] = embedding.clone()
    save_file(tensors, folder / "model.safetensors")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | OLD_KEYS))


@pytest.fixture(scope="module", params=[*KINDS, "opus-mt-of-2020"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("marian")
    model = reference(**KINDS.get(request.param, {}))
    model.save_pretrained(folder)
    if request.param == "opus-mt-of-2020":
        age(folder, model)
    return Pair(request.param, folder, model.double(), zoo.load(folder, dtype="float64"))


@torch.inference_mode()
def test_logits_and_encoder_states_equal_the_reference(pair: Pair) -> None:
    tokens, mask = pair.source
    expected = pair.expected()
    close(pair.ours(tokens, pair.target, attention_mask=mask), expected.logits, 1e-9)
    close(pair.ours.encode(tokens, mask).states[mask], expected.encoder_last_hidden_state[mask], 1e-9)


@torch.inference_mode()
def test_float32_logits_equal_the_reference(pair: Pair) -> None:
    tokens, mask = pair.source
    found = zoo.load(pair.folder, dtype="float32")(tokens, pair.target, attention_mask=mask)
    close(found, pair.expected().logits, 1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("chunks", [[1] * 7, [3, 1, 3]], ids=str)
def test_cached_decoding_equals_the_reference(pair: Pair, chunks: list[int]) -> None:
    tokens, mask = pair.source
    memory = pair.ours.encode(tokens, mask)
    cache = pair.ours.new_cache(2, 7, memory)
    steps = [pair.ours.decode(part, memory, cache=cache) for part in pair.target.split(chunks, 1)]
    close(torch.cat(steps, 1), pair.expected().logits, 1e-9)


@torch.inference_mode()
def test_greedy_text_equals_the_reference(pair: Pair) -> None:
    tokens, mask = pair.source
    settings = {"max_new_tokens": 10, "do_sample": False, "num_beams": 1, "eos_token_id": None}
    pair.theirs.generation_config = transformers().GenerationConfig(
        decoder_start_token_id=PAD, pad_token_id=PAD, **settings
    )
    expected = pair.theirs.generate(input_ids=tokens, attention_mask=mask.long())
    start = [[pair.ours.config.decoder_start_token_id]] * 2
    out = zoo.generate(pair.ours.conditioned(tokens, mask), start, max_new_tokens=10, eos_token_id=[])
    assert out.tokens == expected.tolist()


def test_export_gives_the_tensors_and_the_config_back(pair: Pair, tmp_path: Path) -> None:
    model = zoo.load(pair.folder)
    zoo.save(model, tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == model.config
    account = model.ledger.account
    stored, back = load_file(pair.folder / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    kept = {name: t for name, t in stored.items() if name not in account.ignored and name not in account.tied}
    assert kept.keys() == back.keys()
    for name, tensor in kept.items():
        assert torch.equal(tensor.view(torch.uint8), back[name].view(torch.uint8)), name


@torch.inference_mode()
def test_transformers_reads_what_zoo_exports(pair: Pair, tmp_path: Path) -> None:
    zoo.save(zoo.load(pair.folder), tmp_path / "out")
    again = transformers().MarianMTModel.from_pretrained(tmp_path / "out").double().eval()
    tokens, mask = pair.source
    found = again(input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=pair.target).logits
    close(found, pair.expected().logits, 1e-9)


def test_old_files_say_why_their_tables_are_not_read(pair: Pair) -> None:
    account = pair.ours.ledger.account
    if pair.kind != "opus-mt-of-2020":
        assert not account.ignored
        return
    tables = {f"model.{part}.embed_positions.weight" for part in ("encoder", "decoder")}
    assert account.ignored == dict.fromkeys(tables, "sinusoids follow from the position")


def test_a_copy_of_the_embedding_that_differs_is_refused(tmp_path: Path) -> None:
    model = reference()
    model.save_pretrained(tmp_path)
    age(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.encoder.embed_tokens.weight"][3, 5] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ZooError, match="embed_tokens"):
        zoo.load(tmp_path)


def test_opus_mt_has_the_parameters_of_transformers() -> None:
    config = presets.config("opus-mt-en-de")
    theirs = transformers().MarianConfig(**installed()["transformer"].dialect("hf").to_config(config))
    with torch.device("meta"):
        model = transformers().MarianMTModel(theirs)
    tied = {"lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}
    count = sum(p.numel() for n, p in model.named_parameters() if "embed_positions" not in n and n not in tied)
    (record,) = (r for r in presets.list_models("opus-mt-en-de") if r.name == "opus-mt-en-de")
    assert record.parameters == count + 58101  # the bias of the head, which is a buffer there
