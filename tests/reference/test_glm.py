"""GLM-4, GLM-4-0414 and GLM-4.5 against transformers: what every decoder is held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference import test_causal as causal
from tests.reference.conftest import VARIANTS, Case

pytestmark = pytest.mark.slow

NAMES = ("glm", "glm4", "glm4-moe")

cases = pytest.mark.parametrize(
    "case", [(n, v) for n in NAMES for v in VARIANTS], indirect=True, ids=lambda nv: f"{nv[0]}-{nv[1]}"
)


@cases
def test_logits_and_hidden_states_equal_the_reference(case: Case) -> None:
    causal.test_logits_and_hidden_states_equal_the_reference(case)


@cases
def test_float32_logits_equal_the_reference(case: Case) -> None:
    causal.test_float32_logits_equal_the_reference(case)


@cases
def test_left_padded_rows_equal_the_reference(case: Case) -> None:
    causal.test_left_padded_rows_equal_the_reference(case)


@cases
def test_cached_decoding_equals_the_reference(case: Case) -> None:
    causal.test_cached_decoding_equals_the_reference(case)


@cases
@pytest.mark.parametrize(
    ("prefix", "prompt", "steps"), [("generate", "generate", 12), ("generate_padded", "padded", 8)]
)
def test_greedy_text_equals_the_reference(case: Case, prefix: str, prompt: str, steps: int) -> None:
    causal.test_greedy_text_equals_the_reference(case, prefix, prompt, steps)


@cases
def test_export_gives_the_tensors_back(case: Case, tmp_path: Path) -> None:
    causal.test_export_gives_the_tensors_back(case, tmp_path)


@cases
def test_config_survives_the_round_trip(case: Case, tmp_path: Path) -> None:
    causal.test_config_survives_the_round_trip(case, tmp_path)
