"""Families that zoo does not have, by transformers: every key and tensor accounted for, and nothing drawn at random.

Logits are those of transformers' own loading in float32, up to the order of sums in the experts (measured 3e-8).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from tests.models.theirs import DECODERS, ENCODERS, written
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("transformers") is None, reason="the reference extra is not installed"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, done = tmp_path_factory.mktemp("theirs"), {}

    def make(name: str) -> Path:
        if name not in done:
            done[name] = written(root / name, name)
        return done[name]

    return make


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS])
@torch.inference_mode()
def test_it_computes_what_transformers_loads(name: str, made: Callable[[str], Path]) -> None:
    folder = made(name)
    model = zoo.load(folder)
    account = model.ledger.account
    assert (model.ledger.family.name, account.random, account.ignored) == ("transformers", {}, {})
    assert "by transformers 5" in model.ledger.notes[0]
    import transformers

    kind = getattr(transformers, model.config.architecture)
    theirs = kind.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = torch.randint(3, 61, (2, 13), generator=torch.Generator().manual_seed(1))
    given, found = theirs(tokens), model(tokens)
    if name in ENCODERS:
        assert (found.hidden - given.last_hidden_state).abs().max().item() < 1e-5
    else:
        assert (found - given.logits).abs().max().item() < 1e-5
    stored = load_file(folder / "model.safetensors")
    assert sum(x.numel() for x in stored.values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "dtype"), [("FalconMamba", "bfloat16"), ("Rwkv", "float16"), ("XGLM", "bfloat16"), ("CodeGen", "bfloat16")]
)
@torch.inference_mode()
def test_in_16_bits_it_computes_in_the_types_that_transformers_does(
    name: str, dtype: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    """Weights that stay wide (RWKV's), and buffers that take the type of the weights (XGLM's) or not (CodeGen's)."""
    import transformers

    kind = getattr(transformers, f"{name}ForCausalLM")
    kind.from_pretrained(made(name)).to(getattr(torch, dtype)).save_pretrained(tmp_path)
    theirs, model = kind.from_pretrained(tmp_path, attn_implementation="eager").eval(), zoo.load(tmp_path)
    tokens = torch.randint(3, 61, (2, 13), generator=torch.Generator().manual_seed(1))
    kept = {**dict(theirs.named_parameters()), **dict(theirs.named_buffers())}
    for part, x in [*model.theirs.named_parameters(), *model.theirs.named_buffers()]:
        assert kept[part].dtype == x.dtype, part
        assert torch.equal(kept[part], x), part
    # what lies in a file is not aligned as what was allocated is, and bfloat16 has 8 bits: logits of 2 in steps of 1/64
    assert (theirs(tokens).logits.float() - model(tokens).float()).abs().max().item() < 2 / 64


def rename(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {f"{key}_of_old" if key == name else key: x for key, x in tensors.items()}


EDITS: dict[str, Callable[[dict[str, Tensor], str], dict[str, Tensor]]] = {
    "removed": lambda tensors, name: {key: x for key, x in tensors.items() if key != name},
    "renamed": rename,
    "added": lambda tensors, name: tensors | {"adapter.weight": torch.ones(3)},
    "misshapen": lambda tensors, name: tensors | {name: torch.ones(*tensors[name].shape, 1)},
}


@pytest.mark.parametrize("name", [*DECODERS, "RoFormer"])
def test_a_tensor_removed_renamed_or_added_is_refused(name: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = made(name)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    stored = load_file(folder / "model.safetensors")
    names = [n for n in stored if "embed" not in n and "wte" not in n]  # a tied one has two names
    for edit in EDITS.values():
        changed = {key: x.contiguous() for key, x in edit(dict(stored), names[len(names) // 2]).items()}
        save_file(changed, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match="do not match the transformers model"):
            zoo.load(tmp_path)
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    zoo.load(tmp_path)


def config_of(folder: Path, copy: Path, **keys: Any) -> Path:
    raw = json.loads((folder / "config.json").read_text())
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps(raw | keys))
    (copy / "model.safetensors").symlink_to(folder / "model.safetensors")
    return copy


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rotary_scaling_of_mine": 3}, "the key is not known to transformers"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, "which zoo does not run"),
        ({"architectures": ["LlamaForCausalLM"]}, "is not a class of transformers for it"),
        ({"architectures": ["NemotronForCausalLM", "Other"]}, "is not a class of transformers for it"),
        ({"num_attention_heads": 5}, ""),
        ({"hidden_size": "wide"}, ""),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ],
)
def test_a_config_that_says_more_than_the_class_reads_is_refused(
    keys: dict[str, Any], message: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        zoo.load(config_of(made("Nemotron"), tmp_path / "copy", **keys))


def test_a_null_that_the_class_computes_with_is_told_by_its_keys(made: Callable[[str], Path], tmp_path: Path) -> None:
    """What refuses no null as it is read may still multiply with it; transformers then ends in a TypeError."""
    model = zoo.load(config_of(made("Bamba"), tmp_path / "copy", mamba_chunk_size=None))
    with pytest.raises(CheckpointError, match=r"BambaForCausalLM .* null: mamba_chunk_size"):
        model(torch.ones(1, 5, dtype=torch.long))


def test_what_it_gives_up_is_refused(made: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can be read but not written"):
        zoo.save(zoo.load(made("Nemotron")), tmp_path / "out")
    with pytest.raises(UsageError, match="it is transformers' own class"):
        zoo.verify(made("Nemotron"))
    assert "transformers" not in installed().families


def test_padded_rows_and_a_cache_give_what_rows_give_alone(made: Callable[[str], Path]) -> None:
    for name in ("Nemotron", "RecurrentGemma", "XGLM"):
        model: Any = zoo.load(made(name))
        tokens = torch.randint(3, 61, (2, 9), generator=torch.Generator().manual_seed(2))
        mask = torch.ones(2, 9, dtype=torch.bool)
        mask[1, :4] = False
        with torch.inference_mode():
            whole, alone = model(tokens, attention_mask=mask), model(tokens[1:, 4:])
            assert torch.equal(whole[1, 4:], alone[0])
            cache = model.new_cache(2, 12)
            model(tokens[:, :6], attention_mask=mask[:, :6], cache=cache)
            assert torch.equal(model(tokens[:, 6:], cache=cache, last=True)[:, 0], whole[:, -1])
        greedy = model.generate(tokens[1:, 4:], max_new_tokens=4).tokens
        assert model.generate(tokens, attention_mask=mask, max_new_tokens=4).tokens[1] == greedy[0]


@pytest.mark.usefixtures("quick_jobs")
def test_the_commands_work_and_say_by_whom(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "nemotron"
    folder.mkdir()
    for file in [*made("Nemotron").iterdir()]:
        (folder / file.name).write_bytes(file.read_bytes())
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    (tmp_path / "text.txt").write_text(" ".join(f"w{i % 61}" for i in range(50)))
    lines = {
        "inspect": [], "compare": ["tiny"], "verify": ["--against", str(folder)],
        "generate": ["-p", "w4 w5 w6", "--tokens", "3"], "eval": ["--text", str(tmp_path / "text.txt")],
        "bench": ["prompt=4", "new=2", "repeats=1"],
    }  # fmt: skip
    for command, rest in lines.items():
        done = CliRunner().invoke(main, [command, str(folder), *rest])
        assert done.exit_code == 0, (command, done.output)
        assert "by transformers 5" in done.output, (command, done.output)


def test_encoders_give_vectors(made: Callable[[str], Path]) -> None:
    folder = made("Camembert")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    found = zoo.embed(folder, texts=["w4 w5 w6 w7", "w8"], pooling="mean").vectors
    import transformers

    theirs = transformers.CamembertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        alone = theirs(torch.tensor([[8]])).last_hidden_state.mean(1)
    assert (found[1] - torch.nn.functional.normalize(alone, dim=-1)[0]).abs().max().item() < 1e-5


def test_without_the_extra_the_error_names_it(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made("Nemotron")
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in ("zoo.models.theirs.hf", "zoo.checkpoint.detection"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="belongs to no installed family") as error:
        zoo.inspect(folder)
    assert "zoo-lm[reference]" in str(error.value.hint)
