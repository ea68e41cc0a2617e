"""Files as llama.cpp's converter lays them out, of transformers' models: zoo gives the logits of these models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo

pytest.importorskip("gguf", reason="the extra gguf is not installed")
transformers = pytest.importorskip("transformers", reason="the extra reference is not installed")

from tests.gguf.converter import convert  # noqa: E402  (it needs gguf)
from tests.gguf.models import ROWS, in_folder  # noqa: E402

ARCHS = {
    "llama": "llama", "llama tied": "llama", "llama yarn": "llama", "mistral": "llama", "mixtral": "llama",
    "qwen2": "qwen2", "qwen3": "qwen3", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gemma": "gemma",
    "gemma2": "gemma2", "gemma3": "gemma3", "glm": "chatglm", "glm4": "glm4", "glm4_moe": "glm4moe",
    "deepseek v2": "deepseek2", "deepseek v3": "deepseek2", "bloom": "bloom", "gpt2": "gpt2",
}  # fmt: skip
TOKENS = torch.randint(ROWS - 8, (2, 20), generator=torch.Generator().manual_seed(5))
# The file has float32 numbers; sums in another order, and Gemma's norms with 1 added, move logits of some units so far.
CLOSE = 2e-4


def reference(case: str, tmp_path: Path) -> Any:
    _, folder = in_folder(case, tmp_path / "hf")
    kind = transformers.AutoModel if case in ("bert", "xlm_roberta") else transformers.AutoModelForCausalLM
    kind = transformers.AutoModelForSeq2SeqLM if "t5" in case else kind
    return kind.from_pretrained(folder, dtype="float32", attn_implementation="eager").eval()


@torch.inference_mode()
def check(case: str, arch: str, tmp_path: Path, **options: bool) -> Any:
    theirs = reference(case, tmp_path)
    model = zoo.load(convert(theirs, tmp_path / "m.gguf", arch=arch, **options))
    if not hasattr(model.config, "num_experts"):  # transformers multiplies by experts in float32 at most
        model, theirs = model.double(), theirs.double()
    assert (model(TOKENS) - theirs(TOKENS).logits).abs().max() < CLOSE
    return model


@pytest.mark.slow
def test_a_llama_as_llama_cpp_stores_it_has_the_logits_of_transformers(tmp_path: Path) -> None:
    check("llama", "llama", tmp_path)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in ARCHS if case != "llama"])
def test_every_architecture_has_the_logits_of_transformers(tmp_path: Path, case: str) -> None:
    model = check(case, ARCHS[case], tmp_path)
    # A file of DeepSeek-V2 does not say how many groups its experts have: one is taken, and told.
    assert ("deepseek2.expert_group_count" in model.ledger.assumed) == (case == "deepseek v2")


@pytest.mark.slow
def test_a_latent_that_is_kept_whole_is_read_as_well(tmp_path: Path) -> None:
    check("deepseek v3", "deepseek2", tmp_path, latent=False)


@pytest.mark.slow
@torch.inference_mode()
def test_a_bert_has_the_states_of_transformers(tmp_path: Path) -> None:
    theirs = reference("bert", tmp_path)
    theirs.pooler = None
    model = zoo.load(convert(theirs, tmp_path / "m.gguf", arch="bert")).double()
    found, expected = model(TOKENS), theirs.double()(TOKENS).last_hidden_state
    assert ((found if isinstance(found, torch.Tensor) else found.hidden) - expected).abs().max() < CLOSE


@pytest.mark.slow
@torch.inference_mode()
def test_an_xlm_roberta_is_read_as_the_bert_that_its_file_holds(tmp_path: Path) -> None:
    theirs, tokens = reference("xlm_roberta", tmp_path).double(), TOKENS.clamp(min=2)  # 1 is padding
    expected = theirs(tokens).last_hidden_state
    places = theirs.embeddings.position_embeddings
    theirs.pooler, places.weight = None, torch.nn.Parameter(places.weight[2:])  # as llama.cpp's converter cuts it
    theirs.config.max_position_embeddings = len(places.weight)
    model = zoo.load(convert(theirs.float(), tmp_path / "m.gguf", arch="bert")).double()
    assert model.ledger.family.name == "bert"
    assert model.config.max_seq_len == 64
    assert (model(tokens).hidden - expected).abs().max() < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("case", ["t5", "t5 gated", "umt5"])
@torch.inference_mode()
def test_a_t5_has_the_logits_of_transformers(tmp_path: Path, case: str) -> None:
    theirs = reference(case, tmp_path)
    model = zoo.load(convert(theirs, tmp_path / "m.gguf", arch="t5")).double()
    targets = TOKENS[:, :7]
    expected = theirs.double()(input_ids=TOKENS, decoder_input_ids=targets).logits
    assert (model(TOKENS, targets) - expected).abs().max() < CLOSE
