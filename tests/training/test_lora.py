"""`lora=` of a run: a plain loop with peft gives the same, it goes on to the bit, and its folder is read by others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo.adapters.peft_library import without_adapter
from zoo.cli import main
from zoo.errors import UsageError
from zoo.training.objectives.pairs import scores
from zoo.training.running.beginning import train

from .runs import job, token_file

LORA = {"rank": 4, "alpha": 6.0, "targets": ["attention"]}
TOKENS = torch.tensor([[5, 9, 300, 12, 77, 31, 8, 102]])


@pytest.fixture
def begun(tmp_path: Path) -> Callable[..., Any]:
    pytest.importorskip("peft", reason="the extra adapters is not installed")
    file = token_file(tmp_path)

    def made(name: str, **sections: Any) -> Any:
        train_of = {"steps": 6, "clip": None, **sections.pop("train", {})}
        data = {"packing": "plain", "order": "sequential", **sections.pop("data", {})}
        chosen = {"source": "tiny", "lora": LORA, "data": data, **sections}
        return job(tmp_path / name, file, train=train_of, **chosen)

    return made


def learnt(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def resumed_equals_unbroken(begun: Callable[..., Any], tmp_path: Path, **sections: Any) -> None:
    train(begun("whole", **sections))
    options = sections.pop("train", {})
    train(begun("parts", train={**options, "stop": 3}, **sections))
    train(begun("parts", train=options, **sections), resume=True)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    a, b = (load_file(tmp_path / name / "optimizer.safetensors") for name in ("parts", "whole"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class TestRuns:
    """What needs the library peft."""

    pytestmark = pytest.mark.slow

    def test_it_is_a_plain_loop_with_peft(self, begun: Callable[..., Any], tmp_path: Path) -> None:
        import peft
        import transformers

        train(begun("run", schedule={"name": "constant"}))
        base = transformers.AutoModelForCausalLM.from_pretrained(zoo.load("tiny").ledger.checkpoint.folder)
        names = ["q_proj", "k_proj", "v_proj", "o_proj"]
        config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=names, task_type="CAUSAL_LM")
        theirs = peft.get_peft_model(base.double(), config).double()
        train(begun("fresh", train={"steps": 1}, optimizer={"lr": 1e-300, "weight_decay": 0.0}))
        peft.set_peft_model_state_dict(theirs, learnt(tmp_path / "fresh"))  # A is drawn in another order
        tokens = torch.from_numpy(np.load(tmp_path / "tokens.npy").astype(np.int64))
        params = [p for p in theirs.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
        for step in range(6):
            rows = torch.stack([tokens[i * 16 : i * 16 + 17] for i in (2 * step, 2 * step + 1)])
            logits = theirs(rows[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = peft.get_peft_model_state_dict(theirs)
        mine = learnt(tmp_path / "run")
        assert mine.keys() == found.keys()
        # transformers takes the statistics of norms in float32: measured 3e-7, where steps of 1e-3 were taken
        assert max((mine[name] - found[name]).abs().max() for name in mine) < 2e-6
        assert len(mine) == 40

    def test_the_base_stays_and_the_folder_is_an_adapter(self, begun: Callable[..., Any], tmp_path: Path) -> None:
        import peft
        import transformers

        run, _ = train(begun("run", train={"steps": 8}, optimizer={"lr": 1e-2}))
        model: Any = run.trainee.model
        base = zoo.load("tiny", dtype="float64")
        before = dict(base.named_parameters())
        kept = [(n.replace(".base_layer", ""), p) for n, p in model.named_parameters() if ".lora_" not in n]
        assert len(kept) == len(before)
        assert all(torch.equal(p, before[name]) for name, p in kept)
        with torch.no_grad():
            expected = model(TOKENS)
            assert (expected - base(TOKENS)).abs().max() > 1e-2
            with without_adapter(model):
                assert torch.equal(model(TOKENS), base(TOKENS))
            again = zoo.load("tiny", dtype="float64", adapter=tmp_path / "run")
            assert (again(TOKENS) - expected).abs().max() < 1e-10  # float64
            theirs = transformers.AutoModelForCausalLM.from_pretrained(base.ledger.checkpoint.folder).double()
            theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "run").double()
            assert (theirs(TOKENS).logits - expected).abs().max() < 1e-4  # norms in float32
        result = CliRunner().invoke(main, ["generate", "tiny", "--adapter", str(tmp_path / "run"), "-p", "One day"])
        assert result.exit_code == 0, result.output
        assert not (tmp_path / "run" / "config.json").exists()

    @pytest.mark.parametrize(
        "sections",
        [
            {"lora": {**LORA, "dropout": 0.2}, "dtype": "bfloat16"},
            {"lora": {**LORA, "kind": "dora"}, "train": {"ema": 0.9}},
            {"lora": LORA, "quantize": "int8", "dtype": "float32"},
        ],
        ids=["dropout in bfloat16", "dora with a mean", "packed"],
    )
    def test_it_goes_on_to_the_bit(self, begun: Callable[..., Any], tmp_path: Path, sections: dict[str, Any]) -> None:
        resumed_equals_unbroken(begun, tmp_path, **sections)

    def test_it_goes_on_with_what_it_began_with_alone(self, begun: Callable[..., Any], tmp_path: Path) -> None:
        train(begun("run", train={"stop": 1}))
        with pytest.raises(UsageError, match=r"begun with lora rank=4 .*, not lora rank=2"):
            train(begun("run", lora={"rank": 2}), resume=True)
        with pytest.raises(UsageError, match="not no adapter"):
            train(begun("run", lora={}), resume=True)
        with pytest.raises(UsageError, match="other weights than those of tiny"):
            train(begun("run", dtype="float32"), resume=True)

    def test_stages_teach_one_adapter(self, begun: Callable[..., Any], tmp_path: Path) -> None:
        stages = [{"train": {"steps": 2}}, {"train": {"steps": 1}}]
        run, record = train(begun("run", stages=stages))
        assert (record["step"], record["stage"]) == (3, 2)
        assert all(".lora_" in name for name, p in run.trainee.model.named_parameters() if p.requires_grad)

    def test_preferences_are_compared_with_the_base(self, begun: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "pairs.jsonl").write_text(
            json.dumps({"prompt": "Tom was", "chosen": " happy.", "rejected": " unhappy."}) + "\n"
        )
        data = {"files": str(tmp_path / "pairs.jsonl"), "packing": "masked"}
        options = {"data": data, "objective": {"name": "dpo"}, "optimizer": {"lr": 1e-2}}
        run, record = train(begun("run", **options))
        reference: Any = run.objective
        assert reference.reference is None
        assert record["margin"] > 0
        with torch.no_grad():
            batch = reference.batch(run.trainee.model, [0], torch.Generator())
            base: Any = zoo.load("tiny", dtype="float64")
            margin = reference.loss(run.trainee.model, batch, 1)[1]["margin"]
            chosen, rejected = scores(run.trainee.model, batch) - scores(base, batch)
            assert abs(float(margin - reference.beta * (chosen - rejected))) < 1e-12  # float64

    def test_the_command_takes_a_rank(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("peft", reason="the extra adapters is not installed")
        monkeypatch.chdir(tmp_path)
        rows = [{"prompt": "Who was happy?", "answer": "Tom was."}] * 4
        Path("chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = "tiny data=chats.jsonl objective=sft lora=4 lora.targets=[attention,mlp] lora.kind=dora train.steps=2"
        result = CliRunner().invoke(main, ["train", *words.split(), "save=./run"])
        assert result.exit_code == 0, result.output
        config = json.loads(Path("run/adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"], config["use_dora"]) == (4, 8, True)
        assert sorted(config["target_modules"])[:2] == ["down_proj", "gate_proj"]
        result = CliRunner().invoke(main, ["train", "--resume", "save=./run", "train.steps=3"])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("./run: step 3 of 3, loss ")


WRONG = [
    ({"kind": "dora"}, {}, "but no rank"),
    ({"rank": 0}, {}, "lora.rank=0 is not at least 1"),
    ({"rank": 4, "kind": "ia3"}, {}, "lora.kind='ia3' cannot be trained here"),
    ({"rank": 4, "targets": "atention"}, {}, "did you mean: attention"),
    ({"rank": 4, "targets": []}, {}, "lora.targets is empty"),
    ({"rank": 4, "dropout": 1.0}, {}, "lora.dropout=1.0"),
    ({"rank": 4, "alpha": 0.0}, {}, "lora.alpha=0.0 is not above 0"),
    ({"rank": 4}, {"freeze": ["embedding"]}, "freeze and lora"),
    ({"rank": 4}, {"source": None}, "lora needs a checkpoint"),
    ({"rank": 4}, {"objective": {"name": "reward"}}, "no place for the head"),
    ({}, {"quantize": "int8"}, "packed weights do not learn"),
]


@pytest.mark.parametrize(("lora", "more", "told"), WRONG)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, lora: Any, more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        job(tmp_path / "run", tmp_path / "tokens.npy", lora=lora, **{"source": "tiny", **more})


def test_a_stage_has_no_adapter_of_its_own(tmp_path: Path) -> None:
    stages = [{"lora": {"rank": 2}}]
    made = job(tmp_path / "run", tmp_path / "tokens.npy", source="tiny", lora=LORA, stages=stages)
    with pytest.raises(UsageError, match="lora is said of the whole run"):
        _ = made.stages


def test_a_reward_is_of_all_stages_and_of_no_adapter(tmp_path: Path) -> None:
    stages: list[dict[str, Any]] = [{}, {"objective": {"name": "reward"}}]
    with pytest.raises(UsageError, match="in some stages and not in others"):
        _ = job(tmp_path / "run", tmp_path / "tokens.npy", source="tiny", stages=stages).stages
    with pytest.raises(UsageError, match="no place for the head"):
        _ = job(tmp_path / "run", tmp_path / "tokens.npy", source="tiny", stages=stages, lora=LORA).stages
