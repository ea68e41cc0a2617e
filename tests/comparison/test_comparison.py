"""What `zoo.compare` tells: every number is that of size.py, and the facts of known models are the published ones."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

import zoo
from tests.distributions import python
from zoo import presets
from zoo.anatomy.adapters import adapter_parameters, lora_bytes
from zoo.anatomy.size import Size
from zoo.comparison import ComparedModel, Comparison, Findings, Row, compare
from zoo.comparison.rows import kind
from zoo.errors import CheckpointError, ConfigError, UnknownName, UsageError
from zoo.registry import installed

FIVE = ("gpt2", "llama3", "gemma2-9b", "deepseek-v2-lite", "chatglm-6b")


def values(c: Comparison) -> dict[str, tuple]:
    """Every row's values by name, parts named after their whole."""
    found, whole = {}, ""
    for row in c.rows:
        whole = whole if row.is_part else row.label
        found[f"{whole}: {row.label}" if row.is_part else row.label] = row.values
    return found


@pytest.fixture(scope="module")
def five() -> Comparison:
    return compare(*FIVE)


def test_published_numbers(five):
    told = values(five)
    lite, llama, gemma = FIVE.index("deepseek-v2-lite"), FIVE.index("llama3"), FIVE.index("gemma2-9b")
    assert told["parameters"][lite] == pytest.approx(15.7e9, rel=0.005)
    assert told["active per token"][lite] == pytest.approx(2.4e9, rel=0.03)  # arXiv:2405.04434 says 2.4B
    assert told["cache / token"][lite] == 27 * (512 + 64) * 2
    assert round(told["cache / token"][lite] / 1024, 1) == 30.4
    assert told["cache / token"][llama] == 128 * 1024
    assert told["cache / token"][gemma] == 336 * 1024
    assert told["cache at 32k"][llama] == 4 << 30


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_every_number_is_that_of_the_arithmetic(dtype):
    names, n = (*FIVE, "mixtral-8x7b", "t5-small", "bert-base-cased"), 1000
    told = values(compare(*names, length=n, lora_rank=4, bytes_dtype=dtype))
    for i, name in enumerate(names):
        size = Size.of(presets.config(name))
        full, lora = size.training_bytes(1, n, dtype), lora_bytes(size, 1, n, rank=4, dtype=dtype)
        expected = {
            "parameters": size.parameters,
            "active per token": size.active_parameters,
            **{f"parameters: {role}": count for role, count in size.by_role.items()},
            "weights": size.weight_bytes(dtype),
            "prefill of 1,000": size.prefill_flops(n),
            "train, 1 × 1,000": full.total,
            **{f"train, 1 × 1,000: {part}": count for part, count in vars(full).items()},
            "LoRA 4, 1 × 1,000": lora.total,
            **{f"LoRA 4, 1 × 1,000: {part}": count for part, count in vars(lora).items()},
            "LoRA parameters": adapter_parameters(size.anatomy, 4),
            "optimal tokens": size.optimal_tokens,
        }
        if name != "bert-base-cased":
            expected["cache / token"] = size.cache_bytes_per_token(dtype)
            expected["cache at 1,000"] = size.cache_bytes(n, dtype=dtype)
            expected["decode at 1,000"] = size.flops_per_token(n - 1)
        found = {label: row[i] for label, row in told.items() if isinstance(row[i], int)}
        found.pop("vocabulary")
        found.pop("context", None)
        assert found == expected, name


def test_json_names_every_number_and_every_part(five):
    told = json.loads(json.dumps(five.to_dict()))
    size = Size.of(presets.config("gemma2-9b"))
    found = told["subjects"][2]["size"]
    assert found["by_role"] == size.by_role
    assert found["cache_bytes"] == size.cache_bytes(32768)
    assert found["training_bytes"] == vars(size.training_bytes(1, 32768)) | {"total": found["training_bytes"]["total"]}
    assert found["lora_bytes"]["gradients"] == 2 * found["lora_parameters"]
    names = [(row["part_of"], row["label"]) for row in told["rows"]]
    assert len(names) == len(set(names))
    assert ("parameters", "experts") in names


def test_what_all_share_is_one_line_and_the_rest_is_the_table():
    c = compare("llama2-7b", "llama3-8b")
    assert {row.label for row in c.same} >= {"kind", "norm", "block", "tied embedding", "layers × width"}
    assert {"attention", "position", "vocabulary", "parameters"} <= {row.label for row in c.differing}
    table, _, rest = c.table().partition("same: ")
    assert "norm RMSNorm, pre" in " ".join(rest.split())
    assert "RMSNorm" not in table


