"""The goldens: every family's numbers, that a wrong model fails them, and that they are the reference's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.goldens import all_goldens
from tests.some import one_in
from tests.testing.install import Plant, plant  # noqa: F401 - a fixture
from zoo.registry import installed
from zoo.verification.goldens.file import Golden, inputs_of, numbers, read_golden, write_golden
from zoo.verification.goldens.rerun import build_golden, folder_of, goldens_of, rerun, rerun_goldens, without_golden

torch.set_num_threads(1)

GOLDENS = all_goldens()


@pytest.mark.parametrize("golden", one_in(6, GOLDENS), ids=lambda golden: golden.name)
def test_the_family_gives_the_numbers_of_its_reference(golden: Golden) -> None:
    result = rerun(golden)
    assert result.passed, result


def test_every_family_but_the_sandbox_ships_one() -> None:
    assert without_golden() == ["decoder"]  # its parts are other families'


def golden_of(name: str) -> Golden:
    return next(golden for golden in GOLDENS if golden.name == name)


def test_a_wrong_config_fails_and_the_first_layer_is_named() -> None:
    golden = golden_of("llama")
    wrong = replace(golden, config={**golden.config, "rms_norm_eps": 1.1e-5})
    result = rerun(wrong)
    assert not result.passed
    assert result.first == "layers.0"
    assert str(result).startswith("FAIL  llama: |Δ| ")


def test_an_output_that_is_missing_or_of_another_width_fails() -> None:
    golden = golden_of("llama")
    logits = golden.expected["logits"]
    for expected in (
        {**golden.expected, "pooled": logits},
        {"logits": {**logits, "values": [row[:-1] for row in logits["values"]]}},
    ):
        result = rerun(replace(golden, expected=expected))
        assert not result.passed
        assert result.gap == float("inf")


def test_a_key_that_the_family_does_not_know_is_a_failure_and_no_crash() -> None:
    golden = golden_of("gpt2")
    result = rerun(replace(golden, config={**golden.config, "twist": 1}))
    assert not result.passed
    assert "twist" in str(result)


def test_the_numbers_of_a_name_are_pinned() -> None:
    """Computed by hand from SplitMix64's definition, in Python's integers."""
    import hashlib

    seed, mask = int.from_bytes(hashlib.sha256(b"model.norm.weight").digest()[:8], "little"), (1 << 64) - 1
    expected = []
    for i in (1, 2, 3):
        z = (i * 0x9E3779B97F4A7C15 + seed) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        expected.append(1 + 0.3 * (((z >> 11) / 2**52) - 1) * 3**0.5)
    assert numbers("model.norm.weight", (3,)).tolist() == pytest.approx(expected, abs=1e-7)
    assert numbers("a.weight", (400, 100)).std().item() == pytest.approx(0.12, rel=0.02)
    assert abs(numbers("a.bias", (10_000,)).mean().item()) < 0.01


def test_a_stranger_ships_a_golden_beside_the_config(plant: Plant, tmp_path: Path) -> None:  # noqa: F811
    plant()
    family = installed()["stranger"]
    assert goldens_of(family) == []
    assert "stranger" in without_golden()
    raw = json.loads(json.dumps(family.dialect("hf").to_config(family.config_class.tiny())))
    file = folder_of(family) / "stranger.json"
    draft = Golden(file, "stranger", "nothing", raw, None, {"tokens": [[5, 3, 8, 6]]}, {}, {}, 1e-9)
    with torch.no_grad():
        logits = build_golden(draft)(**inputs_of(draft))
    expected = {"logits": {"rows": [0, 3], "values": logits[0, [0, 3]].tolist()}}
    write_golden(
        file, family="stranger", reference="itself", config=raw, weights=None, inputs=draft.inputs, expected=expected,
        layers={}, limit=1e-9,
    )  # fmt: skip
    (result,) = rerun_goldens(["stranger"])
    assert result.passed
    assert read_golden(file).inputs == draft.inputs


@pytest.mark.slow
@pytest.mark.parametrize(
    "golden", [g for g in GOLDENS if g.reference.startswith("transformers")], ids=lambda golden: golden.name
)
def test_the_numbers_are_those_of_transformers(golden: Golden, tmp_path: Path) -> None:
    """Computed again from the golden's config and weights, without a model of zoo."""
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from zoo.checkpoint.interpretation import table_for
    from zoo.verification.constants import default_float64, holding, recomputed
    from zoo.verification.exact import Float64
    from zoo.verification.in_transformers import load_in_transformers
    from zoo.verification.reference import NAMES, named
    from zoo.weights.table import foreign_shapes

    family, model = installed()[golden.family], build_golden(golden)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    steps, _ = table_for(family, "hf", model.config).plan(shapes)
    names = {n: s for step in steps for n, s in foreign_shapes(step, shapes).items()}
    save_file(
        {n: numbers(n, s).contiguous() for n, s in names.items()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    (tmp_path / "config.json").write_text(json.dumps(golden.config))
    theirs, _ = load_in_transformers(tmp_path, torch.float64)
    with torch.no_grad(), holding(theirs, recomputed(theirs))(), default_float64(), Float64():
        inputs = inputs_of(golden)
        given = {NAMES[name]: x for name, x in inputs.items() if name != "shapes"}
        if (shapes := inputs.get("shapes")) is not None:  # column and row of each patch, -1 of padding
            places = [[[n % columns, n // columns] for n in range(rows * columns)] for rows, columns in shapes.tolist()]
            padded = [row + [[-1, -1]] * (inputs["pixels"].shape[1] - len(row)) for row in places]
            given["image_position_ids"] = torch.tensor(padded)
        if given.keys() & {"image_grid_thw", "image_position_ids"}:  # transformers is told which tokens are an image's
            given["mm_token_type_ids"] = (given["input_ids"] == golden.config["image_token_id"]).long()
        if (cut := getattr(model, "patched", None)) is not None:  # into the patches that their processor makes
            patches, shapes = cut(given["pixel_values"])
            given |= {"pixel_values": patches, "spatial_shapes": shapes}
            given["pixel_attention_mask"] = torch.ones(patches.shape[:2], dtype=torch.long)
        found = named(theirs(**given))
    for name, kept in golden.expected.items():
        rows = found[name].reshape(-1, found[name].shape[-1])[kept["rows"]]
        torch.testing.assert_close(rows, torch.tensor(kept["values"], dtype=torch.float64), rtol=0, atol=1e-10)
