"""llama.cpp reads what zoo wrote: the same text, and the same probabilities, as the model that was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo

pytest.importorskip("gguf", reason="the extra gguf is not installed")
pytest.importorskip("xllamacpp", reason="llama.cpp, as xllamacpp brings it, is not installed")

from tests.gguf.engine import llama_cpp
from tests.gguf.models import CASES, ROWS, built, greedy, in_folder, with_tokenizer
from tests.gguf.test_words import BERT, bert
from zoo.text import open_tokenizer

PROMPTS = ([5, 9, 3, 17, 22, 200, 100, 31], [40, 41, 42, 60, 61, 62, 63, 64, 65])
COUNT = 12
END = 257  # which the server leaves out when it is to go on after it
# A sum of float32 in another order moves scores by 1e-5, and a latent attention's by 1e-4.
CLOSE = {torch.float32: 2e-4, torch.bfloat16: 0.15}  # it rounds what enters a product with bfloat16 to bfloat16, too
SWITCHED = 1.0  # where such a rounding sends a token to another expert
# llama.cpp keeps gelu, in its tanh form, as a table of float16. That moves more where many layers follow, and most
# where a gate is 0 or not by a hair.
TABLED = dict.fromkeys(("gemma", "gemma2", "gemma3", "bloom", "gpt2", "starcoder2", "falcon", "falcon 40b"), 2e-3)
TABLED |= {"gpt_neox": 2e-3, "gpt_neox in turn": 2e-3, "gemma4": 4e-3, "gemma4 E2B": 4e-3}
TABLED |= {"gemma3n": 0.02, "gemma3n E2B": 0.02}


def written(tmp_path: Path, case: str, dtype: torch.dtype, **more: object) -> tuple[nn.Module, Path]:
    model, folder = in_folder(case, tmp_path / "hf", dtype)
    done = zoo.convert(folder, tmp_path / "m.gguf", format="gguf", **more)
    return model.float(), done.folder


@torch.inference_mode()
def gap(model: nn.Module, prompt: list[int], chosen: list[int]) -> float:
    """By how much at most a chosen token is less probable than the most probable one, given those before it."""
    scores = model(torch.tensor([prompt + chosen[:-1]]))[0, len(prompt) - 1 :].log_softmax(-1)
    scores[:, END] = -torch.inf
    return float((scores.max(-1).values - scores[range(len(chosen)), chosen]).max())


def as_llama_cpp_counts(model: nn.Module) -> None:
    """Deviations of a layer's gates over n - 1, which llama.cpp divides by, and the released Gemma 3n by n."""
    for module in model.modules():
        if hasattr(module, "deviations"):
            width = module.gate_proj.weight.shape[0]
            module.deviations *= (width / (width - 1)) ** 0.5


def check(model: nn.Module, file: Path, dtype: torch.dtype, close: float = 0.0) -> None:
    is_compared, is_exact = False, dtype == torch.float32 and close < 0.01
    is_switched = dtype == torch.bfloat16 and hasattr(model.config, "num_experts")
    close = SWITCHED if is_switched else max(close, CLOSE[dtype])
    as_llama_cpp_counts(model)
    with llama_cpp(file) as engine:
        for prompt in PROMPTS:
            chosen = engine.greedy(prompt, COUNT)
            if is_exact:
                assert chosen == greedy(model, prompt, COUNT)
            assert gap(model, prompt, chosen) < close
            found = engine.log_probabilities(prompt, ROWS)
            with torch.inference_mode():
                expected = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
            known = ~found.isnan()
            is_compared |= int(known.sum()) > ROWS // 2
            if known.any():
                assert float((found - expected)[known].abs().max()) < close
    assert is_compared or dtype != torch.float32


def test_llama_cpp_continues_a_llama_as_zoo_does(tmp_path: Path) -> None:
    check(*written(tmp_path, "llama", torch.float32), torch.float32)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "llama"])
def test_llama_cpp_continues_every_family_as_zoo_does(tmp_path: Path, case: str, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and "gemma3n" in case:
        pytest.skip("a gate is 0 or not by less than what a product loses that is rounded to bfloat16")
    check(*written(tmp_path, case, dtype), dtype, TABLED.get(case, 0.0))


@pytest.mark.slow
def test_llama_cpp_reads_the_model_that_comes_with_zoo(tmp_path: Path) -> None:
    file = zoo.convert("tiny", tmp_path / "tiny.gguf", format="gguf").folder
    tokenizer, model = open_tokenizer("tiny"), zoo.load("tiny", dtype="float32")
    with llama_cpp(file) as engine:
        ids = engine.tokenize("One day")
        assert ids == tokenizer.encode("One day")
        assert gap(model, ids, engine.greedy(ids, COUNT)) < CLOSE[torch.bfloat16]


@pytest.mark.slow
@torch.inference_mode()
def test_llama_cpp_has_the_states_of_a_bert(tmp_path: Path) -> None:
    model = built("bert")
    zoo.save(model, tmp_path / "hf")
    with_tokenizer(tmp_path / "hf", bert())
    (tmp_path / "hf" / "tokenizer_config.json").write_text(json.dumps(BERT))
    file = zoo.convert(tmp_path / "hf", tmp_path / "m.gguf", format="gguf").folder
    ids = [2, 5, 6, 7, 8, 9, 3]
    with llama_cpp(file, is_encoder=True) as engine:
        assert engine.tokenize("The cats sat!") == ids
        found = engine.states("The cats sat!")
    expected = model(torch.tensor([ids]))
    expected = expected if isinstance(expected, torch.Tensor) else expected.hidden
    assert (found - expected[0]).abs().max() < 0.01  # llama.cpp takes gelu's tanh form, from a table of float16


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
@pytest.mark.parametrize("case", ["modernbert", "modernbert every other", "modernbert silu"])
@torch.inference_mode()
def test_llama_cpp_has_the_states_of_a_modernbert(tmp_path: Path, case: str) -> None:
    model, file = written(tmp_path, case, torch.float32)
    ids = [5, 9, 3, 17, 22, 200, 100, 31, 77, 12, 50, 60]  # longer than the window
    with llama_cpp(file, is_encoder=True) as engine:
        assert (engine.states(ids) - model(torch.tensor([ids])).hidden[0]).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_llama_cpp_computes_with_the_blocks_that_zoo_wrote(tmp_path: Path, kind: str) -> None:
    """Against zoo with the numbers that the blocks stand for: llama.cpp also rounds what enters to 8 bits."""
    _, file = written(tmp_path, "llama", torch.float32, type=kind)
    model = zoo.load(file, dtype="float32")
    with llama_cpp(file) as engine:
        for prompt in PROMPTS:
            found = engine.log_probabilities(prompt, ROWS)
            with torch.inference_mode():
                expected = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
            known = ~found.isnan()
            kl = (expected.exp() * (expected - found))[known].sum()
            assert float(kl) < 0.01
