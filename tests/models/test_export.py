"""A model is exported once and then run on batches of any size: one family of each way to read its inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.models.trial import outputs
from zoo.registry import installed
from zoo.testing.subject import Subject

torch.set_num_threads(1)

DTYPE = torch.float64
NAMES = ("bert", "chatglm", "clip", "gemma3_vl", "llama", "qwen2_vl", "qwen_vl", "t5", "vit")


def given(s: Subject, batch_size: int) -> dict[str, Tensor]:
    """Inputs of `batch_size` rows; a text ends with the end of text, and ChatGLM's has a prefix."""
    tokens = s.tokens(batch_size, 9)
    if s.config.family == "chatglm":
        tokens[:, 3], tokens[:, 4] = s.config.gmask_token_id, s.config.bos_token_id
    made = {"tokens": tokens, "decoder_tokens": s.tokens(batch_size, 7), "pixels": s.pixels(range(batch_size), DTYPE)}
    return {name: made[name] for name in s.inputs}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_family_is_exported_for_any_batch_size(name: str) -> None:
    s = Subject(installed()[name])
    model: nn.Module = s.model
    batch = torch.export.Dim("batch", max=64)
    sizes = {name: {0: torch.export.Dim("images", max=64) if name == "pixels" else batch} for name in s.inputs}
    exported = torch.export.export(model, (), given(s, 2), dynamic_shapes=sizes).module()
    for batch_size in (1, 3):
        inputs = given(s, batch_size)
        found, expected = outputs(exported(**inputs)), outputs(model(**inputs))
        assert found.keys() == expected.keys()
        for part, x in expected.items():
            assert (found[part] - x).abs().max() < 1e-9, part  # float64 sums in another order


ANY_LENGTH = ("deepseek", "gpt2", "llama")  # as docs/en/export.md has them


@pytest.mark.slow
@pytest.mark.parametrize("name", ANY_LENGTH)
@torch.no_grad()
def test_a_decoder_without_windows_is_exported_for_any_length(name: str) -> None:
    exported, s = exported_for_any_length(name)
    tokens = s.tokens(3, 14)
    assert (exported(tokens) - s.model(tokens)).abs().max() < 1e-9  # float64 sums in another order


@pytest.mark.slow
@torch.no_grad()
def test_torch_says_that_a_window_is_exported_for_one_length() -> None:
    assert "window" in installed()["mistral"].config_class.tiny().anatomy().traits["attention"]
    with pytest.raises(torch._dynamo.exc.UserError, match=r"Constraints violated \(length\)"):
        exported_for_any_length("mistral")


def exported_for_any_length(name: str) -> tuple[nn.Module, Subject]:
    s = Subject(installed()[name])
    sizes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", max=s.config.max_seq_len)}
    return torch.export.export(s.model, (s.tokens(2, 9),), dynamic_shapes=(sizes,)).module(), s