@pytest.mark.slow
def test_an_override_changes_what_it_must_and_nothing_else():
    c = compare("llama3", "llama3 model.num_kv_heads=4 model.max_seq_len=4096")
    assert c.subjects[1].name == "llama3 model.num_kv_heads=4 model.max_seq_len=4096"
    words = {row.label for row in c.differing if row.section == "model"}
    assert words == {"attention", "context"}
    assert values(c)["cache / token"] == (128 << 10, 64 << 10)
    assert "32k tokens are beyond the context of llama3 (8,192)" in c.notes[0]


def test_kinds_of_models():
    told = dict.fromkeys(["gpt2", "chatglm-6b", "t5-small", "bert-base-cased", "clip-vit-b32"])
    assert {name: kind(presets.config(name).anatomy()) for name in told} == {
        "gpt2": "causal, decoder-only",
        "chatglm-6b": "prefix, decoder-only",
        "t5-small": "encoder-decoder",
        "bert-base-cased": "encoder, bidirectional",
        "clip-vit-b32": "encoder, causal",
    }


def test_every_family_can_be_compared():
    configs = [installed()[name].config_class.tiny() for name in installed().families]
    c = compare(*configs)
    assert all(s.size for s in c.subjects)
    assert len(json.dumps(c.to_dict())) > 1000
    assert len({s.name for s in c.subjects}) == len(configs)


def test_a_checkpoint_is_compared_by_its_headers():
    c = compare("tiny", "pkg://zoo/box/tiny")
    assert {row.label for row in c.differing if row.section == "model"} <= {"released in"}
    assert values(c)["parameters"] == (Size.of(presets.config("tiny")).parameters,) * 2


def test_a_folder_that_is_not_what_it_says_is_refused(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(Path(str(files("zoo") / "box" / "tiny")), folder)
    assert compare("tiny", folder).subjects[1].size is not None
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(CheckpointError, match="do not match the llama model"):
        compare("tiny", str(folder))


@pytest.mark.parametrize(
    ("subjects", "options", "error", "words"),
    [
        (["gpt2"], {}, UsageError, "nothing to compare with"),
        (["gpt2", "lama3"], {}, UnknownName, "did you mean: llama3"),
        (["gpt2", "llama3 model.num_kv_heads=3"], {}, ConfigError, "model.num_heads=32 is not a multiple"),
        (["gpt2", "llama3 'open"], {}, UsageError, "it has a quote that is not closed"),
        (["gpt2", ""], {}, UsageError, "has no name"),
        (["gpt2", "llama3"], {"length": 0}, UsageError, "length=0"),
        (["gpt2", "llama3"], {"lora_rank": 0}, UsageError, "at least 1"),
        (["gpt2", "llama3"], {"bytes_dtype": "bfloat61"}, UsageError, "bfloat16"),
        (["gpt2", "./not/there"], {}, zoo.ZooError, "not/there"),
    ],
)
def test_mistakes_are_met(subjects, options, error, words):
    with pytest.raises(error, match=words):
        compare(*subjects, **options)


def test_a_subject_twice_has_two_names():
    c = compare("gpt2", "gpt2")
    assert [s.name for s in c.subjects] == ["gpt2", "gpt2 (2)"]
    assert not c.differing
    assert "they are the same in everything" in c.table()


def test_what_was_measured_is_shown_where_it_is_there(five):
    row = Row("measured", "perplexity", (12.5, 8.25, 8.0, 9.0, None), ("12.5", "8.25", "8.00", "9.00", "–"))
    c = Comparison(five.subjects, five.rows, measurements=Findings((row,), notes=("on a text of 7 tokens",)))
    assert "perplexity" not in five.table()
    for shown in (c.table(), c.markdown()):
        assert "perplexity" in shown
        assert "8.25" in shown
        assert "on a text of 7 tokens" in shown
    assert "measurements" not in five.to_dict()
    assert c.to_dict()["measurements"]["rows"][0]["values"][1] == 8.25


@pytest.mark.slow
def test_words_and_arithmetic_import_no_torch():
    code = f"""if True:
        import sys
        import zoo
        c = zoo.compare({", ".join(map(repr, FIVE))})
        c.table(), c.markdown(), c.to_dict()
        heavy = {{"torch", "hydra", "omegaconf", "transformers", "huggingface_hub"}} & set(sys.modules)
        print(sorted(heavy))
    """
    assert python(code).stdout == "[]\n"


@pytest.mark.slow
def test_overrides_import_no_torch_either():
    code = "import zoo, sys; zoo.compare('gpt2', 'llama3 model.num_layers=2').table(); print('torch' in sys.modules)"
    assert python(code).stdout.strip() == "False"


def test_a_config_is_a_subject():
    subject = ComparedModel.of(presets.config("gpt2"))
    assert (subject.name, subject.size.parameters) == ("gpt2", 124_439_808)


def test_what_a_source_takes_is_told_beside_what_is_written():
    told = compare("t5-base", "gpt2", length=512).notes
    assert told == (
        "decode at 512 attends to a source of the same length, each token of which adds to the cache: 72 KiB (t5-base)",
    )
